"""The calendar clock is wrong for a while: nothing is lost, and times are right again afterwards."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingertrio.backends.sqlite import admin
from fingertrio.backends.sqlite.admin import Edit, administered, change_user
from fingertrio.backends.sqlite.clock import SETTLING, TOLERANCE, ClockGuard, correct_times
from fingertrio.backends.sqlite.rows import Retention, StatusRow
from fingertrio.backends.sqlite.sources import BadRecord, open_source
from fingertrio.backends.sqlite.transfer import Tally, export_users, import_records
from fingertrio.wire.times import from_microseconds, to_microseconds
from tests.backends.sqlite.kit import DAY, SECOND, Clock, opened, put, rows_of, status

YEAR = 365 * DAY
KEEP = Retention(1000)


class Clocks:
    """A calendar clock and a monotonic clock, both advanced by a test."""

    def __init__(self) -> None:
        self.calendar = Clock()
        self.seconds = 0.0
        self.guard = ClockGuard(self.calendar, monotonic=lambda: self.seconds)

    def pass_seconds(self, seconds: float) -> bool:
        """Let time pass, and poll. Returns whether the guard saw a jump."""
        self.seconds += seconds
        self.calendar.time += int(seconds * SECOND)
        return self.guard.poll()

    def restart(self) -> None:
        """A new process."""
        self.guard = ClockGuard(self.calendar, monotonic=lambda: self.seconds)


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_a_clock_is_trusted_when_it_has_run_for_ten_minutes() -> None:
    clocks = Clocks()
    last = clocks.calendar.time
    assert clocks.guard.doubt(last)
    assert not clocks.pass_seconds(SETTLING - 1)
    assert clocks.guard.doubt(last)
    assert not clocks.pass_seconds(1)
    assert clocks.guard.doubt(last) is None


@pytest.mark.parametrize("jump", [YEAR, -YEAR, 2 * 3600 * SECOND])
def test_after_a_jump_the_clock_must_prove_itself_again(jump: int) -> None:
    clocks = Clocks()
    last = clocks.calendar.time
    clocks.pass_seconds(SETTLING)
    clocks.calendar.time += jump
    assert clocks.pass_seconds(1)
    assert clocks.guard.doubt(last)
    assert not clocks.pass_seconds(SETTLING)
    assert clocks.guard.doubt(last) is None or jump == YEAR


def test_a_clock_before_this_program_was_written_is_never_trusted() -> None:
    clocks = Clocks()
    clocks.calendar.time = to_microseconds(datetime(1970, 1, 1, tzinfo=UTC))
    clocks.pass_seconds(30 * 24 * 3600)
    assert clocks.guard.doubt(None) == "it is years behind"


def test_a_clock_years_ahead_of_all_statuses_is_believed_after_a_week() -> None:
    clocks = Clocks()
    last = clocks.calendar.time - 12 * YEAR
    clocks.pass_seconds(SETTLING)
    assert clocks.guard.doubt(last) == "it is more than a year ahead of the last statuses"
    clocks.pass_seconds(7 * 24 * 3600)
    assert clocks.guard.doubt(last) is None


@pytest.mark.parametrize("seconds", [2, SETTLING + 1])
def test_a_start_in_2038_deletes_no_history(tmp_path: Path, seconds: float, caplog: pytest.LogCaptureFixture) -> None:
    path, retention, clocks = tmp_path / "x.db", Retention(10, days=30), Clocks()
    for _ in range(2):
        with opened(path, retention, clocks.calendar, clocks.guard) as store:
            for number in range(5):
                clocks.pass_seconds(3600)
                put(store, "ada", f"Status {number}")
    right = clocks.calendar.time
    clocks.calendar.time = to_microseconds(datetime(2038, 1, 19, tzinfo=UTC))
    clocks.restart()
    with opened(path, retention, clocks.calendar, clocks.guard) as store:
        clocks.pass_seconds(seconds)
        store.poll()
        for number in range(30):  # each set may trim the history of its user
            put(store, "bob", f"Status {number}")
        put(store, "ada", "In 2038")
        store.trim_history(0, 100)
    warned = any("more than a year ahead" in record.getMessage() for record in caplog.records)
    assert warned == (seconds > SETTLING)
    clocks.calendar.time = right
    clocks.restart()
    with opened(path, retention, clocks.calendar, clocks.guard) as store:
        assert len(store.history("ada", 100, None)) == 10
        assert "Status 0" in [info.status for info in store.history("ada", 100, None)]


def test_history_is_deleted_by_age_once_the_clock_is_trusted(tmp_path: Path) -> None:
    path, retention, clocks = tmp_path / "x.db", Retention(10, days=30), Clocks()
    with opened(path, retention, clocks.calendar, clocks.guard) as store:
        put(store, "ada", "old")
        put(store, "ada", "present")
        clocks.calendar.time += 40 * DAY
        for wait, left in ((1, 2), (SETTLING, 1)):
            clocks.pass_seconds(wait)
            store.poll()
            store.trim_history(0, 100)
            assert rows_of(path, "SELECT count(*) FROM status") == [(left,)]


# --- times in the future ----------------------------------------------------------------------------------------------


def test_after_a_set_with_a_clock_far_ahead_the_next_set_corrects_the_times(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "x.db", now=clock) as store:
        put(store, "ada", "before")
        put(store, "bob", "In the garden")
        right = clock.time + SECOND
        clock.time = to_microseconds(datetime(2109, 1, 1, tzinfo=UTC))
        put(store, "ada", "In 2109", until=clock.time + 3600 * SECOND)
        clock.time = right
        info = put(store, "ada", "after")
        assert info.since == from_microseconds(right)
        told = [(info.status, info.since) for info in store.history("ada", 10, None)]
    assert [text for text, _since in told] == ["after", "In 2109", "before"]
    assert told[1][1] == from_microseconds(right - 1)
    rows = rows_of(tmp_path / "x.db", "SELECT since, until FROM status WHERE text = 'In 2109'")
    assert rows == [(right - 1, right - 1 + 3600 * SECOND)], "its end was given by the same clock"


def test_maintenance_corrects_users_who_set_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, clocks = tmp_path / "x.db", Clocks()
    with opened(path, now=clocks.calendar, guard=clocks.guard) as store:
        right = clocks.calendar.time
        clocks.calendar.time += 80 * YEAR
        put(store, "ada", "In the future", until=clocks.calendar.time + DAY)
        clocks.calendar.time = right
        clocks.guard.poll()
        store.correct_times(100)
        assert rows_of(path, "SELECT since FROM status") == [(right + 80 * YEAR,)], "the clock may be behind now"
        clocks.pass_seconds(SETTLING)
        store.correct_times(100)
        (since, until), *_ = rows_of(path, "SELECT since, until FROM status")
        assert since == clocks.calendar.time - 1
        assert until == clocks.calendar.time - 1 + DAY
        assert rows_of(path, "SELECT passing_until FROM user") == [(until,)]
        assert status(store, "ada") == "In the future"
        assert "1 users had statuses set in the future" in caplog.text


def test_a_clock_that_is_behind_changes_no_times(tmp_path: Path) -> None:
    """After a start with a clock that stopped months ago, all recent statuses seem to be in the future."""
    clock = Clock()
    with opened(tmp_path / "x.db", now=clock) as store:
        for number in range(5):
            clock.time += DAY
            put(store, "ada", f"Status {number}")
            put(store, "bob", f"Status {number}")
        before = rows_of(tmp_path / "x.db", "SELECT id, since FROM status")
        clock.time -= 100 * DAY
        put(store, "ada", "behind")
        assert rows_of(tmp_path / "x.db", "SELECT id, since FROM status")[:-1] == before
        assert [info.status for info in store.history("ada", 2, None)] == ["behind", "Status 4"]


def test_the_command_line_corrects_times_too(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        put(store, "ada", "before")
        store._now = lambda: admin.now() + 80 * YEAR
        put(store, "ada", "In the future")
    with administered(tmp_path / "x.db") as connection:
        change_user(connection, "ada", Edit(status="after"), KEEP)
        assert connection.execute("SELECT max(since) FROM status").fetchone()[0] <= admin.now()


@given(st.lists(st.tuples(st.integers(1, 3 * TOLERANCE), st.none() | st.integers(-TOLERANCE, TOLERANCE)), max_size=8))
def test_corrected_times_grow_and_are_not_in_the_future(steps: list[tuple[int, int | None]]) -> None:
    now = 1_800_000_000 * SECOND
    rows, since = [], now - 2 * TOLERANCE
    for number, (step, until) in enumerate(steps):
        since += step
        rows.append(StatusRow(since, None if until is None else since + until, f"Status {number}"))
    corrected = correct_times(rows, now)
    assert [row.text for row in corrected] == [row.text for row in rows]
    for old, new in zip(rows, corrected, strict=True):
        assert new == old or old.since > now + TOLERANCE
        assert new.since <= now + TOLERANCE + len(rows)
        assert (new.until is None) == (old.until is None)
    times = [row.since for row in corrected]
    assert sorted(set(times)) == times


# --- export and import ------------------------------------------------------------------------------------------------


def load(path: Path, source: Path) -> tuple[Tally, list[BadRecord]]:
    bad: list[BadRecord] = []
    with administered(path, make=True) as connection:
        stream = open_source(source)[1]
        tally = import_records(connection, stream, retention=KEEP, on_bad=bad.append, progress=lambda _more: None)
    return tally, bad


_SETS = st.lists(
    st.tuples(
        st.sampled_from(["ada", "bob"]),
        st.sampled_from([0, 1, 1800 * SECOND, -1800 * SECOND, 30 * DAY, -30 * DAY, 80 * YEAR, -80 * YEAR]),
        st.none() | st.integers(1, 2 * DAY),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15)
@given(_SETS)
def test_import_takes_every_export_of_ours_whatever_the_clock_did(sets: list[tuple[str, int, int | None]]) -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        clock = Clock()
        clock.time = admin.now()
        with opened(directory / "x.db", now=clock) as store:
            for number, (user, jump, until) in enumerate(sets):
                clock.time += jump
                put(store, user, f"Status {number}", None if until is None else clock.time + until)
        with administered(directory / "x.db") as connection:
            (directory / "export").write_text("".join(f"{line}\n" for line in export_users(connection)))
        users = len({user for user, _jump, _until in sets})
        assert load(directory / "y.db", directory / "export") == (Tally(imported=users), [])
        assert load(directory / "y.db", directory / "export") == (Tally(unchanged=users), [])
        query = "SELECT login, text FROM status JOIN user ON user.id = status.user ORDER BY login, since"
        assert rows_of(directory / "y.db", query) == rows_of(directory / "x.db", query)
        assert rows_of(directory / "y.db", f"SELECT * FROM status WHERE since > {admin.now() + TOLERANCE}") == []


def test_an_old_export_does_not_bring_back_what_was_corrected_since(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    clock = Clock()
    clock.time = admin.now()
    with opened(tmp_path / "x.db", now=clock) as store:
        put(store, "ada", "before")
        clock.time += 80 * YEAR
        put(store, "ada", "In the future")
        clock.time -= 80 * YEAR
        with administered(tmp_path / "x.db") as connection:
            (tmp_path / "export").write_text("".join(f"{line}\n" for line in export_users(connection)))
        put(store, "ada", "after")
        assert load(tmp_path / "x.db", tmp_path / "export") == (Tally(unchanged=1), [])
        assert [info.status for info in store.history("ada", 9, None)] == ["after", "In the future", "before"]
