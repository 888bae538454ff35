"""The short form of `make faults ARGS=kills`, which says what is held to be true; and that it would notice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults.kills import (
    FEW,
    READY_LIMIT,
    Campaign,
    CampaignResult,
    judge,
    judge_forgetting,
    number_in,
    status_of,
)
from faults.scenario import SHORT, Findings


@pytest.mark.slow
async def test_what_was_acknowledged_outlasts_kill_9_whole_and_it_is_soon_back(tmp_path: Path) -> None:
    result = await Campaign(tmp_path, writers=16).run(kills=5, writes=500)
    findings = Findings()
    judge(result, findings, ready_limit=READY_LIMIT + SHORT.slack)
    assert findings.broken == [], findings
    assert result.kills == 5
    assert result.acknowledged >= 500
    assert result.unanswered > 0, "it was never killed during a set"


@pytest.mark.slow
async def test_killed_while_it_forgets_it_keeps_the_last_ones_and_every_chain_whole(tmp_path: Path) -> None:
    result = await Campaign(tmp_path, writers=4, history=FEW).run(kills=2, writes=200)
    findings = Findings()
    judge_forgetting(result, findings, ready_limit=READY_LIMIT + SHORT.slack)
    assert findings.broken == [], findings
    assert (result.kills, result.walks) == (2, 3)
    assert 4 * FEW <= result.rows < result.acknowledged


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
    right: dict[str, Any] = {"ready": [0.5], "acknowledged": 9, "rows": 3}
    for result, holds in ((CampaignResult(**right), True), (CampaignResult(**{**right, **wrong}), False)):
        findings = Findings()
        judges(result, findings, ready_limit=READY_LIMIT)
        assert (not findings.broken) == holds


def test_that_nothing_was_forgotten_does_not_hold() -> None:
    findings = Findings()
    judge_forgetting(CampaignResult(ready=[0.5], acknowledged=9, rows=9), findings, ready_limit=READY_LIMIT)
    assert findings.broken == ["no status was deleted"]
