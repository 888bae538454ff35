"""`fingertrio init`: asks at most five questions and writes a configuration that works, with the first token.

Everything is asked and checked before anything is made. What is made then is undone if a step fails or Ctrl-C
interrupts it, so there is a whole result or none. Where the files are by default, later commands find them without
options: `config.places`.
"""

from __future__ import annotations

import getpass
import os
import pwd
import re
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from fingertrio.cli.arguments import text
from fingertrio.cli.errors import REFUSED, failure
from fingertrio.cli.init_file import Answers, Https, Kind
from fingertrio.config.places import SYSTEM_STATE, config_path, state_directory
from fingertrio.names import check_user_name
from fingertrio.net.address import Address, parse_address
from fingertrio.net.listen import BindError, bind, close_all

T = TypeVar("T")

_KINDS = {"me": "one person", "machine": "the users of this machine (as root)", "team": "a team"}
_HTTPS = {"proxy": "nginx, Caddy or haproxy on this machine", "none": "none: plain http, for a trusted network"}
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.IGNORECASE)


@click.command("init")
@click.argument("path", metavar="[PATH]", required=False, type=click.Path(path_type=Path))
@click.option("--for", "kind", type=click.Choice(list(_KINDS)), help="For one person, this machine's users, a team.")
@click.option("--host", help="Name under which people reach it. Without it: only this machine.")
@click.option("--https", type=click.Choice(list(_HTTPS)), help="Who speaks TLS to browsers: a proxy, or none.")
@click.option("--ports", metavar="FINGER,WEB", help="Default: 79 as root, otherwise 7979; and 8000.")
@click.option("--owner", type=text, help="User of the first token. Default: you.")
@click.option("--data", type=click.Path(path_type=Path), help="Directory for the database and the sockets.")
@click.option("--run-as", metavar="USER", help="As root: the user that the server changes to. Default: fingertrio.")
@click.option("--yes", is_flag=True, help="Ask nothing; take the default where no option is given.")
@click.option("--force", is_flag=True, help="Replace a configuration that exists, and keep it under another name.")
def init(path: Path | None, *, yes: bool, force: bool, **options: Any) -> None:
    """Write a configuration with a few questions, and make the first token.

    It goes to ~/.config/fingertrio/fingertrio.toml and the data to ~/.local/state/fingertrio; as root, to
    /etc/fingertrio and /var/lib/fingertrio. Later commands find it there. Options answer questions; without a
    terminal, --yes has to answer the others.
    """
    path = (path or config_path()).expanduser().absolute()
    if path.exists() and not force:
        raise failure(f"{path} exists already; --force replaces it and keeps a backup, or name another PATH", REFUSED)
    answers = _Questions(options, asks=not yes).answers()
    if not yes:
        click.echo()
    from fingertrio.cli.init_writing import write  # noqa: PLC0415 -- a question or a mistake needs no Trio

    write(path, answers, force=force)


class _Questions:
    """Asks for what no option says.

    Args:
        options: of the command.
        asks: whether questions may be asked; otherwise the defaults count.
    """

    def __init__(self, options: dict[str, Any], *, asks: bool) -> None:
        self._options = options
        self._asks = asks
        self._is_root = os.geteuid() == 0

    def answers(self) -> Answers:
        """All answers, valid. Raises click.UsageError if an option is not."""
        run_as = self._run_as()
        data = self._data()
        kind = self._choice("kind", "Who is it for?", _KINDS, "me", self._check_kind)
        host = self._value("host", "Name under which people reach it (empty: only this machine)", "", _check_host)
        https = self._choice("https", "Who speaks https to browsers?", _HTTPS, "proxy") if host else "proxy"
        public, plain = bool(host), bool(host) and https == "none"
        default = "79,8000" if self._is_root else "7979,8000"
        finger, web = self._value(
            "ports", "Ports of finger and of the pages", default, lambda given: _check_ports(given, public, plain)
        )
        owner = "" if kind == "machine" else self._value("owner", "Your user name", _login(), _check_owner)
        return Answers(
            kind=cast("Kind", kind),
            host=host,
            https=cast("Https", https),
            finger_port=finger,
            web_port=web,
            owner=owner,
            data=data,
            run_as=run_as,
            has_ipv6=_has_ipv6(),
        )

    def _value(self, name: str, question: str, default: str, check: Callable[[str], T]) -> T:
        given: str | None = self._options[name]
        option = f"--{'for' if name == 'kind' else name}"
        if given is None and self._asks:
            if not _has_terminal():
                raise click.UsageError(f"there is no terminal to ask questions at; add {option}, or --yes for defaults")
            answer: T = click.prompt(question, default=default, value_proc=_asking(check), show_default=bool(default))
            return answer
        try:
            return check(default if given is None else given)
        except ValueError as error:
            raise click.UsageError(f"{option}: {error}") from None

    def _choice(
        self,
        name: str,
        question: str,
        choices: dict[str, str],
        default: str,
        check: Callable[[str], str] = str,
    ) -> str:
        if self._options[name] is None and self._asks and _has_terminal():
            width = max(map(len, choices))
            for word, meaning in choices.items():
                click.echo(f"  {click.style(f'{word:<{width}}', fg='cyan')}  {meaning}")

        def chosen(given: str) -> str:
            found = [word for word in choices if given and word.startswith(given.strip().lower())]
            if len(found) != 1:
                raise ValueError(f"expected {' or '.join(choices)}")
            return check(found[0])

        return self._value(name, question, default, chosen)

    def _check_kind(self, kind: str) -> str:
        if kind == "machine" and not self._is_root:
            raise ValueError("only root can serve the users of this machine: run it as root")
        return kind

    def _run_as(self) -> str | None:
        given: str | None = self._options["run_as"]
        if not self._is_root:
            if given is not None:
                raise click.UsageError("--run-as: only root can change to another user")
            return None
        name = given or "fingertrio"
        try:
            pwd.getpwnam(name)
        except KeyError:
            advice = f"useradd --system --home-dir {SYSTEM_STATE} --shell /usr/sbin/nologin {name}"
            message = (
                f"there is no user {name} for the server to change to; make one: {advice}; or name one: --run-as USER"
            )
            raise failure(message, REFUSED) from None
        return name

    def _data(self) -> Path:
        given: Path | None = self._options["data"]
        data = (given or (SYSTEM_STATE if self._is_root else state_directory())).expanduser().absolute()
        try:
            parse_address(f"unix:{data / 'setter'}")
        except ValueError as error:
            raise click.UsageError(f"--data: {error}") from None
        return data


def _asking(check: Callable[[str], T]) -> Callable[[str], T]:
    """`check` for a prompt, which then asks again."""

    def ask(given: str) -> T:
        try:
            return check(given)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    return ask


def _has_terminal() -> bool:
    return sys.stdin.isatty()


def _check_host(given: str) -> str:
    if given and (not _HOST.fullmatch(given) or given.lower() == "localhost"):
        raise ValueError(f"{given!r} is not a host name; expected finger.example.org")
    return given.lower()


def _check_owner(given: str) -> str:
    check_user_name(given)
    return given


def _check_ports(given: str, public: bool, plain: bool) -> tuple[int, int]:
    """Two different ports that can be bound now."""
    parts = given.replace(",", " ").split()
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and 0 < int(part) < 65536 for part in parts):
        raise ValueError(f"{given!r} are not two ports; expected 7979,8000")
    finger, web = map(int, parts)
    if finger == web:
        raise ValueError("finger and the pages need a port each")
    _check_free("0.0.0.0" if public else "127.0.0.1", finger)
    _check_free("0.0.0.0" if plain else "127.0.0.1", web)
    return finger, web


def _check_free(host: str, port: int) -> None:
    try:
        close_all(bind(Address(host, port)))
    except BindError as error:
        raise ValueError(f"{error}; choose another port") from None


def _has_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.bind(("::", 0))
        return True
    return False


def _login() -> str:
    """The person at the terminal, also behind sudo and su."""
    names = [os.environ.get("SUDO_USER", "")]
    with suppress(KeyError, OSError):
        names.append(getpass.getuser())
    for name in names:
        with suppress(ValueError):
            check_user_name(name)
            return name
    return "me"
