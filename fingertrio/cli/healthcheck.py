"""`fingertrio healthcheck`: whether the server answers, in one line and an exit status, for containers and balancers.

Which server, the first of these: --url, --config, FINGERTRIO_URL, FINGERTRIO_CONFIG, the server that runs here, and
the configuration that `fingertrio init` wrote. Which door, the first that it has:

    [admin]   /readyz, or /healthz with --live: exact, and not in the log
    [http]    a user of the JSON interface, or with --live /robots.txt
    [finger]  a query
    [setter]  an empty request. It shows that the server answers, not that a status can be read
    none      the lock on the runtime file shows that the process lives; that is enough for --live only

The status is 0 or 1, whatever is wrong: Docker reserves the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fingertrio.cli.arguments import timeout_option
from fingertrio.cli.completing import config_files
from fingertrio.cli.errors import REFUSED, failure
from fingertrio.cli.probes import (
    Place,
    UnhealthyError,
    as_client_or_proxy,
    ask_admin,
    ask_finger,
    ask_pages,
    ask_setter,
)
from fingertrio.config.places import default_config
from fingertrio.server.runtime import RunningServer, running_servers
from fingertrio.wire.text import clean_line

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_DOORS = ("admin", "http", "finger", "setter")
_ADMIN_PATHS = ("/readyz", "/healthz")
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # addresses that cannot be connected to


@dataclass(frozen=True, slots=True)
class Question:
    """A question to a server: where, and what to call for the answer."""

    place: str
    ask: Callable[[], str]


@click.command("healthcheck")
@click.option("--live", is_flag=True, help="Only whether it runs and answers, even if its backend fails.")
@click.option("--url", help="Ask there: the pages, [admin] (http://HOST:9079/readyz), or finger://HOST:79.")
@click.option(
    "--config", "path", type=click.Path(path_type=Path), shell_complete=config_files, help="TOML file of the server."
)
@timeout_option(5.0)
def healthcheck(url: str | None, path: Path | None, timeout: float, *, live: bool) -> None:
    """Ask the server whether it is ready, print one line, and exit with 0 or 1.

    Without options, the server that runs on this machine. With [admin] in its configuration the answer is exact and
    leaves no line in the log; otherwise its pages are asked, or finger.
    """
    try:
        question = _question(url, path, live=live)
        answer = _within(timeout, question.ask)
    except UnhealthyError as error:
        raise failure(str(error), REFUSED) from None
    if isinstance(answer, str):
        click.echo(f"{answer} ({question.place})")
        return
    raise failure(f"{question.place}: {_reason(answer)}", REFUSED)


def _within(seconds: float, ask: Callable[[], str]) -> str | BaseException:
    """What `ask` returns or raises, or TimeoutError.

    In a thread, because resolving a host name cannot be limited in another way. The program ends without waiting.
    """
    from threading import Thread  # noqa: PLC0415 -- help starts without

    answer: list[str | BaseException] = []

    def work() -> None:
        try:
            answer.append(ask())
        except BaseException as error:  # noqa: BLE001 -- the caller reports it
            answer.append(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else TimeoutError(f"no answer within {seconds:g} s")


def _reason(error: BaseException) -> str:
    if isinstance(error, UnhealthyError | TimeoutError):
        return str(error)
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "nothing listens there"
    if isinstance(error, OSError):
        return clean_line(error.strerror or str(error))
    raise error


def _question(url: str | None, path: Path | None, *, live: bool) -> Question:
    """The question for the server that is named, or that runs here. Raises UnhealthyError if there is none."""
    environ = os.environ
    if url is not None:
        return _of_url(url, live=live)
    if path is None and (named := environ.get("FINGERTRIO_URL")):
        return _of_url(named, live=live)
    if path is None and (named := environ.get("FINGERTRIO_CONFIG")):
        path = Path(named)
    servers = running_servers()
    if path is not None:
        servers = [server for server in servers if server.config == str(path.absolute())]
    if len(servers) > 1:
        names = "; ".join(f"pid {server.pid}, {server.config or 'built-in configuration'}" for server in servers)
        raise UnhealthyError(f"several servers run here ({names}); name one with --config or --url")
    if servers:
        return _of_doors(servers[0].doors, servers[0], live=live)
    if (path := path or default_config()) is None:
        raise UnhealthyError("no server runs here; name one with --config or --url")
    return _of_doors(_configured(path), None, live=live)


def _of_url(url: str, *, live: bool) -> Question:
    from urllib.parse import urlsplit  # noqa: PLC0415 -- only for a URL

    try:
        parts = urlsplit(url)
        place = _place_of(parts)
    except ValueError:
        place = None
    if place is None:
        raise UnhealthyError(f"{clean_line(url)!r} is not the URL of a server; expected http://127.0.0.1:9079/readyz")
    if parts.scheme == "finger":
        return Question(url, partial(ask_finger, place, live=live))
    base = parts.path.rstrip("/")
    if base.endswith(_ADMIN_PATHS):
        return Question(url, partial(ask_admin, place, base))
    return Question(url, partial(ask_pages, place, base, live=live))


def _place_of(parts: SplitResult) -> Place | None:
    """Where a URL leads; None: it is of another kind. Raises ValueError for a port that is none."""
    standard = {"http": 80, "https": 443, "finger": 79}.get(parts.scheme)
    if standard is None or not parts.hostname or not re.fullmatch("[!-~]*", parts.path):
        return None
    return Place(parts.hostname, parts.port or standard, tls=parts.scheme == "https", verified=True)


def _of_doors(doors: Mapping[str, Iterable[str]], server: RunningServer | None, *, live: bool) -> Question:
    """The question for the first door that can be asked."""
    for door in _DOORS:
        for text in sorted(doors.get(door, ()), key=lambda text: text.startswith("unix:")):
            if (place := _parse(text)) is not None:
                return _of_door(door, place, live=live)
    if server is None:
        raise UnhealthyError("the configuration names no address that can be asked, and no server with it runs here")
    if live:
        return Question("its runtime file is locked", lambda: f"alive: pid {server.pid}")
    raise UnhealthyError(
        f"the server (pid {server.pid}) has no door that can be asked; add [admin] to its configuration"
    )


def _of_door(door: str, place: Place, *, live: bool) -> Question:
    shown = f"{door} at {place}"
    if door == "admin":
        return Question(shown, partial(ask_admin, place, "/healthz" if live else "/readyz"))
    asks: dict[str, Callable[[Place], str]] = {
        "http": partial(ask_pages, base="", live=live),
        "finger": partial(ask_finger, live=live),
        "setter": ask_setter,
    }
    return Question(shown, partial(as_client_or_proxy, asks[door], place))


def _parse(text: str) -> Place | None:
    """An address as doors announce it and configurations have it; None: no client can connect to it."""
    if text.startswith("unix:"):
        return Place(path=text.removeprefix("unix:"))
    scheme, _, rest = text.rpartition("://")
    host, _, port = rest.rpartition(":")
    if not host or not port.isdigit() or port == "0":
        return None
    host = host.strip("[]")
    return Place(_WILDCARDS.get(host, host), int(port), tls=scheme in {"https", "tls"})


def _configured(path: Path) -> dict[str, list[str]]:
    """The addresses in a configuration file, for a server whose runtime file cannot be found."""
    from fingertrio.config.errors import ConfigError  # noqa: PLC0415 -- a running server says where it is
    from fingertrio.config.table import load_table  # noqa: PLC0415

    try:
        sections = load_table(path).sections
    except ConfigError as error:
        raise UnhealthyError(str(error)) from None
    return {door: _addresses(door, sections[door]) for door in _DOORS if isinstance(sections.get(door), dict)}


def _addresses(door: str, section: Mapping[str, Any]) -> list[str]:
    listed = section.get("listen", "127.0.0.1:9079" if door == "admin" else ())
    entries = [listed] if isinstance(listed, str) else listed if isinstance(listed, list) else []
    found = [entry.get("address", "") if isinstance(entry, dict) else str(entry) for entry in entries]
    scheme = {"http": "https://", "setter": "tls://"}.get(door, "") if section.get("certfile") else ""
    return [text if text.startswith("unix:") else scheme + text for text in found]
