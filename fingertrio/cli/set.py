"""`fingertrio set`: sets, schedules and clears a status, by HTTP with a token or through a setter of this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime

import click

from fingertrio.cli.arguments import text
from fingertrio.cli.completing import users
from fingertrio.cli.errors import say
from fingertrio.cli.targets import Target, Write, find_target
from fingertrio.wire.status import check_status
from fingertrio.wire.text import clean_line, decode
from fingertrio.wire.when import parse_duration, parse_when

_INPUT_LIMIT = 64 * 1024  # bytes of standard input: what is longer cannot be a status


@click.command("set")
@click.option("--user", metavar="NAME", type=text, shell_complete=users, help="Whose status; by default your own.")
@click.option("--for", "length", metavar="LENGTH", help="How long it holds: 40m, 1h30m, 3d.")
@click.option("--until", metavar="TIME", help="When it ends: 17:00, tomorrow, friday, 2026-12-24T18:00.")
@click.option("--clear", is_flag=True, help="Take the present status back.")
@click.option("--url", metavar="URL", help="Web front end of a server, for a token of FINGERTRIO_TOKEN or of login.")
@click.option("--at", "place", metavar="ADDRESS", help="Setter: HOST:PORT, tls://HOST:PORT or unix:/path.")
@click.argument("words", metavar="[STATUS]...", nargs=-1, type=text)
def set_command(
    words: tuple[str, ...],
    user: str | None,
    length: str | None,
    until: str | None,
    clear: bool,
    url: str | None,
    place: str | None,
) -> None:
    """Set your STATUS, and print what is now shown.

    Words are joined by spaces; - reads the status from standard input; without any, an editor opens. :NAME is a preset
    of the server's configuration.

    The server is the one of --url or --at, of FINGERTRIO_URL, of login, or the one that runs on this machine.

    Exit status: 0 it is set; 1 it was refused; 2 wrong usage; 3 no server could be asked.
    """
    if url is not None and place is not None:
        raise click.UsageError("use either --url or --at, not both")
    if clear and (words or length or until):
        raise click.UsageError("--clear takes no status and no end")
    target = find_target(url, place)
    end = _end(length, until)
    owner = user or target.owner()
    similar = "" if user is None else target.similar(user)
    status = "" if clear else _status(words, lambda: target.present(owner))
    _report(target, target.send(Write(owner, status, end)))
    if similar:
        say(f"{clean_line(owner)} had no status before{similar} --clear takes this one back")


def _end(length: str | None, until: str | None) -> datetime | None:
    """When the status ends, in this machine's time zone."""
    if length is not None and until is not None:
        raise click.UsageError("use either --for or --until, not both")
    now = datetime.now(UTC)
    try:
        if length is not None:
            parse_duration(length)
            return parse_when(length, now)
        return None if until is None else parse_when(until, now)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _status(words: tuple[str, ...], present: Callable[[], str]) -> str:
    if not words:
        status = _edit(present())
    elif words == ("-",):
        status = decode(sys.stdin.buffer.read(_INPUT_LIMIT))
    else:
        status = " ".join(words)
    try:
        return check_status(status)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _edit(present: str) -> str:
    """A status written in the user's editor, which begins with the present one."""
    if not sys.stdin.isatty():
        raise click.UsageError("give a status, or - to read it from standard input")
    written = click.termui.edit(f"{present}\n")
    if written is None or written.rstrip("\n") == present:
        raise click.UsageError("nothing was changed; --clear takes the present status back")
    return written


def _report(target: Target, shown: Write) -> None:
    place = click.style(f"({target.name})", dim=True)
    user = click.style(shown.user, bold=True)
    if not shown.status:
        click.echo(f"{user}: no status {place}")
        return
    first, *more = shown.status.split("\n")
    lines = f" (+{len(more)} lines)" if more else ""
    until = "" if shown.until is None else f", until {_clock(shown.until)}"
    click.echo(f"{user}: {clean_line(first)}{lines}{until} {place}")


def _clock(moment: datetime) -> str:
    """When a status ends, in this machine's time zone: the time alone if that is today."""
    local = moment.astimezone()
    return f"{local:%H:%M}" if local.date() == datetime.now().astimezone().date() else f"{local:%Y-%m-%d %H:%M}"
