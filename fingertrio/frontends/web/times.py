"""Times as people read them: "3 h ago", "until 17:00 UTC", and the exact time behind them.

In UTC, because the server does not know the reader's zone; the script of the pages says the same in the reader's zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_WEEK = 7 * _DAY

# strftime takes four times as long, and depends on the locale.
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


@dataclass(frozen=True, slots=True)
class Shown:
    """One time on a page.

    Attributes:
        machine: for the attribute `datetime`.
        exact: "29 November 2026, 21:05 UTC".
        short: as short as it is clear, relative to the page's own time; the same as `exact` where there is no such.
    """

    machine: str
    exact: str
    short: str


def exact(time: datetime) -> Shown:
    """A time as it is."""
    machine, text = _texts(time)
    return Shown(machine, text, text)


def clock(time: datetime) -> Shown:
    """The time of day."""
    return Shown(*_texts(time), f"{_clock(time.astimezone(UTC))} UTC")


def ago(time: datetime, now: datetime) -> Shown:
    """How long ago a time in the past is: "3 h ago"."""
    return Shown(*_texts(time), _ago(time.astimezone(UTC), now))


def until(time: datetime, now: datetime) -> Shown:
    """When an end is: "17:00 UTC", "Monday 09:00 UTC", "6 Dec"; if it has passed, the day, or today's time."""
    return Shown(*_texts(time), _until(time.astimezone(UTC), now))


def _texts(time: datetime) -> tuple[str, str]:
    utc = time.astimezone(UTC)
    machine = f"{utc.year:04}-{utc.month:02}-{utc.day:02}T{utc.hour:02}:{utc.minute:02}:{utc.second:02}Z"
    return machine, f"{utc.day} {_MONTHS[utc.month - 1]} {utc.year}, {_clock(utc)} UTC"


def _ago(time: datetime, now: datetime) -> str:
    passed = now - time
    if passed < _MINUTE:
        return "just now"
    if passed < _HOUR:
        return f"{passed // _MINUTE} min ago"
    if passed < _DAY:
        return f"{passed // _HOUR} h ago"
    if passed < _WEEK:
        days = passed // _DAY
        return "yesterday" if days == 1 else f"{days} days ago"
    return _date(time, now)


def _until(time: datetime, now: datetime) -> str:
    ahead = time - now
    if time.date() == now.date() or timedelta() <= ahead < _DAY / 2:
        return f"{_clock(time)} UTC"
    if timedelta() <= ahead < 6 * _DAY:
        return f"{_WEEKDAYS[time.weekday()]} {_clock(time)} UTC"
    return _date(time, now)


def _date(time: datetime, now: datetime) -> str:
    """A day; with its year where that is another one."""
    day = f"{time.day} {_MONTHS[time.month - 1][:3]}"
    return day if time.year == now.year else f"{day} {time.year}"


def _clock(time: datetime) -> str:
    return f"{time.hour:02}:{time.minute:02}"
