"""The text of answers on IRC. No I/O."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from fingertrio.wire.irc_format import strip_formatting
from fingertrio.wire.irc_split import split_text
from fingertrio.wire.text import clean

_START = "Status of "
_ANSWER = re.compile(rf"{_START}[^:]*: ?")

# A status is a line or two; a whole plan file is for finger. A server accepts a burst of five lines.
_MESSAGES = 5
_CUT = " (more was cut)"


def compose(name: str, text: str, room: int, *, stale_since: datetime | None = None) -> list[str]:
    """The messages that answer a question for `name` with `text`: one to five, each of at most `room` bytes.

    `name` is a valid user name. With `stale_since`, the answer says since when it may be out of date. The messages are
    clean, without formatting codes, and none is blank, which IRC cannot send. If there was more text, the last one says
    so.
    """
    age = "" if stale_since is None else f" (as of {stale_since.astimezone(UTC):%Y-%m-%d %H:%M} UTC)"
    answer = clean(strip_formatting(f"{_START}{name}{age}: {text}"))
    pieces = [piece for line in answer.split("\n") for piece in split_text(line.rstrip(), room)]
    if len(pieces) > _MESSAGES:
        pieces[_MESSAGES - 1] = split_text(pieces[_MESSAGES - 1], room - len(_CUT))[0].rstrip() + _CUT
    return pieces[:_MESSAGES]


def is_answer(text: str) -> bool:
    """Whether `text` looks like one of our answers: "Status of NAME: ..."."""
    return _ANSWER.match(text) is not None


def usage(nick: str) -> str:
    """How to ask `nick`."""
    return f"Send me a user name, and I answer with that user's status: /msg {nick} NAME"
