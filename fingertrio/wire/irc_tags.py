"""What the tags and the source of a message tell: its age, and whether a program sent it (IRCv3).

Bouncers and servers replay old messages when a client connects. Old questions must not be answered, and neither must
bots and the network's services. Tags arrive only if the client requested them, but some bouncers send them anyway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from fingertrio.wire.irc import Source

# Batches that do not contain old messages. All other types, also unknown ones, may (chathistory, znc.in/playback).
_LIVE_BATCHES = frozenset({"labeled-response", "netsplit", "draft/multiline", "multiline"})
# Open batches at once. A server that opens more gets them ignored.
_BATCH_LIMIT = 100

_BOT_TAGS = frozenset({"bot", "draft/bot", "inspircd.org/bot", "inspircd.org/service"})

# The stamps of bouncers that replay without server-time: "[12:34:56] text" (ZNC), "12:34:56> text" (bip), also with a
# date. No user name looks like this.
_STAMP = re.compile(r"\[?(?:\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[ T])?\d{1,2}:\d{2}(?::\d{2})?(?:\]|> )")


def sent_at(tags: Mapping[str, str]) -> datetime | None:
    """When the message was sent, by its server-time tag; None: no valid tag."""
    try:
        time = datetime.fromisoformat(tags["time"])
    except (KeyError, ValueError):
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def is_stamped(text: str) -> bool:
    """Whether `text` starts with the time stamp of a bouncer that replays it."""
    return _STAMP.match(text) is not None


def is_automated(source: Source, tags: Mapping[str, str]) -> bool:
    """Whether the sender is marked as a bot, or looks like a service (NickServ at services.*)."""
    if not _BOT_TAGS.isdisjoint(tags):
        return True
    return source.nick.lower().endswith("serv") and (source.host or "").lower().startswith("services.")


class Batches:
    """The open batches of a session, and whether they hold old messages."""

    def __init__(self) -> None:
        self._open: dict[str, bool] = {}  # by reference: whether its messages are old

    def handle(self, reference: str, params: Sequence[str], tags: Mapping[str, str]) -> None:
        """Apply `BATCH +reference type ...`, which may be nested in another batch, or `BATCH -reference`."""
        name = reference[1:]
        if reference.startswith("-"):
            self._open.pop(name, None)
        elif reference.startswith("+") and len(self._open) < _BATCH_LIMIT:
            self._open[name] = not params or params[0] not in _LIVE_BATCHES or self.has(tags)

    def has(self, tags: Mapping[str, str]) -> bool:
        """Whether a message with these tags belongs to an open batch of old messages."""
        return self._open.get(tags.get("batch", ""), False)
