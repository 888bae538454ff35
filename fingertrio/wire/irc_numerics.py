"""The numeric replies that the client acts on."""

from __future__ import annotations

from enum import StrEnum


class Numeric(StrEnum):
    """The numeric replies that the session acts on, with their names from RFC 2812 section 5 or from their servers."""

    RPL_WELCOME = "001"
    RPL_MYINFO = "004"
    RPL_ISUPPORT = "005"
    RPL_USERHOST = "302"
    RPL_ENDOFWHO = "315"
    RPL_WHOSPCRPL = "354"
    RPL_VISIBLEHOST = "396"
    RPL_LOGGEDIN = "900"
    RPL_LOGGEDOUT = "901"


# No such nick, channel or target: the person who had the nick has left.
GONE = frozenset({"401", "403", "406"})
# The target does not accept our messages: too many targets, no toplevel, unavailable, too many messages, must be
# registered, private messages blocked, +g, +R and the like.
UNDELIVERABLE = frozenset({"407", "415", "417", "437", "439", "477", "486", "531", "707", "716", "717"})
# Of these: we write to too many people. The target is left alone for a minute.
TOO_MANY_TARGETS = frozenset({"407", "439", "707"})
