"""What may be a status: one check for every door, the command line and imported files."""

from __future__ import annotations

import unicodedata

from fingertrio.wire.text import clean

# A status is a few words or a plan file; a longer text is a file that belongs elsewhere.
STATUS_LIMIT = 16 * 1024  # bytes of UTF-8
LINES_LIMIT = 500


def check_status(text: str) -> str:
    """The status as it is stored: clean text (`wire.text.clean`) in NFC, without line ends at its end.

    Raises:
        ValueError: nothing of it can be seen, or it is too long; the reason is fit for the client that sent it.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the status is not text: it has lone surrogates") from None
    status = unicodedata.normalize("NFC", clean(text)).rstrip("\n")
    if not status.strip():
        raise ValueError("the status is empty")
    if len(status.encode()) > STATUS_LIMIT:
        raise ValueError(f"the status is longer than {STATUS_LIMIT} bytes")
    if status.count("\n") >= LINES_LIMIT:
        raise ValueError(f"the status has more than {LINES_LIMIT} lines")
    return status
