"""One grammar for the end of a status, the same at every door.

    when     ::= duration | clock | day | date | moment
    duration ::= ( number unit )+                units w, d, h, m in this order, each at most once: 40m, 2h, 1h30m, 3d
    clock    ::= HH ":" MM                       the next time a clock shows this: today, or tomorrow if it has passed
    day      ::= "today" | "tomorrow" | weekday  the end of that day
    date     ::= YYYY-MM-DD                      the end of that day
    moment   ::= date ( "T" | " " ) HH ":" MM [ ":" SS [ "." digits ] ] [ "Z" | ( "+" | "-" ) HH ":" MM ]    (RFC 3339)

In a duration a day is 24 hours. Without an offset, a time is in the caller's zone. A time that this zone skips (02:30
in a spring night) or has twice (02:30 in an autumn night) is refused: the caller must decide which moment is meant.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from fingertrio.wire.times import in_utc

EXAMPLES = "40m, 1h30m, 17:00, tomorrow, friday, 2026-12-24 or 2026-12-24T18:00"

_DURATION = re.compile(r"(?:(\d{1,4})w)?(?:(\d{1,5})d)?(?:(\d{1,6})h)?(?:(\d{1,7})m)?", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)([Zz]|[+-]\d{2}:\d{2})?", re.ASCII)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_MICROSECONDS = 6  # digits of a fraction that datetime keeps; the others are cut


def parse_when(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The moment that `text` names, in UTC.

    Args:
        text: see the grammar above; blanks around it and upper case do not matter.
        now: the present, aware; the result is later.
        zone: the caller's time zone; None is the zone of this machine.

    Raises:
        ValueError: it is not in the grammar, has passed, or names no moment or two of them in `zone`.
    """
    wanted = text.strip().lower()
    now = now.astimezone(UTC)
    found = _moment(wanted, now, zone)
    try:
        found = in_utc(found)
    except ValueError:
        raise ValueError(f"{wanted} is too far in the future") from None
    if found <= now:
        raise ValueError(f"{wanted} has passed already")
    return found


def parse_duration(text: str) -> timedelta:
    """The length that `text` names: "40m", "1h30m", "3d".

    Raises:
        ValueError: it is not in the grammar, or is nothing.
    """
    wanted = text.strip().lower()
    found = _DURATION.fullmatch(wanted)
    if found is None or not wanted:
        raise ValueError(f'"{_shown(text)}" is not a duration; expected 40m, 2h, 1h30m or 3d')
    weeks, days, hours, minutes = (int(number or 0) for number in found.groups())
    length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes)
    if not length:
        raise ValueError(f"{wanted} is no time at all; expected 40m, 2h, 1h30m or 3d")
    return length


def _moment(wanted: str, now: datetime, zone: tzinfo | None) -> datetime:
    if wanted and _DURATION.fullmatch(wanted):
        try:
            return now + parse_duration(wanted)
        except OverflowError:
            raise ValueError(f"{wanted} is too far in the future") from None
    today = now.astimezone(zone).date()
    if found := _CLOCK.fullmatch(wanted):
        return _next(_time(wanted, int(found[1]), int(found[2])), now, today, zone)
    if (day := _day(wanted, today)) is not None:
        return _end_of(day, zone)
    if found := _MOMENT.fullmatch(wanted):
        return _exactly(found, wanted, zone)
    raise ValueError(f'"{_shown(wanted)}" is not a time; expected {EXAMPLES}')


def _shown(text: str) -> str:
    """A part of what was sent, on one line, for a message."""
    return "".join(char if char.isprintable() else "?" for char in text[:40])


def _time(wanted: str, hour: int, minute: int) -> time:
    try:
        return time(hour, minute)
    except ValueError:
        raise ValueError(f"{wanted} is not a time of day; expected 00:00 to 23:59") from None


def _next(clock: time, now: datetime, today: date, zone: tzinfo | None) -> datetime:
    """The next moment after `now` at which clocks show `clock`."""
    found = _local(datetime.combine(today, clock), zone)
    return found if found > now else _local(datetime.combine(today + timedelta(days=1), clock), zone)


def _day(wanted: str, today: date) -> date | None:
    if wanted == "today":
        return today
    if wanted == "tomorrow":
        return today + timedelta(days=1)
    if wanted in _WEEKDAYS:
        ahead = (_WEEKDAYS.index(wanted) - today.weekday()) % 7
        if ahead == 0:
            raise ValueError(f"{wanted} is today; write today, or the date of the next {wanted}")
        return today + timedelta(days=ahead)
    if _DATE.fullmatch(wanted):
        try:
            return date.fromisoformat(wanted)
        except ValueError:
            raise ValueError(f"there is no {wanted} in the calendar") from None
    return None


def _end_of(day: date, zone: tzinfo | None) -> datetime:
    """The first moment after `day`. Where clocks skip midnight, that is the moment at which they skip it."""
    try:
        midnight = datetime.combine(day + timedelta(days=1), time())
        return _instant(midnight, zone)
    except OverflowError:
        raise ValueError(f"{day} is too far in the future") from None


def _exactly(found: re.Match[str], wanted: str, zone: tzinfo | None) -> datetime:
    day, clock, offset = found.groups()
    whole, _, fraction = clock.partition(".")
    clock = f"{whole}.{fraction[:_MICROSECONDS]:0<{_MICROSECONDS}}" if fraction else whole
    try:
        local = datetime.fromisoformat(f"{day}T{clock}")
        if offset is not None:
            return datetime.fromisoformat(f"{day}T{clock}{offset.upper()}")
    except ValueError:
        raise ValueError(f"there is no {wanted} in the calendar") from None
    return _local(local, zone)


def _local(wall: datetime, zone: tzinfo | None) -> datetime:
    """The moment at which clocks in `zone` show `wall`.

    Raises:
        ValueError: there is none, or there are two.
    """
    moments = {_instant(wall.replace(fold=fold), zone) for fold in (0, 1)}
    real = [moment for moment in moments if moment.astimezone(zone).replace(tzinfo=None, fold=0) == wall]
    if not real:
        raise ValueError(f"there is no {wall:%H:%M} on {wall:%Y-%m-%d}: clocks are set forward in that night")
    if len(real) > 1:
        first = min(real).astimezone(zone).isoformat(timespec="minutes")
        raise ValueError(f"there are two {wall:%H:%M} on {wall:%Y-%m-%d}: add the offset, as in {first}")
    return real[0]


def _instant(wall: datetime, zone: tzinfo | None) -> datetime:
    """`wall` in UTC; its fold decides where two moments are possible (PEP 495)."""
    try:
        return (wall if zone is None else wall.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{wall:%Y-%m-%d} is too far in the future") from None
