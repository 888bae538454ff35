"""What `make faults` does to the running program, in small numbers. The criteria are the scenarios' own."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
import trio

from faults import (
    accept_fails,
    blackhole,
    blocked,
    caps,
    crowd,
    descriptors,
    endings,
    failing_tasks,
    http2_flood,
    http_burst,
    killers,
    memory,
    proxy_headers,
    random_lines,
    redis_away,
    resets,
    restart,
    slow_readers,
    soak,
    unread_lists,
    webhooks,
    xml,
)
from faults.endings import KEEP_ALIVE
from faults.program import AttackedProgram, running, sections
from faults.scenario import SHORT, Findings, NotInstalledError

pytestmark = pytest.mark.slow

LIMIT = 80  # seconds for one scenario; on a quiet machine it takes one or two


@pytest.fixture(scope="module")
def program() -> Iterator[AttackedProgram]:
    """One program for all that leave it as it was, since starting it takes as long as most of them."""
    with running(sections(backend=resets.BACKEND, http={"keep_alive": KEEP_ALIVE}), environ=resets.ENVIRON) as program:
        yield program


def name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


@pytest.mark.parametrize("scenario", [killers, endings, crowd, descriptors, resets, random_lines, xml, soak], ids=name)
async def test_the_program_survives(scenario: ModuleType, program: AttackedProgram) -> None:
    findings = Findings()
    with trio.fail_after(LIMIT):
        await scenario.attack(program, SHORT, findings)
    assert findings.broken == [], findings


@pytest.mark.parametrize(
    "scenario",
    [
        slow_readers,
        unread_lists,
        http2_flood,
        http_burst,
        memory,
        caps,
        proxy_headers,
        accept_fails,
        blackhole,
        blocked,
        failing_tasks,
        restart,
        webhooks,
        redis_away,
    ],
    ids=name,
)
async def test_a_program_of_its_own_survives(scenario: ModuleType) -> None:
    findings = Findings()
    with trio.fail_after(LIMIT):
        try:
            await scenario.run(SHORT, findings)
        except NotInstalledError as missing:
            pytest.skip(str(missing))
    assert findings.broken == [], findings
