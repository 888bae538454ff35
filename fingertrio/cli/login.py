"""`fingertrio login`, `logout`, `whoami`: a token for a server, kept for the commands of this user."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from fingertrio.cli import api, discover
from fingertrio.cli.discover import Login, login_path, read_login, write_login
from fingertrio.cli.errors import MISTAKE, REFUSED, UNREACHABLE, failure


@click.command("login")
@click.argument("url", required=False)
def login_command(url: str | None) -> None:
    """Ask for a token of the server at URL, check it, and keep it for set and whoami.

    Without URL, the server that runs on this machine. The token is typed without echo, or read from a pipe or from
    FINGERTRIO_TOKEN, and is kept in a file for you alone.
    """
    if url is None:
        server = discover.running_server()
        if server is None or server.url is None:
            raise click.UsageError("no server with [http] runs here; give the URL of one")
        url = server.url
    url = url.rstrip("/")
    token = (os.environ.get("FINGERTRIO_TOKEN") or _ask_for_token()).strip()
    if not token:
        raise click.UsageError("no token was given; its operator makes one with fingertrio token add")
    me = _whoami(url, token)
    try:
        path = write_login(Login(url, token, str(me["user"])))
    except OSError as error:
        raise failure(f"{login_path()} cannot be written: {error.strerror}", REFUSED) from None
    click.echo(f"logged in at {url} as {me['user']}; the token is in {path}")


def _ask_for_token() -> str:
    """A token that is typed without echo, or the first line of a pipe."""
    if not sys.stdin.isatty():
        return sys.stdin.readline()
    return str(click.prompt("Token", hide_input=True, err=True))


@click.command("logout")
def logout_command() -> None:
    """Forget the token that login kept. It stays valid: revoke it with fingertrio token revoke."""
    path = login_path()
    try:
        path.unlink()
    except FileNotFoundError:
        click.echo("not logged in")
    except OSError as error:
        raise failure(f"{path} cannot be removed: {error.strerror}", REFUSED) from None
    else:
        click.echo(f"removed {path}; the token itself stays valid until it is revoked")


@click.command("whoami")
def whoami_command() -> None:
    """Show at which server commands are logged in, and as whom."""
    login = read_login()
    url = (os.environ.get("FINGERTRIO_URL") or (login.url if login else "")).rstrip("/")
    token = os.environ.get("FINGERTRIO_TOKEN") or (login.token if login and login.url == url else None)
    if not url or token is None:
        server = discover.running_server()
        where = "no server runs here" if server is None else f"the server with pid {server.pid} runs here"
        click.echo(f"not logged in; {where}; statuses are set for {discover.login_name()}")
        return
    me = _whoami(url, token)
    click.echo(f"{me['user']}{' (admin)' if me.get('admin') else ''} at {url}")


def _whoami(url: str, token: str) -> Mapping[str, Any]:
    try:
        me: Mapping[str, Any] = api.request("GET", url, "/api/whoami", token=token)
    except api.APIError as error:
        if not error.status:
            raise failure(str(error), UNREACHABLE) from None
        raise failure(f"{url}: {error}", REFUSED) from None
    if not isinstance(me.get("user"), str):
        raise failure(f"{url}: the answer is not of a fingertrio", MISTAKE)
    return me
