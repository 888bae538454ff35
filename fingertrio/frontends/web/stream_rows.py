"""What the stream shows of a status, and where a page of it begins. No I/O.

A cursor is where a page begins: behind a place (`>`, older statuses or later names), or before one (`<`, so that its
last status is the one before that place). The place is a time in microseconds since 1970 and a login name, or a login
name alone. Programs get the same places from `/api/statuses`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from math import inf

from fingertrio.backend import Recency, UserInfo
from fingertrio.names import canonical_name, is_user_name
from fingertrio.wire.emoji import headline
from fingertrio.wire.text import clean, clean_line
from fingertrio.wire.times import from_microseconds, to_microseconds

# Characters of a first line that are kept: what fits on a page. A status may be one line of 16 kB.
LINE_LIMIT = 300

_PLACE = re.compile(r"(-?[0-9]{1,18})?\.(.+)", re.DOTALL)

# A place as a tuple, which sorts fast: minus the time, and the name; those without a time last. As `Recency` does.
Key = tuple[float, str]


@dataclass(frozen=True, slots=True)
class StreamRow:
    """One user in the stream; all text is clean.

    Attributes:
        user: the login name.
        name: the full name.
        emoji: the one at the start of the status.
        line: the rest of its first line, perhaps cut; empty if there is nothing else, or no status at all.
        is_cut: whether `line` was cut.
        more: how many lines follow.
        since: when the status was set.
        until: when it ends.
    """

    user: str
    name: str | None
    emoji: str | None
    line: str
    is_cut: bool
    more: int
    since: datetime | None
    until: datetime | None


def row_of(info: UserInfo) -> StreamRow:
    """What the stream shows of a status, which may be empty."""
    emoji, line = headline(info.status)
    lines = clean(info.status).strip("\n").count("\n")
    name = None if info.name is None else clean_line(info.name)
    return StreamRow(
        info.user, name or None, emoji, line[:LINE_LIMIT], len(line) > LINE_LIMIT, lines, info.since, info.until
    )


def key_of(place: Recency) -> Key:
    """A place as a tuple with the same order."""
    return (inf if place.since is None else -to_microseconds(place.since), place.user)


def haystack(row: StreamRow) -> str:
    """The text of a row in which words are searched."""
    return fold(f"{row.user}\n{row.name or ''}\n{row.emoji or ''}{row.line}")


def fold(text: str) -> str:
    """Text that is equal for equal words, whatever their case and their normal form."""
    return (
        text.lower() if text.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    )


def place_text(place: Recency) -> str:
    """A place as clients get it."""
    return f"{'' if place.since is None else to_microseconds(place.since)}.{place.user}"


def read_place(text: str) -> Recency:
    """The inverse of `place_text`. Raises ValueError."""
    found = _PLACE.fullmatch(text)
    if found is None or not is_user_name(name := canonical_name(found[2])):
        raise ValueError("not a place in the list; use `next` of the page before")
    try:
        return Recency(None if found[1] is None else from_microseconds(int(found[1])), name)
    except OverflowError:
        raise ValueError("not a place in the list; its time does not exist") from None
