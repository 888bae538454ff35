"""RPL_ISUPPORT (005): what an IRC server says of itself, and what a client must assume before.

    :irc.example.net 005 bot CASEMAPPING=ascii NICKLEN=30 -CHANTYPES :are supported by this server

A token `NAME=VALUE` sets a value, `NAME` alone has an empty value, `-NAME` restores the default. Unknown tokens and
invalid values are ignored. Every number is limited to what this client can work with, so a server cannot make one
negative or huge.
"""

from __future__ import annotations

from collections.abc import Sequence

from fingertrio.wire.irc import LINELEN_LIMIT, MESSAGE_LIMIT

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# RFC 1459 section 2.2: {}| are the lower case of []\, and in most servers ^ is the lower case of ~.
_FOLDS = {
    "ascii": str.maketrans(_UPPER, _UPPER.lower()),
    "rfc1459": str.maketrans(_UPPER + r"[]\~", _UPPER.lower() + "{}|^"),
    "rfc1459-strict": str.maketrans(_UPPER + "[]\\", _UPPER.lower() + "{}|"),
}
_DEFAULT_CASEMAPPING = "rfc1459"

# Name: default, least, most. USERLEN: ten characters on most servers. HOSTLEN: RFC 2812 section 2.3.1.
_NUMBERS = {
    "NICKLEN": (9, 1, 64),
    "LINELEN": (MESSAGE_LIMIT, MESSAGE_LIMIT, LINELEN_LIMIT),
    "USERLEN": (10, 1, 32),
    "HOSTLEN": (63, 1, 128),
    "CHANNELLEN": (200, 1, 400),
}
# Tokens that are kept as they are.
_TEXTS = frozenset({"BOT", "CHANLIMIT", "CHANTYPES", "MONITOR", "NETWORK", "PREFIX", "STATUSMSG", "WHOX"})
_TEXT_LIMIT = 64  # characters of a value


class ISupport:
    """The values that the client uses.

    Attributes:
        received: whether the server sent any 005.
        casemapping: "ascii", "rfc1459" or "rfc1459-strict". Any other mapping of a server is used as "ascii".
    """

    def __init__(self) -> None:
        self.received = False
        self.casemapping = _DEFAULT_CASEMAPPING
        self._numbers = {name: default for name, (default, _, _) in _NUMBERS.items()}
        self._texts: dict[str, str] = {}

    @property
    def chantypes(self) -> str:
        """The characters that a channel name can start with."""
        return self._texts.get("CHANTYPES") or "#&"

    @property
    def statusmsg(self) -> str:
        """The characters before a channel name that address some of its members: "@+"."""
        return self._texts.get("STATUSMSG", "")

    @property
    def prefixes(self) -> str:
        """The characters before a nick in a channel that show its rank."""
        return self._texts.get("PREFIX", "").partition(")")[2]

    @property
    def bot_mode(self) -> str:
        """The letter of the user mode that marks a bot (BOT=B); empty: not supported."""
        return self._texts.get("BOT", "")[:1]

    @property
    def has_whox(self) -> bool:
        """Whether WHO takes a list of fields."""
        return "WHOX" in self._texts

    @property
    def has_monitor(self) -> bool:
        """Whether the server reports when a nick appears or leaves."""
        return "MONITOR" in self._texts

    @property
    def network(self) -> str:
        """The network's name for itself."""
        return self._texts.get("NETWORK", "")

    @property
    def nicklen(self) -> int:
        """Characters of the longest nick."""
        return self._numbers["NICKLEN"]

    @property
    def channellen(self) -> int:
        """Characters of the longest channel name."""
        return self._numbers["CHANNELLEN"]

    @property
    def linelen(self) -> int:
        """Bytes of the longest message, with its CRLF and without tags."""
        return self._numbers["LINELEN"]

    @property
    def userlen(self) -> int:
        """Bytes of the longest user, without a "~" that the server adds."""
        return self._numbers["USERLEN"]

    @property
    def hostlen(self) -> int:
        """Bytes of the longest host."""
        return self._numbers["HOSTLEN"]

    def channel_limit(self, kind: str) -> int | None:
        """How many channels of `kind`, its first character, one may be in (CHANLIMIT=#&:50); None: not known."""
        for part in self._texts.get("CHANLIMIT", "").split(","):
            kinds, _, number = part.partition(":")
            if kind in kinds and number.isascii() and number.isdigit():
                return int(number)
        return None

    def fold(self, name: str) -> str:
        """Case-fold a nick or channel name: two spellings of one name give the same result."""
        return name.translate(_FOLDS[self.casemapping])

    def update(self, params: Sequence[str]) -> None:
        """Apply one 005. `params` starts with our nick and ends with a text for people."""
        self.received = True
        for token in params[1:-1]:
            name, _, value = token.removeprefix("-").partition("=")
            self._set(name.upper(), None if token.startswith("-") else value)

    def _set(self, name: str, value: str | None) -> None:
        if name == "MAXNICKLEN":
            name = "NICKLEN"
        if name == "CASEMAPPING":
            mapping = (value or _DEFAULT_CASEMAPPING).lower()
            self.casemapping = mapping if mapping in _FOLDS else "ascii"
        elif name in _TEXTS:
            if value is None:
                self._texts.pop(name, None)
            else:
                self._texts[name] = value[:_TEXT_LIMIT]
        elif name in _NUMBERS:
            default, least, most = _NUMBERS[name]
            number = default
            if value and value.isascii() and value.isdigit() and len(value) < 9:
                number = int(value)
            self._numbers[name] = min(max(number, least), most)
