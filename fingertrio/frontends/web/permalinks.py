"""The permanent address of a status: `ada/at/20261129T120000.123456Z`.

The time is when the status was set, to the microsecond, since no two of a user's statuses were set at the same time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from fingertrio.frontends.web.text import href
from fingertrio.wire.times import in_utc

_PLACE = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(?:\.(\d{6}))?Z", re.ASCII)


def permalink(user: str, since: datetime | None) -> str:
    """The address of the status that a user set at a time, relative to the root of the site; unknown: of the user."""
    return href(user) if since is None else f"{href(user)}/at/{place(since)}"


def place(moment: datetime) -> str:
    """A time as addresses have it: `20261129T120000.123456Z`."""
    utc = moment.astimezone(UTC)
    day, clock = f"{utc.year:04}{utc.month:02}{utc.day:02}", f"{utc.hour:02}{utc.minute:02}{utc.second:02}"
    return f"{day}T{clock}.{utc.microsecond:06}Z"  # strftime takes longer, and fifty rows have one each


def read_place(text: str) -> datetime | None:
    """The inverse of `place`; None: it is not a time."""
    found = _PLACE.fullmatch(text)
    if found is None:
        return None
    try:
        moment = datetime(*(int(digits or 0) for digits in found.groups()), tzinfo=UTC)  # type: ignore[misc,arg-type]
        return in_utc(moment)  # the last microsecond of Python's calendar has none behind it
    except ValueError:
        return None
