"""Times that everybody can show: with a zone, and far enough from the calendar's ends to stand in any other zone."""

from __future__ import annotations

from datetime import UTC, datetime

# Python's calendar begins with year 1 and ends with 9999. No zone is further from UTC than a day.
_EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)


def in_utc(moment: datetime) -> datetime:
    """`moment` in UTC. Raises ValueError where it has no zone, or some zone could not show it."""
    if moment.utcoffset() is None:
        raise ValueError(f"{moment} has no time zone")
    if not _EARLIEST <= moment < _LATEST:
        raise ValueError(f"{moment} is too near to the end of the calendar")
    return moment.astimezone(UTC)
