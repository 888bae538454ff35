"""Recent statuses: each query reads the rows of its page, and follows what ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingertrio.backend import Recency, UserInfo
from fingertrio.backends.sqlite import rows, writing
from fingertrio.backends.sqlite.opening import transaction
from fingertrio.backends.sqlite.rows import Put, Retention
from fingertrio.backends.sqlite.schema import MIGRATIONS, migrate
from tests.backends.sqlite.kit import SECOND, Clock, opened, put

KEPT = Retention(1000)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as connection:
        migrate(connection, "x")
        yield connection


def users(infos: Sequence[UserInfo]) -> list[str]:
    return [info.user for info in infos]


class Steps:
    """Counts the steps of SQLite's virtual machine, a measure of work that no clock disturbs."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.count = 0

    def __enter__(self) -> Self:
        def step() -> int:
            self.count += 1
            return 0

        self._connection.set_progress_handler(step, 1)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.set_progress_handler(None, 1)


def fill(connection: sqlite3.Connection, count: int) -> None:
    with transaction(connection):
        for start in range(0, count, 50):
            puts = [Put(f"user{number:05}", "Happy and well") for number in range(start, min(start + 50, count))]
            writing.put(connection, puts, 1_000_000 + start // 200, KEPT)


def test_a_page_is_read_from_the_index_without_sorting(connection: sqlite3.Connection):
    place = {"recency": -5, "login": "ada", "now": 9, "limit": 50}
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {rows._RECENT}", place)]
    assert plan == [
        "SEARCH user USING INDEX user_recency ((recency,login)>(?,?))",
        "SEARCH status USING INTEGER PRIMARY KEY (rowid=?)",
    ]
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {rows._RECENTLY_ENDED}", place)]
    assert plan[0] == "SEARCH user USING INDEX user_recency_until (recency_until<?)"


def test_ten_thousand_users_cost_a_page_no_more_than_a_hundred(connection: sqlite3.Connection):
    costs = []
    for count in (100, 10_000):
        fill(connection, count)
        everybody = rows.recent(connection, count, None, 9 * SECOND)
        assert len(everybody) == count
        with Steps(connection) as steps:
            first = rows.recent(connection, 50, None, 9 * SECOND)
            second = rows.recent(connection, 40, Recency.of(first[-1]), 9 * SECOND)
        assert users([*first, *second]) == users(everybody[:90])
        costs.append(steps.count)
    assert costs[1] < costs[0] * 1.1


def test_equal_times_are_paged_by_name(tmp_path: Path):
    clock = Clock()
    with opened(tmp_path / "x.db", now=clock) as store:
        store.commit([Put(name, "x") for name in ("bob", "zed", "ada", "Zed")])
        found: list[str] = []
        before = None
        while page := store.recent(1, before):
            found += users(page)
            before = Recency.of(page[0])
        assert found == ["Zed", "ada", "bob", "zed"]
        assert store.recent(9, Recency(None, "a")) == []


@pytest.mark.parametrize("moves", [True, False], ids=["moved", "not moved yet"])
def test_who_has_a_status_that_ended_stands_where_the_earlier_one_belongs(tmp_path: Path, moves: bool):
    clock = Clock()
    with opened(tmp_path / "x.db", now=clock) as store:
        for name in ("ada", "bob", "cy"):
            clock.time += 1
            put(store, name, "lasting")
        put(store, "ada", "passing", clock.time + SECOND)
        put(store, "dee", "passing", clock.time + SECOND)
        put(store, "cy", "")
        put(store, "cy", "passing", clock.time + SECOND)
        assert sorted(users(store.recent(9, None))[:3]) == ["ada", "cy", "dee"]
        clock.time += SECOND
        assert store.expiries(0).must_move
        if moves:
            store.move_places()
            assert not store.expiries(0).must_move
        assert [(info.user, info.status) for info in store.recent(9, None)] == [("bob", "lasting"), ("ada", "lasting")]
        assert users(store.recent(1, None)) == ["bob"]
        assert users(store.recent(1, Recency.of(store.recent(1, None)[0]))) == ["ada"]


def test_who_is_moved_while_a_page_is_read_is_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock, info_of = Clock(), rows.info_of
    with opened(tmp_path / "x.db", now=clock) as store:
        put(store, "ada", "lasting")
        clock.time += 1
        put(store, "bob", "lasting")
        put(store, "ada", "passing", clock.time + SECOND)
        clock.time += SECOND

        def move(*row: Any) -> UserInfo:
            monkeypatch.setattr(rows, "info_of", info_of)
            store.move_places()
            return info_of(*row)

        monkeypatch.setattr(rows, "info_of", move)
        assert [(info.user, info.status) for info in store.recent(9, None)] == [("bob", "lasting"), ("ada", "lasting")]
        assert not store.expiries(0).must_move


def test_what_a_wrong_clock_has_moved_is_moved_back(tmp_path: Path):
    clock = Clock()
    with opened(tmp_path / "x.db", now=clock) as store:
        put(store, "ada", "lasting")
        put(store, "ada", "passing", clock.time + 60 * SECOND)
        clock.time += 3600 * SECOND
        store.move_places()
        clock.time -= 3600 * SECOND
        assert not store.expiries(0).must_move
        assert store.expiries(0, clock_was_wrong=True).must_move
        store.move_places()
        assert [info.status for info in store.recent(9, None)] == ["passing"]


def test_nothing_to_move_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with opened(tmp_path / "x.db") as store:
        put(store, "ada", "x")
        store.move_places()
        store.trim_history(0, 100)
        assert not store.poll()
        put(store, "ada", "y")
    assert not caplog.records


def test_an_earlier_version_has_all_places_after_its_migration(tmp_path: Path):
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path, MIGRATIONS[:1])
        old = """
            INSERT INTO user (id, login, kept, latest, lasting, passing_until) VALUES
                (1, 'ada', 1, 1, 1, NULL), (2, 'bob', 2, 3, 2, 900), (3, 'cy', 1, 4, NULL, 5000),
                (4, 'dee', 1, 5, 5, NULL), (5, 'eve', 0, NULL, NULL, NULL);
            INSERT INTO status (id, user, since, until, previous, text) VALUES
                (1, 1, 100, NULL, NULL, 'lasting'), (2, 2, 200, NULL, NULL, 'lasting'), (3, 2, 300, 900, 2, 'passing'),
                (4, 3, 400, 5000, NULL, 'passing'), (5, 4, 500, NULL, NULL, char(10));
        """
        connection.executescript(old)
        migrate(connection, path)
        found = [(info.user, info.status) for info in rows.recent(connection, 9, None, 1000)]
        assert found == [("cy", "passing"), ("bob", "lasting"), ("ada", "lasting")]


_names = st.sampled_from(["ada", "bob", "cy"])
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), _names, st.one_of(st.none(), st.integers(1, 30))),
        st.tuples(st.sampled_from(["clear", "remove", "rewrite", "correct"]), _names, st.none()),
        st.tuples(st.sampled_from(["wait", "move"]), st.just(""), st.integers(0, 20)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps=_steps)
def test_whatever_happens_the_recent_are_what_each_user_is_asked_for(steps: list[tuple[str, str, Any]]):
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, "x")
        now = 1000
        for step, name, number in steps:
            found = connection.execute("SELECT id FROM user WHERE login = ?", (name,)).fetchone()
            now += 1
            if step == "put":
                writing.put(connection, [Put(name, "x", None if number is None else now + number)], now, KEPT)
            elif step == "clear" and found:
                writing.put(connection, [Put(name, "")], now, KEPT)
            elif step == "remove" and found:
                writing.delete_log(connection, found[0])
            elif step == "rewrite" and found:
                writing.replace_log(connection, found[0], writing.read_log(connection, found[0])[:1])
            elif step == "correct" and found:
                writing.correct_log(connection, found[0], now)
            elif step == "wait":
                now += number
            elif step == "move":
                writing.move_places(connection, now)
            answers = [rows.find(connection, each, now) for each in ("ada", "bob", "cy")]
            right = sorted((info for info in answers if info is not None and info.status), key=Recency.of)
            assert rows.recent(connection, 9, None, now) == right
