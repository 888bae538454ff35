"""Times: in UTC, within what every time zone can show, and as microseconds since 1970 for stores."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Python's calendar begins with year 1 and ends with year 9999. No zone differs from UTC by a day or more.
_EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)


def in_utc(when: datetime) -> datetime:
    """`when` in UTC. Raises ValueError if it has no time zone, or if some zone could not show it."""
    if when.utcoffset() is None:
        raise ValueError(f"{when} has no time zone")
    if not _EARLIEST <= when < _LATEST:
        raise ValueError(f"{when} is too close to year 1 or year 9999")
    return when.astimezone(UTC)


def to_microseconds(when: datetime) -> int:
    """Microseconds since 1970 of an aware time. Exact, unlike a floating-point timestamp."""
    return (when - _EPOCH) // _MICROSECOND


def from_microseconds(time: int) -> datetime:
    """The inverse of `to_microseconds`, in UTC. Raises OverflowError outside of Python's calendar."""
    return _EPOCH + timedelta(microseconds=time)
