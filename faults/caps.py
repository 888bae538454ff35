"""One address that opens more connections than it may, and another that queries."""

from __future__ import annotations

import time

import trio

from faults.clients import dial, exchange, request
from faults.program import STATUS, USER, AttackedProgram, running, sections
from faults.scenario import Findings, Scale, Scenario, until
from faults.watch import every_probe, watching
from fingertrio.frontends.finger.frontend import TOO_MANY as FINGER_REFUSAL
from fingertrio.frontends.setter.frontend import TOO_MANY as SETTER_REFUSAL

_GREEDY = "127.0.0.66"
_AT_ONCE = 1.0  # seconds until a refusal has arrived

# By door: what a connection sends in order to stay open, how a refusal begins, a complete query, and its end of input.
_DOORS = {
    "finger": (b"mos", FINGER_REFUSAL, f"{USER}\r\n".encode(), False),
    "setter": (b"mos", SETTER_REFUSAL, f"{USER}\r\n{STATUS}\r\n".encode(), True),
    "http": (b"GET / HT", b"HTTP/1.1 503 ", request(f"/api/users/{USER}"), False),
}


async def _refusal(stream: trio.SocketStream, seconds: float) -> bytes:
    answer = b""
    with trio.move_on_after(seconds):
        while chunk := await stream.receive_some():
            answer += chunk
    return answer


async def _fill(program: AttackedProgram, door: str, cap: int, extra: int, findings: Findings) -> float:
    """Open `cap` connections, then `extra` more; the seconds of the slowest refusal."""
    opening, refusal, query, end = _DOORS[door]
    held: list[trio.SocketStream] = []
    worst = 0.0
    refused = 0
    try:
        for _ in range(cap):
            held.append(stream := await dial(program.port(door), _GREEDY))
            await stream.send_all(opening)
        for _ in range(extra):
            began = time.monotonic()
            held.append(stream := await dial(program.port(door), _GREEDY))
            await stream.send_all(opening)
            refused += (await _refusal(stream, 5)).startswith(refusal)
            worst = max(worst, time.monotonic() - began)
        findings.require(refused == extra, f"{door}: {extra - refused} of {extra} excess connections were not refused")
        still_open = 0
        for stream in held[:cap]:
            with trio.move_on_after(0) as waiting:
                await stream.receive_some()
            still_open += waiting.cancelled_caught
        findings.require(still_open == cap, f"{door}: {cap - still_open} of the {cap} permitted ones were closed")
    finally:
        for stream in held:
            await trio.aclose_forcefully(stream)

    async def is_served() -> bool:
        return not (await exchange(program.port(door), query, end=end, source=_GREEDY)).startswith(refusal)

    findings.require(await until(is_served, 5), f"{door}: the address is still refused after it closed all connections")
    return worst


async def run(scale: Scale, findings: Findings) -> None:
    """One door after the other."""
    cap, extra = scale.of((256, 500), (20, 20))
    findings.done = (
        f"{cap} connections (the cap) and {extra} more from one address, on each door; another address queries"
    )
    capped = {"max_connections_per_address": cap}
    with running(sections(finger=capped, setter=capped, http=capped)) as program:
        async with watching(every_probe(program)) as watch:
            for door in _DOORS:
                worst = await _fill(program, door, cap, extra, findings)
                findings.figure(f"{door}: {extra} refused, the slowest in {worst * 1000:.0f} ms")
                findings.require(worst <= _AT_ONCE + scale.slack, f"{door}: a refusal took {worst:.2f} s")
        watch.report(findings)
        await program.examine(findings)


SCENARIO = Scenario("caps", "more connections than one address may have", run, limit=60)
