"""Which times every zone can show, and microseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.times import from_microseconds, in_utc, to_microseconds

ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=ZONES), ZONES)
def test_what_is_taken_can_stand_in_any_zone_and_is_the_same_moment(moment: datetime, zone: timezone) -> None:
    try:
        utc = in_utc(moment)
    except ValueError:
        assert moment.year in {1, 9999}
    else:
        assert utc.tzinfo is UTC
        assert utc == moment
        assert utc.astimezone(zone) == moment


def test_a_time_without_a_zone_is_none() -> None:
    with pytest.raises(ValueError, match="zone"):
        in_utc(datetime.fromisoformat("2026-01-01"))


@given(st.datetimes(timezones=ZONES))
def test_microseconds_are_exact_whatever_the_zone(when: datetime) -> None:
    assert from_microseconds(to_microseconds(when)) == when


def test_microseconds_outside_of_the_calendar_are_an_error() -> None:
    with pytest.raises(OverflowError):
        from_microseconds(2**63)
