"""Times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from fingertrio.frontends.web.times import ago, exact, until

NOW = datetime(2026, 11, 29, 21, 5, tzinfo=UTC)  # a Sunday


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        (timedelta(seconds=-3), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=60), "1 min ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=1), "1 h ago"),
        (timedelta(hours=23, minutes=59), "23 h ago"),
        (timedelta(days=1), "yesterday"),
        (timedelta(days=2), "2 days ago"),
        (timedelta(days=6, hours=23), "6 days ago"),
        (timedelta(days=7), "22 Nov"),
        (timedelta(days=400), "25 Oct 2025"),
    ],
)
def test_how_long_ago(passed: timedelta, expected: str) -> None:
    assert ago(NOW - passed, NOW).short == expected


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (timedelta(minutes=5), "21:10 UTC"),
        (timedelta(hours=-1), "20:05 UTC"),
        (timedelta(hours=-30), "28 Nov"),
        (timedelta(hours=11), "08:05 UTC"),
        (timedelta(hours=13), "Monday 10:05 UTC"),
        (timedelta(days=5), "Friday 21:05 UTC"),
        (timedelta(days=7), "6 Dec"),
        (timedelta(days=60), "28 Jan 2027"),
    ],
)
def test_until_when(ahead: timedelta, expected: str) -> None:
    assert until(NOW + ahead, NOW).short == expected


def test_the_exact_time_is_in_utc_wherever_it_was_set() -> None:
    shown = exact(datetime(2026, 11, 29, 23, 5, 7, 999, tzinfo=timezone(timedelta(hours=2))))
    assert (shown.machine, shown.exact) == ("2026-11-29T21:05:07Z", "29 November 2026, 21:05 UTC")


def test_the_first_and_last_time_that_can_be_set() -> None:
    assert ago(datetime(1, 1, 2, tzinfo=UTC), NOW).machine == "0001-01-02T00:00:00Z"
    assert until(datetime(9999, 12, 30, tzinfo=UTC), NOW).short == "30 Dec 9999"
