"""RPL_ISUPPORT (005): what an IRC server says of itself, and what a client must assume before.

    :irc.example.net 005 bot CASEMAPPING=ascii NICKLEN=30 -CHANTYPES :are supported by this server

A token `NAME=VALUE` sets a value, `NAME` alone or `-NAME` restores the default. Unknown tokens and invalid values are
ignored. Every number is limited to what this client can work with, so a server cannot make one negative or huge.
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
}


class ISupport:
    """The values that the client uses.

    Attributes:
        received: whether the server sent any 005.
        casemapping: "ascii", "rfc1459" or "rfc1459-strict". Any other mapping of a server is used as "ascii".
        chantypes: the characters that a channel name can start with.
    """

    def __init__(self) -> None:
        self.received = False
        self.casemapping = _DEFAULT_CASEMAPPING
        self.chantypes = "#&"
        self._numbers = {name: default for name, (default, _, _) in _NUMBERS.items()}

    @property
    def nicklen(self) -> int:
        """Characters of the longest nick."""
        return self._numbers["NICKLEN"]

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

    def fold(self, name: str) -> str:
        """Case-fold a nick or channel name: two spellings of one name give the same result."""
        return name.translate(_FOLDS[self.casemapping])

    def update(self, params: Sequence[str]) -> None:
        """Apply one 005. `params` starts with our nick and ends with a text for people."""
        self.received = True
        for token in params[1:-1]:
            name, _, value = token.removeprefix("-").partition("=")
            self._set(name.upper(), "" if token.startswith("-") else value)

    def _set(self, name: str, value: str) -> None:
        if name == "CASEMAPPING":
            mapping = value.lower() or _DEFAULT_CASEMAPPING
            self.casemapping = mapping if mapping in _FOLDS else "ascii"
        elif name == "CHANTYPES":
            self.chantypes = value or "#&"
        elif name in _NUMBERS:
            default, least, most = _NUMBERS[name]
            number = int(value) if value.isascii() and value.isdigit() and len(value) < 9 else default
            self._numbers[name] = min(max(number, least), most)
