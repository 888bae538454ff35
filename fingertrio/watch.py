"""`fingertrio watch`: the live feed for eyes or for programs. It comes back after every break and shows nothing twice.

It follows until SIGINT, or until nobody reads what it writes. On a terminal each change is one line, of a status of
several lines the first; in a pipe it is a line of JSON with all there is. What is about the watching and not about
users goes to standard error.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import sys
import unicodedata
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

import click
import trio

from fingertrio.clients.dial import RemoteError
from fingertrio.clients.live import open_live
from fingertrio.clients.websocket import RefusedError, parse_url
from fingertrio.names import is_user_name
from fingertrio.wire.live import Changed, Event, Person, Present, Removed, SnapshotBegins, SnapshotEnds, Unavailable
from fingertrio.wire.text import clean_line, first_line

# Exit statuses: those of `fingertrio finger`.
SEEN, UNKNOWN, NOT_ASKED = 0, 1, 3

_BACKOFF = (0.25, 30.0)  # seconds: first and longest pause before the next attempt

_ONCE = 30.0  # seconds for a snapshot, where that is all that is wanted

_MAY_PASS = frozenset({408, 425, 429})  # of HTTP's 4xx, those that another attempt may not get

_NAME_COLUMNS = 12  # a longer name sticks out, instead of pushing everybody's status aside


class Show(Protocol):
    """Where it is shown. `at` is the id of a change; None: this is from a snapshot."""

    def user(self, person: Person, at: str | None) -> None:
        """What holds of a user."""
        ...

    def gone(self, user: str, at: str | None, *, was_there: bool) -> None:
        """There is no such user, or no more."""
        ...

    def unavailable(self, user: str) -> None:
        """There is such a user, of whom nothing can be said now."""
        ...


class JSONLines:
    """For programs: the feed's own messages about users, one on each line."""

    def user(self, person: Person, at: str | None) -> None:
        self._write(
            at,
            user=person.user,
            status=person.status,
            name=person.name,
            since=_timestamp(person.since),
            until=_timestamp(person.until),
            details=dict(person.details),
        )

    def gone(self, user: str, at: str | None, *, was_there: bool) -> None:  # noqa: ARG002 -- for eyes only
        self._write(at, user=user, removed=True)

    def unavailable(self, user: str) -> None:
        self._write(None, user=user, unavailable=True)

    def _write(self, at: str | None, **members: object) -> None:
        head = {"type": "user"} if at is None else {"type": "change", "id": at}
        click.echo(json.dumps({**head, **members}, ensure_ascii=False).encode())


class Lines:
    """For eyes: when, who, what, on one line of the terminal."""

    def user(self, person: Person, at: str | None) -> None:
        when = person.since or (None if at is None else datetime.now(UTC))
        lines = person.status.count("\n")
        notes = [f"+{lines} line{'s' * (lines > 1)}"] * bool(lines)
        if person.until is not None:
            notes.append(f"until {_clock(person.until)}")
        self._write(when, person.user, first_line(person.status), f"({', '.join(notes)})" if notes else "")

    def gone(self, user: str, at: str | None, *, was_there: bool) -> None:
        when = None if at is None else datetime.now(UTC)
        self._write(when, user, "", "is gone" if was_there else "no such user")

    def unavailable(self, user: str) -> None:
        self._write(None, user, "", "cannot be read now")

    def _write(self, when: datetime | None, user: str, text: str, note: str) -> None:
        time = _clock(when) if when is not None else ""
        name = user + " " * (_NAME_COLUMNS - _width(user))
        room = shutil.get_terminal_size().columns - _width(f"{time:10}  {name}  ") - (_width(note) + 1 if note else 0)
        parts = [_fit(text, max(room, 10))] * bool(text) + [click.style(note, dim=True)] * bool(note)
        time = click.style(f"{time:>10}", dim=True)
        click.echo(f"{time}  {click.style(name, bold=True, fg='cyan')}  {' '.join(parts)}")


class Follower:
    """Shows what is told, each thing once, whatever is told again after a break.

    Args:
        show: where.
        users: whom; empty: everybody.
    """

    def __init__(self, show: Show, users: Sequence[str]) -> None:
        self._show = show
        self._named = tuple(users)  # not to be missed silently in the first snapshot
        self._known: dict[str, Person | None] = {}  # None: it cannot be read
        self._coming: dict[str, Person | None] | None = None  # a snapshot that is not whole yet
        self.missing = False  # somebody who was named was not there

    def take(self, event: Event) -> bool:
        """Show it. Returns whether everything that holds has been shown."""
        match event:
            case SnapshotBegins():
                self._coming = {}
            case Present(person) if self._coming is not None:
                self._coming[person.user] = person
                if self._known.get(person.user) != person:
                    self._show.user(person, None)
            case Unavailable(user) if self._coming is not None:
                self._coming[user] = None
                self._show.unavailable(user)
            case SnapshotEnds() if self._coming is not None:
                absent = [user for user in (*self._known, *self._named) if user not in self._coming]
                for user in absent:
                    self._show.gone(user, None, was_there=user in self._known)
                self.missing = bool(absent)
                self._known, self._coming, self._named = self._coming, None, ()
            case Changed(at, person):
                self._known[person.user] = person
                self._show.user(person, at)
            case Removed(at, user):
                self._known.pop(user, None)
                self._show.gone(user, at, was_there=True)
        return self._coming is None


async def watch(url: str, users: Sequence[str], show: Show, *, once: bool) -> int:
    """Follow the feed of the fingertrio at `url` until SIGINT; with `once`, to the end of the snapshot.

    Returns:
        The exit status.

    Raises:
        ValueError: `url` is not one, or one of `users` could not be called so.
    """
    parse_url(url)
    for user in users:
        if not is_user_name(user):
            raise ValueError(f'"{clean_line(user)}" could not be the name of a user')
    status = SEEN
    try:
        async with trio.open_nursery() as nursery:
            with trio.open_signal_receiver(signal.SIGINT) as signals:
                nursery.start_soon(_end_at_signal, signals, nursery.cancel_scope)
                nursery.start_soon(_end_without_reader, nursery.cancel_scope)
                status = await _look(url, users, show) if once else await _follow(url, users, show)
                nursery.cancel_scope.cancel()
    except* BrokenPipeError:
        _forget_stdout()
    return status


async def _look(url: str, users: Sequence[str], show: Show) -> int:
    follower = Follower(show, users)
    try:
        with trio.fail_after(_ONCE):
            async with open_live(url, users=users) as feed:
                async for event in feed:
                    if follower.take(event):
                        break
    except RemoteError as error:
        _tell(str(error))
        return NOT_ASKED
    except trio.TooSlowError:
        _tell(f"{url}: no snapshot within {_ONCE:g} seconds")
        return NOT_ASKED
    return UNKNOWN if follower.missing else SEEN


async def _follow(url: str, users: Sequence[str], show: Show) -> int:
    follower = Follower(show, users)
    since: str | None = None
    pause, longest = _BACKOFF
    lost = False
    while True:
        began = trio.current_time()
        try:
            async with open_live(url, users=users, since=since) as feed:
                if lost:
                    _tell(f"{url} is back" + (", nothing was missed" if feed.hello.resumed else ""))
                    lost = False
                if not feed.hello.complete:
                    _tell("not every change can be told: the backend there does not hear of all")
                async for event in feed:
                    follower.take(event)
                    since = feed.id
        except RefusedError as error:
            if 400 <= error.status < 500 and error.status not in _MAY_PASS:
                _tell(str(error))
                return NOT_ASKED
            lost = _tell_once(error, lost=lost)
        except RemoteError as error:
            lost = _tell_once(error, lost=lost)
        if trio.current_time() - began > longest:
            pause = _BACKOFF[0]
        await trio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 -- jitter
        pause = min(pause * 2, longest)


def _tell_once(error: RemoteError, *, lost: bool) -> bool:
    if not lost:
        _tell(f"{error}; trying again")
    return True


def _tell(text: str) -> None:
    click.secho(f"fingertrio: {clean_line(text)}", fg="yellow", err=True)


async def _end_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


async def _end_without_reader(scope: trio.CancelScope) -> None:
    """Notice that a pipe's reader has left (`| head -1`), though there may be nothing to write for hours."""
    if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
        await trio.lowlevel.wait_readable(
            sys.stdout.fileno()
        )  # it never is; but an error, which this one is, wakes too
        _forget_stdout()
        scope.cancel()


def _forget_stdout() -> None:
    """Let nothing be written any more, not even by the interpreter when it ends."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)


def _clock(moment: datetime) -> str:
    """The local time of a moment; of another day, the date."""
    local = moment.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == datetime.now().astimezone().date() else f"{local:%Y-%m-%d}"


def _timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in {"Cf", "Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _width(text: str) -> int:
    """The columns that `text` takes on a terminal, near enough to stay on one line."""
    return sum(map(_columns, text))


def _fit(text: str, room: int) -> str:
    if _width(text) <= room:
        return text
    fitting, taken = "", 0
    for char in text:
        taken += _columns(char)
        if taken > room - 1:
            break
        fitting += char
    return fitting.rstrip() + "\u2026"
