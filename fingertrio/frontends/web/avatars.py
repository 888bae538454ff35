"""A user's initial on a colour of its own: the only ornament of the pages."""

from __future__ import annotations

import unicodedata
import zlib

HUES = 24  # as many as style.css has: 15 degrees apart


def hue(user: str) -> int:
    """The colour of a login name: the same on every page and after every restart."""
    return zlib.crc32(user.encode()) % HUES


def initial(text: str) -> str:
    """The first letter or digit of a name, in upper case; "?" if it has none.

    Only this one code point: a mark that combines with it could be one of hundreds.
    """
    for char in text:
        if unicodedata.category(char)[0] in "LN":
            upper = char.upper()
            return upper if len(upper) == 1 else char  # "ß" would become two letters
    return "?"
