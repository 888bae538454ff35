"""How checks run: together, in order, each with a limit, and none can hide what the others find."""

from __future__ import annotations

import trio

from fingertrio.cli.doctor.check import Check, Report
from fingertrio.cli.doctor.checks import CHECKS
from fingertrio.cli.doctor.installation import Installation
from fingertrio.cli.doctor.running import run_check, run_checks
from tests.cli.doctor.kit import NO_TRUST

PLACE = Installation(trust=NO_TRUST)


def check(name: str, seconds: float = 0.0, *, limit: float = 5.0, fails: bool = False, skip: str = "") -> Check:
    async def look(_place: Installation, report: Report) -> None:
        report.ok("began")
        await trio.sleep(seconds)
        if fails:
            raise ValueError("a bug")
        report.warning("ended", "why", "next")

    return Check(name, name.title(), look, lambda _place: skip, limit)


async def test_checks_run_together_and_are_shown_in_their_order(autojump_clock):
    shown: list[tuple[str, float]] = []
    waiting: list[list[str]] = []
    checks = [check("slow", 3), check("quick", 1), check("last", 2)]
    outcomes = await run_checks(
        PLACE, checks, lambda found: shown.append((found.check.name, trio.current_time())), waiting.append
    )
    assert [name for name, _ in shown] == ["slow", "quick", "last"] == [found.check.name for found in outcomes]
    began = shown[0][1] - 3
    assert [round(at - began) for _, at in shown] == [3, 3, 3]
    assert waiting == [["slow", "last"], ["slow"], []]


async def test_a_check_that_takes_too_long_ends_and_keeps_what_it_found(autojump_clock):
    outcome = await run_check(PLACE, check("stuck", 60, limit=4))
    assert [result.level for result in outcome.results] == ["ok", "problem"]
    assert "not done within 4 seconds" in outcome.results[1].what
    assert "fingertrio doctor stuck" in outcome.results[1].next
    assert outcome.level == "problem"


async def test_a_fault_in_one_check_does_not_stop_the_others():
    outcomes = await run_checks(
        PLACE, [check("broken", fails=True), check("well")], lambda _found: None, lambda _names: None
    )
    assert [result.level for result in outcomes[0].results] == ["ok", "problem"]
    assert "ValueError: a bug" in outcomes[0].results[1].what
    assert [result.level for result in outcomes[1].results] == ["ok", "warning"]


async def test_a_check_that_does_not_apply_says_why():
    outcome = await run_check(PLACE, check("unused", skip="there is no section [irc]"))
    assert (outcome.skipped, outcome.results, outcome.level) == ("there is no section [irc]", (), "ok")


def test_text_of_others_cannot_control_the_terminal():
    report = Report()
    report.problem("pid 1 (\x1b[31mevil\x07)", "a\nb", "next")
    assert report.results[0].what == "pid 1 (evil)"
    assert "\n" not in report.results[0].why


def test_names_are_one_word_each_and_different():
    names = [each.name for each in CHECKS]
    assert len({*names}) == len(names)
    assert all(name.isalnum() and name.islower() for name in names)
    assert all(each.title for each in CHECKS)


async def test_every_check_copes_with_a_configuration_that_has_mistakes():
    place = Installation(trust=NO_TRUST, mistakes="x.toml: [backend] use: is missing")
    for each in CHECKS:
        if each.name in {"server", "clock", "versions", "systemd", "limits"}:
            continue  # they look at this machine
        outcome = await run_check(place, each)
        assert outcome.skipped or not any("the check failed" in result.what for result in outcome.results), each.name
