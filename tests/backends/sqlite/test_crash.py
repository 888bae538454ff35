"""The short form of `make faults ARGS=kills`, which says what is held to be true; and that it would notice."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from faults.chains import damage
from faults.kills import (
    FEW,
    READY_LIMIT,
    Campaign,
    Seen,
    judge,
    judge_forgetting,
    number_in,
    status_of,
)
from faults.scenario import SHORT, Findings
from fingertrio.backends.sqlite.rows import Retention
from tests.backends.sqlite.kit import Clock, opened, put


async def test_what_was_acknowledged_outlasts_kill_9_whole_and_it_is_soon_back(tmp_path: Path) -> None:
    seen = await Campaign(tmp_path, writers=16).run(kills=5, writes=500)
    findings = Findings()
    judge(seen, findings, ready_limit=READY_LIMIT + SHORT.slack)
    assert findings.broken == [], findings
    assert seen.kills == 5
    assert seen.acknowledged >= 500
    assert seen.unanswered > 0, "it was killed while nobody was writing"


async def test_killed_while_it_forgets_it_keeps_the_last_ones_and_every_chain_whole(tmp_path: Path) -> None:
    seen = await Campaign(tmp_path, writers=4, history=FEW).run(kills=2, writes=200)
    findings = Findings()
    judge_forgetting(seen, findings, ready_limit=READY_LIMIT + SHORT.slack)
    assert findings.broken == [], findings
    assert (seen.kills, seen.walks) == (2, 3)
    assert 4 * FEW <= seen.rows < seen.acknowledged


@pytest.mark.parametrize("number", range(50))
def test_a_status_tells_its_number_and_a_torn_one_none(number: int) -> None:
    status = status_of("moshez", number)
    assert number_in("moshez", status) == number
    assert number_in("ada", status) is None
    for cut in (status[:-1], status[1:], status[: len(status) // 2], status.replace("moshez", "mosheX"), ""):
        assert number_in("moshez", cut) is None


@pytest.mark.parametrize(
    "wrong",
    [{"lost": ["x"]}, {"torn": ["x"]}, {"broken": ["x"]}, {"unsound": "x"}, {"ready": [0.5, 2.1]}],
    ids=lambda wrong: next(iter(wrong)),
)
@pytest.mark.parametrize("judges", [judge, judge_forgetting])
def test_anything_wrong_does_not_hold(wrong: dict[str, list[str]], judges: Callable[..., None]) -> None:
    right = {"ready": [0.5], "acknowledged": 9, "rows": 3}
    for seen, holds in ((Seen(**right), True), (Seen(**{**right, **wrong}), False)):  # type: ignore[arg-type]
        findings = Findings()
        judges(seen, findings, ready_limit=READY_LIMIT)
        assert (not findings.broken) == holds


def test_that_nothing_was_forgotten_does_not_hold() -> None:
    findings = Findings()
    judge_forgetting(Seen(ready=[0.5], acknowledged=9, rows=9), findings, ready_limit=READY_LIMIT)
    assert findings.broken == ["nothing was forgotten"]


def a_database(path: Path) -> Path:
    """Two users who said three things each, in turn (ids 1, 3, 5 and 2, 4, 6)."""
    clock = Clock()
    with opened(path, now=clock) as store:
        for text in ("one", "two", "three"):
            put(store, "moshez", text)
            put(store, "ada", text)
    return path


def test_chains_that_are_whole_are_found_so_also_where_one_outlives_those_after_it(tmp_path: Path) -> None:
    assert damage(a_database(tmp_path / "x.db")) == (6, [])
    clock = Clock()
    with opened(tmp_path / "y.db", Retention(FEW), clock) as store:
        put(store, "moshez", "lasting")
        for number in range(20):
            put(store, "moshez", f"passing {number}", until=clock() + 10**9)
        rows, wrong = damage(tmp_path / "y.db")  # as in the campaign: while a server has it open
    assert FEW < rows < 20
    assert wrong == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM status WHERE id = 1", ["moshez: it leads to 1, which is not there"]),
        (
            "DELETE FROM status WHERE id = 5",
            ["it leads to 5, which", "never meets [1, 3]", "lasting is 5, which is not"],
        ),
        ("UPDATE status SET previous = NULL WHERE id = 5", ["moshez: it never meets [1, 3]"]),
        ("UPDATE status SET previous = 1 WHERE id = 5", ["moshez: it never meets [3]"]),
        ("UPDATE status SET previous = 2 WHERE id = 3", ["it meets [2], which are others'", "it never meets [1]"]),
        ("UPDATE status SET previous = 5 WHERE id = 1", ["moshez: it leads from 1 up to 5"]),
        ("UPDATE status SET previous = 3 WHERE id = 3", ["it leads from 3 up to 3", "it never meets [1]"]),
        (
            "UPDATE status SET user = 9 WHERE id = 1",
            ["it meets [1], which are others'", "[1] are of user 9, who is not"],
        ),
        (
            "UPDATE user SET latest = 3 WHERE login = 'moshez'",
            ["it never meets [5]", "lasting is 5, which is not in it"],
        ),
        ("UPDATE user SET latest = NULL, lasting = NULL WHERE login = 'moshez'", ["it never meets [1, 3, 5]"]),
        ("UPDATE user SET kept = 2 WHERE login = 'moshez'", ["moshez: kept is 2, there are 3"]),
        ("UPDATE user SET lasting = 6 WHERE login = 'moshez'", ["moshez: lasting is 6, which is not in it"]),
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
