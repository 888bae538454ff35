"""A user's initial on a colour of its own: the only ornament of the pages."""

from __future__ import annotations

import unicodedata

HUES = 24  # as many as style.css has: 15 degrees apart


def hue(user: str) -> int:
    """The colour of a login name: the same on every page and after every restart. stream.js computes the same."""
    value = 0
    for byte in user.encode():
        value = (value * 31 + byte) % 65521
    return value % HUES


def initial(text: str) -> str:
    """The first letter or digit of a name, in upper case; "?" if it has none.

    Only this one code point: a mark that combines with it could be one of hundreds.
    """
    for char in text:
        if unicodedata.category(char)[0] in "LN":
            upper = char.upper()
            return upper if len(upper) == 1 else char  # "ß" would become two letters
    return "?"
