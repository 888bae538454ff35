"""Thousands of connections on which nobody says anything, while others want answers."""

from __future__ import annotations

import trio

from benchmarks.generator import Load, load_generator
from benchmarks.harness import Cores, raise_file_limit
from faults.clients import request
from faults.program import USER, Program, running, sections
from faults.scenario import Findings, Scale, Scenario
from faults.watch import finger_probe, http_probe, setter_probe, watching

# All must be there before the first of them is cut off: who does not finish a query, after ten seconds.
_PER_SECOND = 5000
_SECONDS = 3.0
_DESCRIPTORS = 11_500  # all of them, and what a process has open besides

_KEPT_ALIVE = request(f"/api/users/{USER}", "Connection: keep-alive")


async def attack(program: Program, scale: Scale, findings: Findings) -> None:
    """Hold them all, and ask."""
    load = Load(load_generator(), Cores.choose())
    finger, http = scale.of((5000, 500), (200, 20))
    findings.done = (
        f"{finger} silent connections and {finger} that sent a byte on the finger port, "
        f"{http} silent and {http} kept alive on the HTTP port"
    )
    before = program.megabytes
    with (
        load.hold(program, door="http", count=http, per_second=_PER_SECOND, prefix=b"") as silent,
        load.hold(program, door="http", count=http, per_second=_PER_SECOND, prefix=_KEPT_ALIVE) as kept,
        load.hold(program, door="finger", count=finger, per_second=_PER_SECOND, prefix=b"m") as begun,
        load.hold(program, door="finger", count=finger, per_second=_PER_SECOND, prefix=b"") as mute,
    ):
        probes = [finger_probe(program, rate=200), setter_probe(program), http_probe(program, rate=50)]
        async with watching(probes) as watch:
            await trio.sleep(scale.of(_SECONDS, 0.5))
        memory = program.megabytes - before
    established = sum(each.established for each in (silent, kept, begun, mute))
    still_open = silent.still_open + begun.still_open + mute.still_open
    wanted = 2 * finger + 2 * http
    findings.require(established == wanted, f"only {established} of {wanted} connections could be made")
    # Those who were kept alive have not looked at their answers, which is why the holder cannot tell.
    findings.figure(f"{established} established; of {wanted - http} that never asked, {still_open} open to the end")
    findings.figure(f"{memory:.0f} MB for them")
    watch.report(findings)
    await program.examine(findings)


async def run(scale: Scale, findings: Findings) -> None:
    """On a program that keeps idle HTTP connections for a minute, and that is allowed the descriptors."""
    allowed = raise_file_limit(_DESCRIPTORS)
    findings.require(allowed >= _DESCRIPTORS, f"a process may have {allowed} descriptors here, not {_DESCRIPTORS}")
    with running(sections(http={"keep_alive": 60.0})) as program:
        await attack(program, scale, findings)


SCENARIO = Scenario("crowd", "10,000 idle connections on finger, 1,000 on HTTP", run, limit=90)
