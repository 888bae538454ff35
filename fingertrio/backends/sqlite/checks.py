"""Limits for data that does not come through the service: from the administrator, or from an imported file.

The service checks what front ends receive. The same rules apply to what the command line writes directly to the file; a
test checks that the two agree.
"""

from __future__ import annotations

from collections.abc import Mapping

from fingertrio.names import check_user_name
from fingertrio.wire.status import check_status
from fingertrio.wire.text import clean, clean_line

# A full name has to fit into one line of a list. A detail may be a public key with many signatures.
NAME_LIMIT = 200  # characters
DETAIL_LIMIT = 16 * 1024  # bytes of UTF-8
DETAIL_NAME_LIMIT = 40  # characters
DETAILS = 50  # of one user


def login(text: str) -> str:
    """A valid login name. Raises ValueError."""
    return check_user_name(text)


def status(text: str) -> str:
    """A status as front ends would store it: clean, without line ends at its end. Raises ValueError."""
    return check_status(text)


def full_name(text: str | None) -> str | None:
    """A clean full name; None if nothing is left after cleaning. Raises ValueError."""
    name = clean_line(text or "")
    if len(name) > NAME_LIMIT:
        raise ValueError(f"the full name is longer than {NAME_LIMIT} characters")
    return name or None


def details(given: Mapping[str, str]) -> dict[str, str]:
    """Clean details without empty ones. Raises ValueError."""
    checked: dict[str, str] = {}
    for key, text in given.items():
        name, value = clean_line(key), clean(text).strip("\n")
        if not name or len(name) > DETAIL_NAME_LIMIT:
            raise ValueError(f"the name of a detail must have 1 to {DETAIL_NAME_LIMIT} characters")
        if len(value.encode()) > DETAIL_LIMIT:
            raise ValueError(f"the detail {name} is longer than {DETAIL_LIMIT} bytes")
        if value.strip():
            checked[name] = value
    if len(checked) > DETAILS:
        raise ValueError(f"more than {DETAILS} details")
    return checked
