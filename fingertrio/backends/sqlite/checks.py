"""Limits for data that does not come through the service: from the administrator, or from an imported file.

The service checks what front ends receive. The same rules apply to what the command line writes directly to the file; a
test checks that the two agree.
"""

from __future__ import annotations

from collections.abc import Mapping

from fingertrio.names import check_user_name
from fingertrio.wire.details import clean_details, clean_name
from fingertrio.wire.status import check_status


def login(text: str) -> str:
    """A valid login name. Raises ValueError."""
    return check_user_name(text)


def status(text: str) -> str:
    """A status as front ends would store it: clean, without line ends at its end. Raises ValueError."""
    return check_status(text)


def full_name(text: str | None) -> str | None:
    """A clean full name; None if nothing is left after cleaning. Raises ValueError."""
    return clean_name(text)


def details(given: Mapping[str, str]) -> dict[str, str]:
    """Clean details without empty ones; in an imported file, any meaning is kept. Raises ValueError."""
    return clean_details(given)
