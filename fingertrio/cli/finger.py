"""`fingertrio finger`: sends a query, prints the answer, and ends with a status for scripts."""

from __future__ import annotations

import ipaddress
import json
import sys
from dataclasses import dataclass
from urllib.parse import unquote

import click
import trio

from fingertrio.cli.arguments import text, timeout_option
from fingertrio.cli.completing import users
from fingertrio.cli.discover import running_server
from fingertrio.cli.errors import nearest, say
from fingertrio.cli.output import write_utf8
from fingertrio.clients.dial import AddressRefusedError, HostNotFoundError, RemoteError, UnreachableError
from fingertrio.clients.finger import FAILED_PATTERNS, FINGER_PORT, answer_text, finger, is_verdict
from fingertrio.wire import ProtocolError
from fingertrio.wire.finger import Query, parse_query
from fingertrio.wire.text import clean_line

ANSWERED, UNKNOWN, NOT_ASKED, NOT_WHOLE, REFUSED = 0, 1, 3, 4, 5

# Where `make run` and `python -m fingertrio` listen.
_HERE = ("127.0.0.1", 7979)


@click.command("finger")
@click.option("-l", "--long", "verbose", is_flag=True, help="Ask for more (/W).")
@click.option("--ascii", "ascii_only", is_flag=True, help="Show 7-bit characters only, ? for all others.")
@timeout_option(10.0)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each TARGET.")
@click.argument("targets", metavar="[TARGET]...", nargs=-1, type=text, shell_complete=users)
def finger_command(targets: tuple[str, ...], verbose: bool, ascii_only: bool, timeout: float, as_json: bool) -> None:
    """Query finger servers about users, or for their lists of users.

    A TARGET is USER, USER@HOST[:PORT], @HOST for the list, or a finger:// URL; without any, the list of this machine.
    Without a host it queries the fingertrio that runs here, or 127.0.0.1:7979; with it, port 79. user@host1@host2 asks
    host2 to forward the query. Characters that control a terminal are removed from the answer.

    Exit status, the highest of all targets: 0 an answer; 1 no such user; 2 wrong usage; 3 no server could be reached; 4
    the answer is incomplete; 5 the server refused or failed.
    """
    try:
        parsed = [(target, parse_target(target, verbose=verbose)) for target in targets or ("",)]
    except ValueError as error:
        raise click.UsageError(str(error)) from None

    async def ask_all() -> int:
        statuses = []
        for number, (target, place) in enumerate(parsed):
            if len(parsed) > 1 and not as_json:
                click.echo(f"{'' if number == 0 else chr(10)}[{clean_line(target)}]")
            answer = await ask(*place, timeout=timeout)
            _show(target, answer, ascii_only=ascii_only, as_json=as_json)
            if answer.status == UNKNOWN and not as_json and "@" not in target:
                await _suggest(*place, timeout=timeout)
            statuses.append(answer.status)
        return max(statuses)

    sys.exit(trio.run(ask_all))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the text, clean; the exit status; and what went wrong, if something did."""

    text: str
    status: int
    error: str | None = None


async def ask(query: Query, host: str, port: int, *, timeout: float) -> Answer:
    """Send one query. Never raises for what a server does."""
    try:
        text = answer_text(await finger(query, host, port, timeout=timeout))
    except (HostNotFoundError, AddressRefusedError, UnreachableError) as error:
        return Answer("", NOT_ASKED, clean_line(str(error)))
    except RemoteError as error:
        return Answer(answer_text(error.received), NOT_WHOLE, clean_line(str(error)))
    if is_verdict(text):
        return Answer(text, UNKNOWN)
    return Answer(text, REFUSED if is_verdict(text, FAILED_PATTERNS) else ANSWERED)


async def _suggest(query: Query, host: str, port: int, *, timeout: float) -> None:
    """Name the users of this machine's server whose names are like one that does not exist."""
    listed = await ask(Query(""), host, port, timeout=timeout)
    names = [line.split()[0] for line in listed.text.splitlines() if line.strip()]
    if listed.status == ANSWERED and (close := nearest(query.user, names)):
        say(f"there is no user {clean_line(query.user)}{close}")


def _show(target: str, answer: Answer, *, ascii_only: bool, as_json: bool) -> None:
    text = answer.text.encode("ascii", "replace").decode() if ascii_only else answer.text
    if as_json:
        document = {"target": target, "answer": text, "status": answer.status, "error": answer.error}
        write_utf8(json.dumps(document, ensure_ascii=ascii_only) + "\n")
        return
    if answer.error is not None:
        say(answer.error)
    click.echo(text, nl=bool(text) and not text.endswith("\n"))


def parse_target(target: str, *, verbose: bool) -> tuple[Query, str, int]:
    """The query, host and port in "", "user", "@host", "user@host:port", "user@[::1]:port", "user@host1@host2".

    Also in a URL: finger://host[:port]/[user] or finger://[user@]host[:port] (draft-ietf-uri-url-finger-03).

    Raises:
        ValueError: it has another form.
    """
    if target.lower().startswith("finger://"):
        target = _from_url(target)
    head, at, place = target.rpartition("@")
    if not at:
        head, (host, port) = target, _local()
    else:
        host, port = _split_port(place)
    try:
        query = parse_query(head.encode())
    except ProtocolError as error:
        raise ValueError(f"{target}: {error}") from None
    return Query(query.user, verbose=verbose or query.verbose, hosts=query.hosts), host, port


def _from_url(url: str) -> str:
    """The target that a finger:// URL names."""
    rest = url[len("finger://") :]
    place, _, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    if at and path:
        raise ValueError(f"{url}: it names a user twice")
    return f"{unquote(user if at else path)}@{host}"


def _local() -> tuple[str, int]:
    """The finger server of this machine."""
    server = running_server()
    for address in () if server is None else server.doors.get("finger", ()):
        if not address.startswith("unix:"):
            host, _, port = address.rpartition(":")
            return {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]")), int(port)
    return _HERE


def _split_port(place: str) -> tuple[str, int]:
    host, port = place, FINGER_PORT
    head, colon, tail = place.rpartition(":")
    if colon and (":" not in head or head.endswith("]")):
        if not (tail.isascii() and tail.isdigit() and 0 < int(tail) < 65536):
            raise ValueError(f'"{tail}" is not a port')
        host, port = head, int(tail)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f'"{host}" is not an IPv6 address') from None
    if not host:
        raise ValueError("a host name is missing after @")
    return host, port
