"""The users file: text that people edit, one `user: status` in each line.

    # a comment
    moshez: Happy and well
    zoë: Grüße

The first colon ends the user name. White space around the name and around the status is ignored, and so are empty lines
and lines that begin with `#`. If a user has several lines, the last one counts. A status has one line: a carriage
return inside it becomes a space.

Encoding: UTF-16 if the file begins with its byte order mark. Otherwise each line by itself is UTF-8, or Windows-1252 if
it is not valid UTF-8, so that one line from an old editor changes no other line.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass

from fingertrio.wire.text import clean, decode

# Bytes. A hundred thousand users with a long line each. The whole file is kept in memory while it is parsed.
USERS_FILE_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One user's status, from line `line`, counted from 1."""

    line: int
    user: str
    status: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that was not used. The reason quotes nothing from the line except a valid user name."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class UsersFile:
    """The content of a users file: each user once, in the order of the lines, and the lines that were not used."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


def parse_users_file(data: bytes, *, check_user: Callable[[str], str], status_limit: int) -> UsersFile:
    """Parse a whole users file.

    Args:
        data: the bytes of the file.
        check_user: returns the user name to use; raises ValueError if it is not valid.
        status_limit: the longest status, in bytes of UTF-8.

    Raises:
        ValueError: this is not a text file.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        lines = decode(data).split("\n")
    else:
        lines = [decode(line) for line in data.split(b"\n")]
    if any("\0" in line for line in lines):
        raise ValueError("this is not a text file; expected UTF-8, or UTF-16 with a byte order mark")
    last: dict[str, Entry] = {}
    problems: list[Problem] = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        try:
            entry = _parse_line(number, line, check_user, status_limit)
        except ValueError as error:
            problems.append(Problem(number, str(error)))
            continue
        if earlier := last.pop(entry.user, None):
            problems.append(Problem(earlier.line, f"{entry.user} has another line, {number}, which is used instead"))
        last[entry.user] = entry  # at the end, so that the order is that of the lines
    return UsersFile(tuple(last.values()), tuple(sorted(problems, key=lambda problem: problem.line)))


def _parse_line(number: int, text: str, check_user: Callable[[str], str], status_limit: int) -> Entry:
    user, colon, status = text.partition(":")
    if not colon:
        raise ValueError("there is no colon after the user name")
    user = check_user(user.rstrip())
    status = clean(status).replace("\n", " ").strip()
    if not status:
        raise ValueError("the status is empty")
    if len(status.encode()) > status_limit:
        raise ValueError(f"the status is longer than {status_limit} bytes")
    return Entry(number, user, status)
