"""`make faults`: run the fault scenarios and print a report of the results.

    python -m faults [--short] [--soak] [NAME ...]

The report goes to standard output, progress to standard error. The exit status is 1 if a criterion does not hold or a
scenario could not be carried out. If a scenario needs a program that is not installed, the report says so; that is no
failure.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

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
    fuzz,
    http2_flood,
    http_burst,
    killers,
    kills,
    log_stops,
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
from faults.scenario import SHORT, Findings, NotInstalledError, Scale, Scenario, progress
from fingertrio.testing.measure import Machine

SCENARIOS: Sequence[Scenario] = tuple(
    module.SCENARIO
    for module in (
        killers,
        slow_readers,
        unread_lists,
        http2_flood,
        http_burst,
        memory,
        endings,
        crowd,
        caps,
        descriptors,
        accept_fails,
        log_stops,
        proxy_headers,
        resets,
        random_lines,
        fuzz,
        blackhole,
        blocked,
        failing_tasks,
        xml,
        restart,
        kills,
        webhooks,
        redis_away,
        soak,
    )
)

_PACKAGES = ("fingertrio", "trio", "hypercorn", "quart-trio", "atheris")


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one scenario."""

    scenario: Scenario
    findings: Findings
    seconds: float
    gap: str = ""

    @property
    def passed(self) -> bool:
        return not self.findings.broken

    @property
    def verdict(self) -> str:
        if self.findings.broken:
            return "FAILED"
        return f"not run: {self.gap}" if self.gap else "passed"


async def carry_out(scenario: Scenario, scale: Scale) -> Row:
    """Run one scenario, within its limit. An exception counts as a criterion that does not hold."""
    findings = Findings()
    gap = ""
    began = time.monotonic()
    try:
        with trio.fail_after(scenario.limit):
            await scenario.run(scale, findings)
    except NotInstalledError as missing:
        gap = str(missing)
    except trio.TooSlowError:
        findings.require(False, f"it did not end within {scenario.limit:g} s")
        traceback.print_exc()
    except Exception as error:  # noqa: BLE001 -- the other scenarios still run
        findings.require(False, f"{type(error).__name__}: {error}")
        traceback.print_exc()
    return Row(scenario, findings, time.monotonic() - began, gap)


def report(rows: Sequence[Row]) -> str:
    """Markdown: one table of the results, then for each scenario what was done and what was measured."""
    lines = ["| scenario | fault | result | seconds |", "|---|---|---|--:|"]
    lines += [f"| `{row.scenario.name}` | {row.scenario.title} | {row.verdict} | {row.seconds:.0f} |" for row in rows]
    for row in rows:
        lines += ["", f"### {row.scenario.name}", ""]
        lines += [f"{row.findings.done}.", ""] if row.findings.done else []
        lines += [f"- {figure}" for figure in row.findings.figures]
        lines += [f"- **FAILED**: {_one_line(broken)}" for broken in row.findings.broken]
    return "\n".join(lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def main(arguments: Sequence[str] | None = None, scenarios: Sequence[Scenario] = SCENARIOS) -> int:
    """Returns the exit status."""
    known = {scenario.name: scenario for scenario in scenarios}
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(known)}")
    parser.add_argument("--short", action="store_true", help="use the small numbers of the tests")
    parser.add_argument("--soak", action="store_true", help=f"run the soak for {soak.FULL_SOAK:.0f} s")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no scenario {', '.join(unknown)}; there are: {', '.join(known)}")
    scale = SHORT if options.short else Scale(soak=soak.FULL_SOAK) if options.soak else Scale()
    rows = []
    for name in options.names or known:
        progress(f"{name} ...")
        rows.append(row := trio.run(carry_out, known[name], scale))
        progress(f"{name}: {row.verdict} ({row.seconds:.0f} s) {'; '.join(row.findings.broken)}")
    print(report(rows))
    print(f"\n{time.strftime('%Y-%m-%d')}, {Machine.here(_PACKAGES)}")
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
