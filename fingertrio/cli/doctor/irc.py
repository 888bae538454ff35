"""Check `irc`: what `fingertrio irc-check` finds, for each network."""

from __future__ import annotations

from collections.abc import Callable

import trio

from fingertrio.cli.doctor.check import Check, Report
from fingertrio.cli.doctor.installation import Installation
from fingertrio.config.irc import IrcSection
from fingertrio.frontends.irc import NetworkSettings
from fingertrio.frontends.irc.check import DEADLINE, Finding, NetworkCheck
from fingertrio.frontends.irc.door import to_networks


async def look_at_networks(
    place: Installation, report: Report, *, make: Callable[[NetworkSettings], NetworkCheck] = NetworkCheck
) -> None:
    """Connect to each network under another nick, log in, and leave."""
    section = place.section("irc", IrcSection)
    if section is None:
        return
    try:
        checks = [(network.name, make(network)) for network in to_networks(section)]
    except ValueError as error:
        report.problem(f"[irc] {error}", "the bot does not start", "make the file readable, or correct its path")
        return
    async with trio.open_nursery() as nursery:
        for _, check in checks:
            nursery.start_soon(check.run)
    for name, check in checks:
        _summarise(report, name, check.findings)


def _summarise(report: Report, name: str, findings: list[Finding]) -> None:
    """One line for what works, and one for each thing that does not."""
    for finding in findings:
        what = f"{name}: {finding.what}: {finding.text}"
        more = f"fingertrio irc-check --network {name} --raw FILE shows every line"
        if finding.level == "FAIL":
            report.problem(what, "the bot does not do there what is configured", finding.change or more)
        elif finding.level == "warn":
            report.warning(what, "people there may miss something", finding.change or more)
    works = [finding.what for finding in findings if finding.level == "ok"]
    if works:
        report.ok(f"{name}: {', '.join(dict.fromkeys(works))}")


def _skip(place: Installation) -> str:
    return "" if place.section("irc", IrcSection) is not None else "there is no section [irc]"


CHECK = Check("irc", "Whether the IRC bot can connect and log in", look_at_networks, _skip, limit=DEADLINE + 5)
