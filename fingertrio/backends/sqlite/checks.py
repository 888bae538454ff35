"""What may be written from outside the service: by the administrator, or from a file that is imported.

The service checks what comes through its doors. Here the same rules stand for what comes past them, straight into the
file; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping

from fingertrio.backend import STATUS_LIMIT
from fingertrio.names import check_user_name
from fingertrio.wire.text import clean, clean_line

# A name is a line in a list; what is longer than this is none. A detail may be a public key with many signatures.
NAME_LIMIT = 200  # characters
DETAIL_LIMIT = 16 * 1024  # bytes of UTF-8
DETAIL_NAME_LIMIT = 40  # characters
DETAILS = 50  # of one user


def login(text: str) -> str:
    """A login name under which a status may be set. Raises ValueError."""
    return check_user_name(text)


def status(text: str) -> str:
    """A status as the doors would store it: clean, without the line end that files end with. Raises ValueError."""
    cleaned = clean(text).rstrip("\n")
    if not cleaned.strip():
        raise ValueError("the status is empty")
    if len(cleaned.encode()) > STATUS_LIMIT:
        raise ValueError(f"the status is longer than {STATUS_LIMIT} bytes")
    return cleaned


def full_name(text: str | None) -> str | None:
    """A full name, clean; None where nothing is left of it. Raises ValueError."""
    name = clean_line(text or "")
    if len(name) > NAME_LIMIT:
        raise ValueError(f"the full name is longer than {NAME_LIMIT} characters")
    return name or None


def details(given: Mapping[str, str]) -> dict[str, str]:
    """Details, clean, without the empty ones. Raises ValueError."""
    checked: dict[str, str] = {}
    for key, text in given.items():
        name, value = clean_line(key), clean(text).strip("\n")
        if not name or len(name) > DETAIL_NAME_LIMIT:
            raise ValueError(f"a detail's name has 1 to {DETAIL_NAME_LIMIT} characters")
        if len(value.encode()) > DETAIL_LIMIT:
            raise ValueError(f"the detail {name} is longer than {DETAIL_LIMIT} bytes")
        if value.strip():
            checked[name] = value
    if len(checked) > DETAILS:
        raise ValueError(f"there are more than {DETAILS} details")
    return checked
