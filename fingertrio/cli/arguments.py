"""Types of command-line arguments."""

from __future__ import annotations

import os

from fingertrio.wire.text import decode


def text(value: str) -> str:
    """Text for people, whatever the encoding of the terminal that sent it.

    Python keeps each byte that the locale's encoding cannot decode as a surrogate (PEP 383), which no protocol can
    send. Such an argument is decoded like all text of unknown encoding.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        return decode(os.fsencode(value))
    return value
