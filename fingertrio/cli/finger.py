"""`fingertrio finger`: sends a query, prints the answer, and ends with a status for scripts."""

from __future__ import annotations

import ipaddress
import sys

import click
import trio

from fingertrio.cli.arguments import text
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
@click.option("--timeout", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Seconds for everything.")
@click.argument("target", metavar="[USER][@HOST[:PORT]]", default="", type=text)
def finger_command(target: str, verbose: bool, ascii_only: bool, timeout: float) -> None:
    """Query a finger server about USER, or for its list of users.

    Without @HOST it queries the fingertrio on this machine, at 127.0.0.1:7979; with it, port 79. user@host1@host2 asks
    host2 to forward the query. Characters that control a terminal are removed from the answer.

    Exit status: 0 an answer; 1 no such user; 2 wrong usage; 3 no server could be reached; 4 the answer is incomplete; 5
    the server refused or failed.
    """
    try:
        status = trio.run(lambda: ask(target, verbose=verbose, ascii_only=ascii_only, timeout=timeout))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(status)


async def ask(target: str, *, verbose: bool, ascii_only: bool, timeout: float) -> int:
    """Send the query, print the answer, and return the exit status.

    Raises:
        ValueError: `target` is not a query.
    """
    query, host, port = parse_target(target, verbose=verbose)
    status = ANSWERED
    try:
        answer = await finger(query, host, port, timeout=timeout)
    except (HostNotFoundError, AddressRefusedError, UnreachableError) as error:
        click.echo(f"fingertrio: {clean_line(str(error))}", err=True)
        return NOT_ASKED
    except RemoteError as error:
        answer, status = error.received, NOT_WHOLE
        click.echo(f"fingertrio: {clean_line(str(error))}", err=True)
    text = answer_text(answer)
    if ascii_only:
        text = text.encode("ascii", "replace").decode()
    click.echo(text, nl=bool(text) and not text.endswith("\n"))
    if status == ANSWERED and is_verdict(text):
        return UNKNOWN
    return REFUSED if status == ANSWERED and is_verdict(text, FAILED_PATTERNS) else status


def parse_target(target: str, *, verbose: bool) -> tuple[Query, str, int]:
    """The query, host and port in "", "user", "@host", "user@host:port", "user@[::1]:port", "user@host1@host2".

    Raises:
        ValueError: it has another form.
    """
    head, at, place = target.rpartition("@")
    if not at:
        head, (host, port) = target, _HERE
    else:
        host, port = _split_port(place)
    try:
        query = parse_query(head.encode())
    except ProtocolError as error:
        raise ValueError(f"{target}: {error}") from None
    return Query(query.user, verbose=verbose or query.verbose, hosts=query.hosts), host, port


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
