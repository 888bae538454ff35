from __future__ import annotations

from pathlib import Path

from fingertrio.wire.times import to_microseconds
from tests.backends.sqlite.kit import Clock, opened, put, status


def test_a_passing_status_ends_at_its_until_and_the_lasting_one_is_back(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "x.db", now=clock) as store:
        put(store, "moshez", "Happy and well")
        put(store, "moshez", "Back soon", clock.time + 10)
        clock.time += 9
        assert status(store, "moshez") == "Back soon"
        clock.time += 1
        assert status(store, "moshez") == "Happy and well"


def test_a_user_without_a_lasting_status_is_gone_after_the_until(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "x.db", now=clock) as store:
        put(store, "bob", "Passing by", clock.time + 10)
        assert store.logins() == ["bob"]
        clock.time += 10
        assert status(store, "bob") is None
        assert store.logins() == []


def test_a_lasting_status_replaces_the_passing_one_for_good(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "x.db", now=clock) as store:
        put(store, "moshez", "Away", clock.time + 10)
        put(store, "moshez", "Back")
        assert status(store, "moshez") == "Back"
        clock.time += 20
        assert status(store, "moshez") == "Back"


def test_a_passing_status_replaces_a_longer_one(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "x.db", now=clock) as store:
        put(store, "moshez", "Happy and well")
        put(store, "moshez", "Away for long", clock.time + 50)
        put(store, "moshez", "Away for short", clock.time + 10)
        clock.time += 20
        assert status(store, "moshez") == "Happy and well"


def test_history_tells_when_each_status_ended(tmp_path: Path) -> None:
    clock = Clock()
    start = clock.time
    with opened(tmp_path / "x.db", now=clock) as store:
        for after, text, until in (
            (0, "first", None),
            (10, "expired", 20),
            (30, "cut short", 100),
            (40, "passing, replaced by a lasting one", 90),
            (50, "second", None),
            (60, "now", 80),
        ):
            clock.time = start + after
            put(store, "moshez", text, until and start + until)
        clock.time = start + 70
        told = [
            (info.status, *(when and to_microseconds(when) - start for when in (info.since, info.until)))
            for info in store.history("moshez", 10, None)
        ]
    assert told == [
        ("now", 60, 80),
        ("second", 50, None),
        ("passing, replaced by a lasting one", 40, 50),
        ("cut short", 30, 40),
        ("expired", 10, 20),
        ("first", 0, 50),
    ]


def test_history_in_pages_equals_history_in_one_piece(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path / "x.db", now=clock) as store:
        for number in range(7):
            clock.time += 10
            put(store, "moshez", f"Status {number}", clock.time + 5 if number % 3 == 1 else None)
        whole = store.history("moshez", 100, None)
        paged = store.history("moshez", 3, None)
        while len(paged) < len(whole):
            assert paged[-1].since is not None
            paged += store.history("moshez", 2, to_microseconds(paged[-1].since))
    assert paged == whole
    assert len(whole) == 7


def test_a_limit_of_zero_returns_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        put(store, "moshez", "Happy and well")
        assert store.history("moshez", 0, None) == []
        assert store.history("moshez", -1, None) == []
