from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fingertrio.wire.when import parse_duration, parse_when

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)  # a Wednesday, 13:30 in Berlin


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("40m", "2026-11-25T13:10"),
        ("2h", "2026-11-25T14:30"),
        ("1h30m", "2026-11-25T14:00"),
        ("3d", "2026-11-28T12:30"),
        ("1w2d3h4m", "2026-12-04T15:34"),
        ("90m", "2026-11-25T14:00"),
        (" 2H ", "2026-11-25T14:30"),
        ("17:00", "2026-11-25T16:00"),
        ("9:05", "2026-11-26T08:05"),
        ("13:30", "2026-11-26T12:30"),
        ("today", "2026-11-25T23:00"),
        ("Tomorrow", "2026-11-26T23:00"),
        ("friday", "2026-11-27T23:00"),
        ("Monday", "2026-11-30T23:00"),
        ("tuesday", "2026-12-01T23:00"),
        ("2026-11-25", "2026-11-25T23:00"),
        ("2026-12-24", "2026-12-24T23:00"),
        ("2026-12-24T18:00", "2026-12-24T17:00"),
        ("2026-12-24 18:00", "2026-12-24T17:00"),
        ("2026-12-24T18:00:30", "2026-12-24T17:00:30"),
        ("2026-12-24T18:00:30.25", "2026-12-24T17:00:30.250000"),
        ("2026-12-24T18:00:30.1234567", "2026-12-24T17:00:30.123456"),
        ("2026-12-24T18:00Z", "2026-12-24T18:00"),
        ("2026-12-24t18:00z", "2026-12-24T18:00"),
        ("2026-12-24T18:00:00-05:00", "2026-12-24T23:00"),
        ("2027-07-01T12:00", "2027-07-01T10:00"),
    ],
)
def test_reads(text: str, expected: str):
    assert parse_when(text, NOW, BERLIN) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", '"" is not a time; expected 40m'),
        ("soon", '"soon" is not a time'),
        ("m", "is not a time"),
        ("30m1h", "is not a time"),
        ("1h1h", "is not a time"),
        ("-2h", "is not a time"),
        ("1.5h", "is not a time"),
        ("٣h", "is not a time"),
        ("0m", "is no time at all"),
        ("24:00", "is not a time of day"),
        ("12:60", "is not a time of day"),
        ("wednesday", "wednesday is today; write today, or the date of the next wednesday"),
        ("2026-02-30", "there is no 2026-02-30 in the calendar"),
        ("2026-12-24T25:00", "there is no 2026-12-24t25:00 in the calendar"),
        ("2026-12-24T18:00+25:00", "there is no"),
        ("2026-12-24T18:00:60", "there is no"),
        ("2026-12-24T18", "is not a time"),
        ("2026-11-24", "2026-11-24 has passed already"),
        ("2026-11-25T13:30", "has passed already"),
        ("9999-12-31", "too far in the future"),
        ("9999-12-31T23:00", "too far in the future"),
        ("9999999m9", "is not a time"),
        ("x\n\x1b[2J" + "y" * 100, "is not a time"),
    ],
)
def test_refuses_with_a_reason(text: str, reason: str):
    with pytest.raises(ValueError) as error:
        parse_when(text, NOW, BERLIN)
    assert reason in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 200


def test_a_time_that_the_zone_skips_is_refused():
    now = datetime(2027, 3, 27, 12, tzinfo=UTC)
    with pytest.raises(ValueError, match="there is no 02:30 on 2027-03-28: clocks are set forward"):
        parse_when("2027-03-28T02:30", now, BERLIN)
    with pytest.raises(ValueError, match="there is no 02:30"):
        parse_when("02:30", now, BERLIN)
    assert parse_when("03:00", now, BERLIN) == datetime(2027, 3, 28, 1, tzinfo=UTC)


def test_a_time_that_the_zone_has_twice_needs_its_offset():
    now = datetime(2026, 10, 24, 12, tzinfo=UTC)
    with pytest.raises(ValueError, match=r"two 02:30 on 2026-10-25: add the offset, as in 2026-10-25T02:30\+02:00"):
        parse_when("02:30", now, BERLIN)
    assert parse_when("2026-10-25T02:30+02:00", now, BERLIN) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert parse_when("2026-10-25T02:30+01:00", now, BERLIN) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_a_day_has_as_many_hours_as_its_zone_gives_it():
    spring, autumn = datetime(2027, 3, 28, 0, tzinfo=BERLIN), datetime(2026, 10, 25, 0, tzinfo=BERLIN)
    assert parse_when("today", spring, BERLIN) - spring.astimezone(UTC) == timedelta(hours=23)
    assert parse_when("today", autumn, BERLIN) - autumn.astimezone(UTC) == timedelta(hours=25)
    assert parse_when("1d", spring, BERLIN) - spring.astimezone(UTC) == timedelta(hours=24)


def test_where_clocks_skip_midnight_the_day_ends_when_they_skip_it():
    cairo = ZoneInfo("Africa/Cairo")  # 2024-04-26 began at 01:00
    now = datetime(2024, 4, 25, 12, tzinfo=cairo)
    assert parse_when("today", now, cairo) == datetime(2024, 4, 25, 22, tzinfo=UTC)


@pytest.fixture
def in_new_york() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "America/New_York"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("in_new_york")
def test_without_a_zone_it_is_this_machines():
    assert parse_when("2026-12-24T18:00", NOW) == datetime(2026, 12, 24, 23, tzinfo=UTC)
    assert parse_when("2027-07-01T18:00", NOW) == datetime(2027, 7, 1, 22, tzinfo=UTC)
    with pytest.raises(ValueError, match="there is no 02:30 on 2027-03-14"):
        parse_when("2027-03-14T02:30", NOW)
    with pytest.raises(ValueError, match="two 01:30 on 2027-11-07"):
        parse_when("2027-11-07T01:30", NOW)


@pytest.mark.parametrize(
    ("text", "length"), [("40m", timedelta(minutes=40)), ("1h30m", timedelta(minutes=90)), ("1w", timedelta(7))]
)
def test_durations(text: str, length: timedelta):
    assert parse_duration(text) == length


@pytest.mark.parametrize("text", ["", "17:00", "today", "0h", "2026-12-24"])
def test_what_is_not_a_duration(text: str):
    with pytest.raises(ValueError, match="40m, 2h, 1h30m or 3d"):
        parse_duration(text)


ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Tehran"]
)
MOMENTS = st.integers(946_684_800, 2_145_830_400).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)  # 2000 to 2037


@given(MOMENTS, MOMENTS, ZONES)
def test_a_wall_clock_time_is_that_time_or_refused(now: datetime, moment: datetime, name: str):
    zone = ZoneInfo(name)
    wall = moment.astimezone(zone).replace(second=0, microsecond=0)
    try:
        found = parse_when(f"{wall:%Y-%m-%dT%H:%M}", now, zone)
    except ValueError:
        return
    assert found > now
    assert f"{found.astimezone(zone):%Y-%m-%dT%H:%M}" == f"{wall:%Y-%m-%dT%H:%M}"


@given(MOMENTS, ZONES, st.sampled_from(["today", "tomorrow", "monday", "sunday"]))
def test_a_named_day_ends_at_its_end(now: datetime, name: str, day: str):
    zone = ZoneInfo(name)
    if day == f"{now.astimezone(zone):%A}".lower():
        with pytest.raises(ValueError, match="is today"):
            parse_when(day, now, zone)
        return
    end = parse_when(day, now, zone)
    last, first = (end - timedelta(microseconds=1)).astimezone(zone), end.astimezone(zone)
    assert last.date() < first.date()
    assert now < end <= now + timedelta(days=8)


@given(MOMENTS, ZONES, st.integers(0, 23), st.integers(0, 59))
def test_a_clock_time_is_within_the_next_day(now: datetime, name: str, hour: int, minute: int):
    zone = ZoneInfo(name)
    try:
        found = parse_when(f"{hour:02}:{minute:02}", now, zone)
    except ValueError:
        assume(False)
        raise
    assert (found.astimezone(zone).hour, found.astimezone(zone).minute) == (hour, minute)
    assert now < found <= now + timedelta(hours=26)


@given(st.text(max_size=30))
def test_any_text_gives_a_later_moment_or_a_printable_reason(text: str):
    try:
        outcome = parse_when(text, NOW, BERLIN) > NOW
    except ValueError as error:
        outcome = str(error).isprintable()
    assert outcome


@given(MOMENTS)
def test_rfc_3339_comes_back(moment: datetime):
    early = datetime(1999, 1, 1, tzinfo=UTC)
    assert parse_when(moment.isoformat(), early, BERLIN) == moment
