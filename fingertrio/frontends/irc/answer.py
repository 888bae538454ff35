"""What an answer on IRC looks like. Text in, texts out; no I/O."""

from __future__ import annotations

from datetime import UTC, datetime

from fingertrio.wire.irc import split_text
from fingertrio.wire.text import clean, clean_line

_START = "Status of "

# A status is a line or two; a plan file is for finger. Five lines are what a server takes from us at once.
_MESSAGES = 5
_CUT = " (more was cut)"

# What is no name is echoed so far, so that its asker knows it again.
_ECHO_LIMIT = 64


def compose(name: str, text: str, room: int, *, stale_since: datetime | None = None) -> list[str]:
    """The messages, of at most `room` bytes each, that tell who asked for `name` that `text`: one to five.

    What may be out of date, because what it comes from is away, says since when.
    They are clean, and none is blank, which IRC cannot send. The last one says so where there was more.
    """
    age = "" if stale_since is None else f" (as of {stale_since.astimezone(UTC):%Y-%m-%d %H:%M} UTC)"
    answer = clean(f"{_START}{clean_line(name)[:_ECHO_LIMIT]}{age}: {text}")
    pieces = [piece for line in answer.split("\n") for piece in split_text(line.rstrip(), room)]
    if len(pieces) > _MESSAGES:
        pieces[_MESSAGES - 1] = split_text(pieces[_MESSAGES - 1], room - len(_CUT))[0].rstrip() + _CUT
    return pieces[:_MESSAGES]


def is_answer(text: str) -> bool:
    """Whether `text` begins as our answers do. As a question it has none: a name holds no space."""
    return text.startswith(_START)
