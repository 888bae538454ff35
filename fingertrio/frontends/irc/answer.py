"""The text of answers on IRC. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime

from fingertrio.wire.irc import split_text
from fingertrio.wire.irc_format import strip_formatting
from fingertrio.wire.text import clean

_START = "Status of "

# A status is a line or two; a whole plan file is for finger. A server accepts a burst of five lines.
_MESSAGES = 5
_CUT = " (more was cut)"

# Characters of a question that the answer repeats, so that the asker recognizes it.
_ECHO_LIMIT = 64


def compose(name: str, text: str, room: int, *, stale_since: datetime | None = None) -> list[str]:
    """The messages that answer a question for `name` with `text`: one to five, each of at most `room` bytes.

    `name` is one clean line. With `stale_since`, the answer says since when it may be out of date. The messages are
    clean, without formatting codes, and none is blank, which IRC cannot send. If there was more text, the last one says
    so.
    """
    age = "" if stale_since is None else f" (as of {stale_since.astimezone(UTC):%Y-%m-%d %H:%M} UTC)"
    answer = clean(strip_formatting(f"{_START}{name[:_ECHO_LIMIT]}{age}: {text}"))
    pieces = [piece for line in answer.split("\n") for piece in split_text(line.rstrip(), room)]
    if len(pieces) > _MESSAGES:
        pieces[_MESSAGES - 1] = split_text(pieces[_MESSAGES - 1], room - len(_CUT))[0].rstrip() + _CUT
    return pieces[:_MESSAGES]


def is_answer(text: str) -> bool:
    """Whether `text` begins like our answers. It cannot be a question, since names hold no space."""
    return text.startswith(_START)
