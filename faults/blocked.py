"""Sixty backend calls that block in threads, more than trio has threads, while others query."""

from __future__ import annotations

import statistics

import trio

from faults.backends import BLOCKED, NAME
from faults.clients import dial, reset
from faults.prober import Probe
from faults.program import STATUS, USER, AttackedProgram, running, sections
from faults.scenario import Findings, Scale, Scenario, until
from faults.watch import finger_probe, http_probe, watching

_CALLS = 60
_RATIO = 3.0

# Below this, a p99 measures the machine and not the program: one time slice of the kernel's scheduler.
_FLOOR = 0.004  # seconds


async def _p99(probes: list[Probe], seconds: float, findings: Findings) -> dict[str, float]:
    async with watching(probes) as watch:
        await trio.sleep(seconds)
    for name, result in watch.results.items():
        findings.require(result.losses == 0, f"{name} lost {result.losses} of {result.asked}: {result.lost}")
    return {name: result.p99 for name, result in watch.results.items()}


async def _blocked(program: AttackedProgram) -> int:
    """How many calls are blocked."""
    return int((await program.metrics()).get('fingertrio_connections{door="finger"}', 0))


async def run(scale: Scale, findings: Findings) -> None:
    """Alternate rounds without and with blocked calls, so that other load on the machine affects both."""
    rounds, seconds = scale.of((4, 3.0), (1, 0.7))
    findings.done = f"{_CALLS} queries whose calls block in threads; {rounds} rounds without and with them"
    blocks = seconds + 10  # the start of the probes, and reserve for a busy machine
    table = sections(
        backend={"use": NAME, "users": {USER: STATUS, "ada": "Weaving"}, "blocks": blocks},
        service={"deadline": blocks + 1, "grace": 0.1, "cache_ttl": 0.0},  # every query reaches the backend
    )
    free: dict[str, list[float]] = {}
    loaded: dict[str, list[float]] = {}
    with running(table) as program:
        probes = [
            finger_probe(program, rate=250),
            http_probe(program, rate=50),
            _style_probe(program),
        ]
        for turn in range(rounds):
            for name, figure in (await _p99(probes, seconds, findings)).items():
                free.setdefault(name, []).append(figure)
            streams = []
            for number in range(_CALLS):
                streams.append(stream := await dial(program.port("finger")))
                await stream.send_all(f"{BLOCKED}{number}\r\n".encode())

            async def all_blocked() -> bool:
                return await _blocked(program) >= _CALLS

            async def none_blocked() -> bool:
                return not await _blocked(program)

            findings.require(await until(all_blocked, 10), "not all calls blocked")
            for name, figure in (await _p99(probes, seconds, findings)).items():
                loaded.setdefault(name, []).append(figure)
            findings.require(await all_blocked(), "not all calls were blocked until the end of a round")
            for stream in streams:
                await reset(stream)
            if turn < rounds - 1:
                findings.require(await until(none_blocked, 30), "the calls stay blocked")
        await program.examine(findings)
    for name, figures in free.items():
        without, meanwhile = statistics.median(figures), statistics.median(loaded[name])
        ratio = meanwhile / without
        findings.figure(
            f"{name}: p99 {without * 1000:.1f} ms without, {meanwhile * 1000:.1f} ms with them ({ratio:.1f} times)"
        )
        allowed = max(without * _RATIO, scale.of(_FLOOR, 0.7 * blocks))
        findings.require(meanwhile <= allowed, f"{name}: the p99 is {ratio:.1f} times as long with blocked calls")


def _style_probe(program: AttackedProgram) -> Probe:
    send = "GET /-/style.css HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
    return Probe(name="style sheet", port=program.port("http"), send=send, expect="text/css", exact=False, rate=25)


SCENARIO = Scenario("blocked", "60 backend calls blocked in threads", run, limit=90)
