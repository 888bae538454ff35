"""The check of the chains of statuses in a database, against databases that are whole and damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from faults.chains import damage
from fingertrio.backends.sqlite.rows import Put, Retention
from fingertrio.backends.sqlite.store import SQLiteStore

NOW = 1_800_000_000 * 1_000_000  # microseconds
MANY = 1000
FEW = 3


@contextmanager
def opened(path: Path, most: int = MANY) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore.open(path, Retention(most), lambda: NOW)) as store:
        yield store


def put(store: SQLiteStore, login: str, text: str, until: int | None = None) -> None:
    (answer,) = store.commit([Put(login, text, until)])
    assert not isinstance(answer, Exception), answer


def a_database(path: Path) -> Path:
    """Two users who said three things each, in turn (ids 1, 3, 5 and 2, 4, 6)."""
    with opened(path) as store:
        for text in ("one", "two", "three"):
            put(store, "moshez", text)
            put(store, "ada", text)
    return path


def test_chains_that_are_whole_are_found_so_also_where_one_outlives_those_after_it(tmp_path: Path) -> None:
    assert damage(a_database(tmp_path / "x.db")) == (6, [])
    with opened(tmp_path / "y.db", FEW) as store:
        put(store, "moshez", "lasting")
        for number in range(20):
            put(store, "moshez", f"passing {number}", until=NOW + 10**9)
        rows, wrong = damage(tmp_path / "y.db")  # as in the campaign: while a server has it open
    assert FEW < rows < 20
    assert wrong == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM status WHERE id = 1", ["moshez: it leads to 1, which does not exist"]),
        (
            "DELETE FROM status WHERE id = 5",
            ["it leads to 5, which", "lacks [1, 3]", "lasting is 5, which is not in the chain"],
        ),
        ("UPDATE status SET previous = NULL WHERE id = 5", ["moshez: it lacks [1, 3]"]),
        ("UPDATE status SET previous = 1 WHERE id = 5", ["moshez: it lacks [3]"]),
        ("UPDATE status SET previous = 2 WHERE id = 3", ["it has [2], which are another user's", "it lacks [1]"]),
        ("UPDATE status SET previous = 5 WHERE id = 1", ["moshez: it leads from 1 up to 5"]),
        ("UPDATE status SET previous = 3 WHERE id = 3", ["it leads from 3 up to 3", "it lacks [1]"]),
        (
            "UPDATE status SET user = 9 WHERE id = 1",
            ["it has [1], which are another user's", "[1] are of user 9, who does not"],
        ),
        (
            "UPDATE user SET latest = 3 WHERE login = 'moshez'",
            ["it lacks [5]", "lasting is 5, which is not in the chain"],
        ),
        ("UPDATE user SET latest = NULL, lasting = NULL WHERE login = 'moshez'", ["it lacks [1, 3, 5]"]),
        ("UPDATE user SET kept = 2 WHERE login = 'moshez'", ["moshez: kept is 2, but there are 3"]),
        ("UPDATE user SET lasting = 6 WHERE login = 'moshez'", ["moshez: lasting is 6, which is not in the chain"]),
    ],
)
def test_each_kind_of_damage_to_a_chain_is_noticed(tmp_path: Path, statement: str, told: list[str]) -> None:
    path = a_database(tmp_path / "x.db")
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute(statement).rowcount == 1
    _rows, wrong = damage(path)
    assert len(wrong) == len(told), wrong
    for line, part in zip(wrong, told, strict=True):
        assert part in line
