"""Runs the checks at the same time, each with its time limit, and gives the outcomes in the order of the checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from fingertrio.cli.doctor.check import Check, Level, Report, Result, worst
from fingertrio.cli.doctor.installation import Installation


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found.

    Attributes:
        check: which.
        results: in the order in which they were found; empty: it does not apply.
        skipped: why it does not apply; empty: it does.
        seconds: that it took.
    """

    check: Check
    results: Sequence[Result] = ()
    skipped: str = ""
    seconds: float = 0.0

    @property
    def level(self) -> Level:
        """The most severe level of the results."""
        return worst(list(self.results))


async def run_checks(
    place: Installation, checks: Sequence[Check], show: Callable[[Outcome], None], waiting: Callable[[list[str]], None]
) -> list[Outcome]:
    """All outcomes.

    Args:
        place: what the checks look at.
        checks: in the order in which they are shown.
        show: is called with each outcome, in this order, as soon as those before it are there.
        waiting: is called with the names of the checks that still run, whenever one ends.
    """
    outcomes: dict[str, Outcome] = {}
    shown = 0

    async def run(check: Check) -> None:
        nonlocal shown
        outcomes[check.name] = await run_check(place, check)
        waiting([each.name for each in checks if each.name not in outcomes])
        while shown < len(checks) and checks[shown].name in outcomes:
            show(outcomes[checks[shown].name])
            shown += 1

    async with trio.open_nursery() as nursery:
        for check in checks:
            nursery.start_soon(partial(run, check))
    return [outcomes[check.name] for check in checks]


async def run_check(place: Installation, check: Check) -> Outcome:
    """The outcome of one check. It never raises because of the check."""
    began, report = trio.current_time(), Report()
    try:
        if reason := check.skip(place):
            return Outcome(check, skipped=reason)
        with trio.move_on_after(check.limit) as scope:
            await check.look(place, report)
        if scope.cancelled_caught:
            report.problem(
                f"not done within {check.limit:g} seconds",
                "something that was asked does not answer, and the rest was not looked at",
                f"fingertrio doctor {check.name} looks once more, alone",
            )
    except Exception as error:  # noqa: BLE001 -- a fault in one check must not hide what the others find
        report.problem(
            f"the check failed: {type(error).__name__}: {error}",
            "this is a fault in fingertrio, and what the check looks at is not known",
            "report it, with this line",
        )
    return Outcome(check, report.results, seconds=trio.current_time() - began)
