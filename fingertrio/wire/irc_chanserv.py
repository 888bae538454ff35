"""Asking a network's ChanServ for help with a channel that rejects us, if our operator wants that. No I/O, no time.

    473 invite only ──> INVITE #c        it invites us
    474 banned      ──> UNBAN #c         we try again a moment later
    475 needs a key ──> GETKEY #c        NOTICE: "Channel #c key is: KEY"

Once for each channel and session: what does not help the first time will not help later.
"""

from __future__ import annotations

import re

from fingertrio.wire.irc import Message
from fingertrio.wire.irc_format import strip_formatting
from fingertrio.wire.irc_secrets import Secret
from fingertrio.wire.irc_state import State
from fingertrio.wire.irc_tags import is_automated

UNBAN_SECONDS = 5.0  # until a ban is taken away

_SERVICE = "ChanServ"
_REQUESTS = {"473": "INVITE", "474": "UNBAN", "475": "GETKEY"}
_KEY = re.compile(r"(\S+) key is:? (\S+)$", re.IGNORECASE)


class ChanServ:
    """Args: `state` of the session; `is_wanted` by the operator."""

    def __init__(self, state: State, *, is_wanted: bool) -> None:
        self._state = state
        self._is_wanted = is_wanted
        self._asked: set[str] = set()

    def ask(self, numeric: str, channel: str) -> str | None:
        """Ask about a channel that answered JOIN with this numeric; what was asked, or None."""
        request = _REQUESTS.get(numeric)
        if request is None or not self._is_wanted or self._state.fold(channel) in self._asked:
            return None
        self._asked.add(self._state.fold(channel))
        self._state.send("PRIVMSG", _SERVICE, f"{request} {channel}")
        return request

    def key(self, message: Message) -> tuple[str, Secret] | None:
        """The channel and the key that a NOTICE tells, if it comes from the services and we have asked for it."""
        source = message.source
        if not self._asked or source is None or len(message.params) < 2 or not is_automated(source, message.tags):
            return None
        found = _KEY.search(strip_formatting(message.params[1]))
        if found is None or self._state.fold(found[1]) not in self._asked:
            return None
        return found[1], Secret(found[2])
