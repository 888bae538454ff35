"""Secrets of an IRC client: a value that never shows itself, and lines for logs without the secrets in them.

A `Secret` has no readable `repr` or `str`, so neither a log line nor a traceback can show one by accident. Only the
code that writes a line calls `reveal`. `mask_line` makes a line fit for a log, in both directions.
"""

from __future__ import annotations

import re

_HIDDEN = "***"

# PASS and OPER whole; the words that follow a services command; the keys of JOIN and of MODE +k.
_PATTERNS = (
    re.compile(r"^(PASS|OPER)( .*)$", re.IGNORECASE | re.DOTALL),
    re.compile(
        r"^((?:PRIVMSG|NOTICE) \S+ :?(?:IDENTIFY|REGAIN|GHOST|RELEASE|RECOVER|GETKEY)\b)( .*)$",
        re.IGNORECASE | re.DOTALL,
    ),
    re.compile(r"^(NOTICE \S+ :?.* key \S*is\S*)( .*)$", re.IGNORECASE | re.DOTALL),  # ChanServ's answer
    re.compile(r"^(MODE [#&+!]\S* [-+]?\S*k\S*)( .*)$", re.IGNORECASE | re.DOTALL),
)
# The names of mechanisms, "+" (nothing) and "*" (abort) tell no secret; everything else may.
_AUTHENTICATE = re.compile(r"^(AUTHENTICATE )(.*)$", re.IGNORECASE | re.DOTALL)
_HARMLESS = frozenset({"+", "*", "PLAIN", "EXTERNAL", "SCRAM-SHA-256"})
_JOIN = re.compile(r"^(JOIN \S+)( .*)$", re.IGNORECASE | re.DOTALL)  # ours: a server's JOIN has no key
_HEAD = re.compile(r"^((?:@\S* +)?(?::\S+ +)?)(.*)$", re.DOTALL)


class Secret:
    """A password or a key. Two secrets with the same text are equal."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, to be written to the server and nowhere else."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({_HIDDEN})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def mask_line(line: bytes) -> str:
    """`line` as text for a log or for `irc-check --raw`, with *** for every secret."""
    found = _HEAD.match(line.decode("utf-8", "replace").rstrip("\r\n"))
    if found is None:
        raise AssertionError("the pattern matches every text")
    head, text = found.groups()
    if (login := _AUTHENTICATE.match(text)) is not None:
        harmless = login[2].removeprefix(":").upper() in _HARMLESS
        return head + (text if harmless else login[1] + _HIDDEN)
    for pattern in _PATTERNS if head else (*_PATTERNS, _JOIN):
        if (secret := pattern.match(text)) is not None:
            return f"{head}{secret[1]} {_HIDDEN}"
    return head + text
