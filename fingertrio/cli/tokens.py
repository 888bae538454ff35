"""`fingertrio token`: makes, lists and revokes tokens, while the server runs. Effective with its next request."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import click
import trio

from fingertrio.accounts.file import TokenFile
from fingertrio.accounts.store import TokenStore
from fingertrio.accounts.tokens import Token, TokensError
from fingertrio.backend import BackendError
from fingertrio.cli import discover
from fingertrio.cli.arguments import text
from fingertrio.cli.completing import config_files, logins
from fingertrio.cli.drawing import Column, table
from fingertrio.cli.errors import REFUSED, Group, failure
from fingertrio.cli.output import write_utf8
from fingertrio.config.places import default_config
from fingertrio.wire.text import clean_line
from fingertrio.wire.when import parse_when

T = TypeVar("T")

_config = click.option(
    "--config", "path", type=click.Path(path_type=Path), shell_complete=config_files, help="TOML file of the server."
)


@click.group("token", cls=Group)
def token() -> None:
    """Make, list and revoke the tokens that let users set their statuses."""


@token.command("add")
@click.argument("user", type=text, shell_complete=logins)
@click.option("--label", type=text, default="", help="What it is for: phone, cron job.")
@click.option("--expires", metavar="TIME", help="When it ends: 90d, 2027-01-01.")
@click.option("--admin", is_flag=True, help="It sets the status of every user.")
@_config
def add(path: Path | None, user: str, label: str, expires: str | None, admin: bool) -> None:
    """Make a token for USER and print it. It is shown this once, and only its hash is kept."""
    try:
        end = None if expires is None else parse_when(expires, datetime.now(UTC))
    except ValueError as error:
        raise click.UsageError(f"--expires: {error}") from None

    async def make(store: TokenStore) -> tuple[str, Token]:
        return await store.add(user, label=label, scope="admin" if admin else "set", expires=end)

    secret, made = _with_store(path, make)
    click.echo(secret)
    until = "" if made.expires is None else f", until {made.expires.astimezone():%Y-%m-%d %H:%M}"
    click.echo(f"token {made.id} sets the status of {'every user' if admin else user}{until}", err=True)


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, without the hashes.")
@_config
def list_(path: Path | None, as_json: bool) -> None:
    """List the tokens: id, user, label, scope, when they were made and used last, and when they end."""
    tokens = _with_store(path, TokenStore.list)
    if as_json:
        write_utf8(json.dumps([_document(one) for one in tokens], ensure_ascii=False) + "\n")
        return
    columns = ("id", "bold"), ("user", "cyan"), ("sets",), ("made",), ("last used",), ("ends",), ("label", "dim", True)
    now = datetime.now(UTC)
    rows = [
        (
            one.id,
            one.user,
            "everybody" if one.scope == "admin" else "own status",
            f"{one.created:%Y-%m-%d}",
            "never" if one.last_used is None else f"{one.last_used:%Y-%m-%d}",
            "expired" if one.has_expired(now) else one.expires or "never",
            clean_line(one.label),
        )
        for one in tokens
    ]
    table([Column(*column) for column in columns], rows, empty="no tokens; fingertrio token add USER makes one")


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@_config
def revoke(path: Path | None, token_id: str) -> None:
    """Revoke the token with this ID. Its next use is refused."""
    revoked = _with_store(path, lambda store: store.revoke(token_id))
    click.echo(f"revoked {revoked.id} of {revoked.user}")


@token.command("end-sessions")
@_config
def end_sessions(path: Path | None) -> None:
    """Sign every browser out. Tokens stay valid, and sign in again."""
    _with_store(path, TokenStore.end_sessions)
    click.echo("every web session has ended")


def _document(one: Token) -> dict[str, object]:
    moments = {"created": one.created, "expires": one.expires, "last_used": one.last_used}
    texts = {name: None if moment is None else moment.isoformat() for name, moment in moments.items()}
    return {"id": one.id, "user": one.user, "label": one.label, "scope": one.scope, **texts}


def _with_store(path: Path | None, work: Callable[[TokenStore], Awaitable[T]]) -> T:
    """The result of `work` on the tokens of the server that the options name, or that runs here."""
    try:
        return trio.run(partial(_run, path, work))
    except LookupError as error:
        raise failure(str(error.args[0]), REFUSED) from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except TokensError as error:
        raise failure(str(error), REFUSED) from None
    except BackendError as error:
        raise failure(f"the backend: {clean_line(error.public_message)}", REFUSED) from None


async def _run(path: Path | None, work: Callable[[TokenStore], Awaitable[T]]) -> T:
    async with _store(path) as store:
        return await work(store)


@asynccontextmanager
async def _store(path: Path | None) -> AsyncIterator[TokenStore]:
    """The tokens of the server of --config, of FINGERTRIO_CONFIG, or of this machine.

    A running server says itself where its tokens file is: variables of its environment may have named another one than
    its configuration. The backend is opened only if that keeps the tokens.
    """
    if path is None and (named := os.environ.get("FINGERTRIO_CONFIG")):
        path = Path(named)
    note = ""
    if path is None:
        server = discover.running_server()
        if server is not None and server.tokens is not None:
            click.echo(f"tokens: {server.tokens} (of the server with pid {server.pid})", err=True)
            yield TokenStore(TokenFile(Path(server.tokens)))
            return
        if server is None:
            path, note = default_config(), " (no server runs here)"
        else:
            path = None if server.config is None else Path(server.config)
    from fingertrio.cli.token_store import configured_store  # noqa: PLC0415 -- reads the configuration, with pydantic

    async with configured_store(path, note) as store:
        yield store
