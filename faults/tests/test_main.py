"""What `make faults` prints, and with which status it ends."""

from __future__ import annotations

import pytest
import trio

from faults.__main__ import SCENARIOS, main
from faults.scenario import Findings, NotInstalledError, Scale, Scenario


async def holds(scale: Scale, findings: Findings) -> None:
    findings.done = f"{scale.of('much', 'little')} of a | b"
    findings.figure("1 of 1")
    findings.require(True, "not said")


async def breaks(_scale: Scale, findings: Findings) -> None:
    findings.require(False, "it fell over")


async def cannot(_scale: Scale, _findings: Findings) -> None:
    raise RuntimeError("no such thing")


async def lacks(_scale: Scale, _findings: Findings) -> None:
    raise NotInstalledError("needs a moon")


async def hangs(_scale: Scale, _findings: Findings) -> None:
    await trio.sleep_forever()


def outcome(
    capsys: pytest.CaptureFixture[str], *scenarios: Scenario, arguments: tuple[str, ...] = ()
) -> tuple[int, str]:
    status = main(arguments, scenarios)
    return status, capsys.readouterr().out


def test_a_passed_scenario_is_reported_with_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = outcome(capsys, Scenario("holds", "A title", holds, 5), arguments=("--short",))
    assert status == 0
    assert "| `holds` | A title | passed | 0 |" in printed
    assert "### holds\n\nlittle of a | b.\n\n- 1 of 1\n" in printed


@pytest.mark.parametrize(
    ("run", "reason"),
    [(breaks, "it fell over"), (cannot, "RuntimeError: no such thing"), (hangs, "it did not end within")],
)
def test_a_failed_scenario_is_reported_and_sets_the_status(run, reason, capsys: pytest.CaptureFixture[str]) -> None:
    others = Scenario("holds", "B", holds, 5)
    status, printed = outcome(capsys, Scenario("x", "A", run, 0.01), others)
    assert status == 1
    assert "| `x` | A | FAILED |" in printed
    assert f"- **FAILED**: {reason}" in printed
    assert "| `holds` | B | passed |" in printed


def test_a_scenario_without_its_program_is_reported_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = outcome(capsys, Scenario("lacks", "A", lacks, 5))
    assert status == 0
    assert "not run: needs a moon" in printed


def test_only_named_scenarios_run(capsys: pytest.CaptureFixture[str]) -> None:
    scenarios = (Scenario("holds", "A", holds, 5), Scenario("breaks", "B", breaks, 5))
    assert outcome(capsys, *scenarios, arguments=("holds",))[0] == 0
    with pytest.raises(SystemExit):
        outcome(capsys, *scenarios, arguments=("nosuch",))


def test_names_are_unique() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
