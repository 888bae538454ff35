"""The output of `fingertrio watch`: lines for people, or JSON lines for programs."""

from __future__ import annotations

import json
import shutil
import unicodedata
from datetime import UTC, datetime
from typing import Protocol

import click

from fingertrio.wire.emoji import headline
from fingertrio.wire.live import Changed, LiveUser, Removed, timestamp
from fingertrio.wire.text import first_line

_NAME_COLUMNS = 12  # a longer name moves its own status to the right, not those of the others


class Show(Protocol):
    """The output. `at` is the id of a change; None: from a snapshot."""

    def user(self, info: LiveUser, at: str | None) -> None:
        """A user with the current status."""
        ...

    def gone(self, user: str, at: str | None) -> None:
        """A user was removed."""
        ...

    def missing(self, user: str) -> None:
        """A user that the command names does not exist."""
        ...

    def unavailable(self, user: str) -> None:
        """A user exists but cannot be read now."""
        ...


class JSONLines:
    """For programs: the feed's own messages about users, one per line, in UTF-8."""

    def user(self, info: LiveUser, at: str | None) -> None:
        self._write(at, **_members(info))

    def gone(self, user: str, at: str | None) -> None:
        self._write(at, user=user, removed=True)

    def missing(self, user: str) -> None:
        self.gone(user, None)

    def unavailable(self, user: str) -> None:
        self._write(None, user=user, unavailable=True)

    def _write(self, at: str | None, **members: object) -> None:
        click.echo(_json_line(at, **members), nl=False)


def change_line(change: Changed | Removed) -> bytes:
    """A change as the line that `JSONLines` writes for it."""
    if isinstance(change, Removed):
        return _json_line(change.id, user=change.user, removed=True)
    return _json_line(change.id, **_members(change.info))


def _members(info: LiveUser) -> dict[str, object]:
    first = headline(info.status)
    return {
        "user": info.user,
        "status": info.status,
        "emoji": first.emoji,
        "line": first.line,
        "name": info.name,
        "since": timestamp(info.since),
        "until": timestamp(info.until),
        "details": dict(info.details),
    }


def _json_line(at: str | None, **members: object) -> bytes:
    head = {"type": "user"} if at is None else {"type": "change", "id": at}
    return f"{json.dumps({**head, **members}, ensure_ascii=False)}\n".encode()


class Lines:
    """For people: time, user and status on one line of the terminal."""

    def user(self, info: LiveUser, at: str | None) -> None:
        when = info.since or (None if at is None else datetime.now(UTC))
        lines = info.status.count("\n")
        notes = [f"+{lines} line{'s' * (lines > 1)}"] * bool(lines)
        if info.until is not None:
            notes.append(f"until {clock(info.until)}")
        self._write(when, info.user, first_line(info.status), f"({', '.join(notes)})" if notes else "")

    def gone(self, user: str, at: str | None) -> None:
        self._write(None if at is None else datetime.now(UTC), user, "", "is gone")

    def missing(self, user: str) -> None:
        self._write(None, user, "", "no such user")

    def unavailable(self, user: str) -> None:
        self._write(None, user, "", "cannot be read now")

    def _write(self, when: datetime | None, user: str, text: str, note: str) -> None:
        time = clock(when) if when is not None else ""
        name = user + " " * (_NAME_COLUMNS - _width(user))
        room = shutil.get_terminal_size().columns - _width(f"{time:10}  {name}  ") - (_width(note) + 1 if note else 0)
        parts = [_fit(text, max(room, 10))] * bool(text) + [click.style(note, dim=True)] * bool(note)
        time = click.style(f"{time:>10}", dim=True)
        click.echo(f"{time}  {click.style(name, bold=True, fg='cyan')}  {' '.join(parts)}")


def clock(moment: datetime) -> str:
    """The local time of a moment, or the date if it is not today."""
    local = moment.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == datetime.now().astimezone().date() else f"{local:%Y-%m-%d}"


def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in {"Cf", "Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _width(text: str) -> int:
    """The columns that `text` takes on a terminal, accurate enough to stay on one line."""
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
