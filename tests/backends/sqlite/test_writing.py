from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingertrio.backends.sqlite.rows import Retention, StatusRow
from fingertrio.backends.sqlite.writing import apply_retention
from tests.backends.sqlite.kit import DAY, SECOND, Clock, opened, put, rows_of, status


def test_since_grows_although_the_clock_was_set_back(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "x.db", now=clock) as store:
        put(store, "moshez", "one")
        clock.time -= 1000 * SECOND
        put(store, "moshez", "two")
        put(store, "moshez", "three")
        assert status(store, "moshez") == "three"
        assert [info.status for info in store.history("moshez", 10, None)] == ["three", "two", "one"]


def test_history_respects_its_count_and_the_file_roughly(tmp_path: Path) -> None:
    clock = Clock()
    retention = Retention(20)
    with opened(tmp_path / "x.db", retention, clock) as store:
        for number in range(100):
            clock.time += 1
            put(store, "moshez", f"Status {number}")
            put(store, "ada", "Weaving")
            assert len(store.history("moshez", 1000, None)) == min(number + 1, 20)
        assert [info.status for info in store.history("moshez", 2, None)] == ["Status 99", "Status 98"]
    counts = rows_of(tmp_path / "x.db", "SELECT count(*) FROM status GROUP BY user")
    assert [count <= retention.trim_above + 1 for (count,) in counts if isinstance(count, int)] == [True, True]


def test_the_lasting_status_is_kept_under_many_passing_ones(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "x.db", Retention(3), clock) as store:
        put(store, "moshez", "Happy and well")
        for number in range(50):
            clock.time += 1
            put(store, "moshez", f"Passing {number}", clock.time + 100)
        told = [info.status for info in store.history("moshez", 10, None)]
        assert told == ["Passing 49", "Passing 48", "Passing 47", "Happy and well"]
        clock.time += 200
        assert status(store, "moshez") == "Happy and well"
        put(store, "moshez", "In the garden")
        for number in range(50):
            clock.time += 1
            put(store, "moshez", f"Lasting {number}")
    (count,) = rows_of(tmp_path / "x.db", "SELECT count(*) FROM status")[0]
    assert isinstance(count, int)
    assert count <= Retention(3).trim_above + 1, "what is no longer in the chain would stay for ever"


def test_history_respects_its_days_and_the_present_status_is_kept(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "x.db", Retention(100, days=10), clock) as store:
        for number in range(5):
            put(store, "moshez", f"Status {number}")
            clock.time += 4 * DAY
        assert [info.status for info in store.history("moshez", 10, None)] == ["Status 4", "Status 3"]
        clock.time += 30 * DAY
        assert [info.status for info in store.history("moshez", 10, None)] == ["Status 4"]
        assert store.trim_history(0, 10) is None
        assert status(store, "moshez") == "Status 4"
    assert rows_of(tmp_path / "x.db", "SELECT text, previous FROM status") == [("Status 4", None)]


def test_trimming_handles_all_users_in_portions(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "x.db", Retention(100, days=10), clock) as store:
        for number in range(5):
            put(store, f"user{number}", "old")
            put(store, f"user{number}", "new")
        clock.time += 30 * DAY
        user: int | None = 0
        portions = 0
        while user is not None:
            user = store.trim_history(user, 2)
            portions += 1
        assert portions == 3
    assert rows_of(tmp_path / "x.db", "SELECT count(*) FROM status") == [(5,)]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3 * DAY)), max_size=30),
    st.builds(Retention, st.integers(1, 6), days=st.sampled_from([None, 0.5, 3.0])),
)
def test_trimming_leaves_what_apply_retention_keeps_and_no_loose_rows(
    sets: list[tuple[bool, int]], retention: Retention
) -> None:
    clock = Clock()
    said = []
    with TemporaryDirectory() as directory:
        path = Path(directory) / "x.db"
        with opened(path, Retention(1000), clock) as store:
            for number, (passes, pause) in enumerate(sets):
                clock.time += 1 + pause
                until = clock.time + 5 if passes else None
                put(store, "moshez", f"Status {number}", until)
                said.append(StatusRow(clock.time, until, f"Status {number}"))
        with opened(path, retention, clock) as store:
            store.trim_history(0, 10)
            history = [info.status for info in reversed(store.history("moshez", 1000, None))]
        left = rows_of(path, "SELECT since, until, text FROM status ORDER BY since")
        counted = rows_of(path, "SELECT kept FROM user")
    kept = apply_retention(said, clock.time, retention)
    assert left == [(one.since, one.until, one.text) for one in kept]
    assert set(history) <= {one.text for one in kept}
    assert counted == ([(len(kept),)] if said else [])


@pytest.mark.parametrize("retention", [Retention(1), Retention(3), Retention(100, days=2), Retention(3, days=2)])
def test_apply_retention_keeps_what_trimming_leaves(tmp_path: Path, retention: Retention) -> None:
    clock = Clock()
    said = []
    with opened(tmp_path / "x.db", Retention(1000), clock) as store:
        for number in range(20):
            clock.time += DAY // 4
            until = clock.time + 5 if number % 2 or number > 12 else None
            put(store, "moshez", f"Status {number}", until)
            said.append(StatusRow(clock.time, until, f"Status {number}"))
    with opened(tmp_path / "x.db", retention, clock) as store:
        store.trim_history(0, 10)
    left = rows_of(tmp_path / "x.db", "SELECT since, until, text FROM status ORDER BY since")
    assert left == [(one.since, one.until, one.text) for one in apply_retention(said, clock.time, retention)]
