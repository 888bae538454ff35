"""The text of answers on IRC. No I/O."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from fingertrio.wire.irc_format import strip_formatting
from fingertrio.wire.irc_split import split_text
from fingertrio.wire.text import clean, first_line

_START = "Status of "
# As a whole message, and after the nick of the person who asked in a channel.
_ANSWER = re.compile(rf"(?:\S+: )?{_START}[^:]*: ?")

# A status is a line or two; a whole plan file is for finger. A server accepts a burst of five lines.
_MESSAGES = 5
_CUT = " (more was cut)"


def compose(name: str, text: str, room: int, *, stale_since: datetime | None = None) -> list[str]:
    """The messages that answer a question for `name` with `text`: one to five, each of at most `room` bytes.

    `name` is a valid user name. With `stale_since`, the answer says since when it may be out of date. The messages are
    clean, without formatting codes, and none is blank, which IRC cannot send. If there was more text, the last one says
    so.
    """
    answer = _whole(name, text, stale_since)
    pieces = [piece for line in answer.split("\n") for piece in split_text(line.rstrip(), room)]
    if len(pieces) > _MESSAGES:
        pieces[_MESSAGES - 1] = split_text(pieces[_MESSAGES - 1], room - len(_CUT))[0].rstrip() + _CUT
    return pieces[:_MESSAGES]


def compose_in_channel(
    asker: str, me: str, name: str, text: str, room: int, *, stale_since: datetime | None = None
) -> str:
    """The one message that answers `asker` in a channel. If there is more text, it says how to ask `me` for it."""
    lines = [f"{asker}: {line.rstrip()}" for line in _whole(name, text, stale_since).split("\n")[:1]]
    more = f" (more: /msg {me} {name})"
    [first, *rest] = split_text(lines[0], room)
    if not rest and "\n" not in _whole(name, text, stale_since).strip("\n"):
        return first
    return split_text(lines[0], room - len(more.encode()))[0].rstrip() + more


def one_line(text: str) -> str:
    """The first line of a status for an announcement, clean and without formatting codes."""
    return first_line(strip_formatting(text))


def is_answer(text: str) -> bool:
    """Whether `text` looks like one of our answers: "Status of NAME: ..."."""
    return _ANSWER.match(text) is not None


def usage(nick: str, owner: str = "") -> str:
    """How to ask `nick`, and whose bot it is."""
    whose = f" (owner: {owner})" if owner else ""
    return f"Send me a user name, and I answer with that user's status: /msg {nick} NAME{whose}"


def introduction(nick: str, owner: str) -> str:
    """The answer to !botlist, in the form that bots of tilde networks use."""
    maintainer = f"Maintainer: {owner}. " if owner else ""
    return f"{maintainer}I know people's statuses. Commands: {nick}: NAME; /msg {nick} NAME"


def _whole(name: str, text: str, stale_since: datetime | None) -> str:
    age = "" if stale_since is None else f" (as of {stale_since.astimezone(UTC):%Y-%m-%d %H:%M} UTC)"
    return clean(strip_formatting(f"{_START}{name}{age}: {text}"))
