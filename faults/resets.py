"""Clients that vanish, at every stage of a conversation with each door."""

from __future__ import annotations

import time
from collections.abc import Mapping

import trio

from faults.backends import HUGE
from faults.clients import addresses, dial, request, reset, websocket
from faults.http2 import http2_request
from faults.program import STATUS, USER, AttackedProgram, running, sections
from faults.scenario import Findings, Scale, Scenario

_HUGE = 3 * 1024 * 1024  # bytes: more than Linux takes for a client that reads nothing
_LONG = 200_000  # bytes: more than an HTTP/2 client lets anybody send unasked
_AT_ONCE = 32
_CLOSED = 15.0  # seconds until the last socket of a stage is gone: a silent one is handed over after ten
_SOURCES = 16

# Megabytes by which the second half of the resets may let the program grow, all stages together.
_LEAK = 8.0

# A stage whose second half grew is repeated up to so often: how much a few clients take at once is chance, but what
# leaks does so every time.
_REPEATS = 3
_CHANCE = 0.4  # megabytes a stage


class _Stage:
    """What a client does before it vanishes.

    Attributes:
        data: what it sends.
        end: it ends its input.
        read: how much it reads: nothing, until the answer has begun, or to the end of the answer.
    """

    def __init__(self, data: bytes, *, end: bool = False, read: str = "nothing") -> None:
        self.data = data
        self.end = end
        self.read = read


_KEPT = request(f"/api/users/{USER}", "Connection: keep-alive")
_SET = f"{USER}\r\n{STATUS}\r\n".encode()

STAGES: Mapping[str, Mapping[str, _Stage]] = {
    "finger": {
        "connected": _Stage(b""),
        "half a query": _Stage(b"mos"),
        "asked": _Stage(b"moshez\r\n"),
        "asked for what is not in memory": _Stage(b"nobody\r\n"),
        "amid a long answer": _Stage(f"{HUGE}\r\n".encode(), read="begin"),
        "answered": _Stage(b"moshez\r\n", read="end"),
    },
    "setter": {
        "connected": _Stage(b""),
        "half a request": _Stage(_SET[:10]),
        "both lines": _Stage(_SET),
        "asked": _Stage(_SET, end=True),
        "answered": _Stage(_SET, end=True, read="end"),
    },
    "http": {
        "connected": _Stage(b""),
        "half a head": _Stage(_KEPT[:20]),
        "amid a body": _Stage(request("/RPC2", "Content-Length: 1000", method="POST") + b"<?xml"),
        "asked": _Stage(_KEPT),
        "amid a long answer": _Stage(request(f"/api/users/{HUGE}"), read="begin"),
        "kept alive": _Stage(_KEPT, read="begin"),
        "watching": _Stage(websocket(), read="begin"),
        "watching, amid a long message": _Stage(websocket("/api/watch?user=long&snapshot=1"), read="begin"),
        "HTTP/2 asked": _Stage(http2_request("/moshez")),
        "HTTP/2 amid a long answer": _Stage(http2_request("/api/users/long"), read="begin"),
    },
}


async def _vanish(port: int, stage: _Stage, source: str) -> None:
    stream = await dial(port, source, window=4096)
    try:
        if stage.data:
            await stream.send_all(stage.data)
        if stage.end:
            await stream.send_eof()
        if stage.read == "begin":
            await stream.receive_some()
        while stage.read == "end" and await stream.receive_some():
            pass
    finally:
        await reset(stream)


async def _vanish_often(port: int, stage: _Stage, count: int) -> None:
    free = trio.CapacityLimiter(_AT_ONCE)

    async def one(source: str) -> None:
        async with free:
            with trio.fail_after(30):
                await _vanish(port, stage, source)

    async with trio.open_nursery() as nursery:
        for _, source in zip(range(count), addresses(_SOURCES), strict=False):
            nursery.start_soon(one, source)


async def attack(program: AttackedProgram, scale: Scale, findings: Findings) -> None:
    """Every stage on every door, in two halves: what the first one has taken, the second one can use."""
    half = scale.of(500, 8)
    number = sum(map(len, STAGES.values()))
    findings.done = f"{2 * half} connections reset at each of {number} stages ({', '.join(STAGES)})"
    descriptors, began = program.descriptors, time.monotonic()
    grown = 0.0
    for door, stages in STAGES.items():
        for stage in stages.values():
            await _vanish_often(program.port(door), stage, half)
            await program.back_to(descriptors, _CLOSED)
            growths: list[float] = []
            while not growths or (min(growths) > _CHANCE and len(growths) < _REPEATS):
                before = program.megabytes
                await _vanish_often(program.port(door), stage, half)
                await program.back_to(descriptors, _CLOSED)
                growths.append(program.megabytes - before)
            grown += min(growths)
    left = program.descriptors - descriptors
    took = time.monotonic() - began
    findings.figure(f"{number * half * 2} resets in {took:.0f} s, {left:+d} descriptors, {grown:+.1f} MB")
    findings.require(left <= 0, f"{left} descriptors are left")
    findings.require(grown <= _LEAK, f"{grown:.1f} MB are left")
    failures = {event: n for event, n in program.events().items() if event.endswith("_failed")}
    findings.require(not failures, f"the log says {failures}")
    await program.examine(findings)


# One whose answers may be long.
BACKEND = {"use": "faulty", "users": {USER: STATUS, "ada": "Weaving", "long": "x" * _LONG}, "huge": _HUGE}

# Large buffers go back to the kernel when they are freed: what the allocator keeps for the next ones, up to a hundred
# megabytes of them, is no leak, but looks like one. (See mallopt(3); glibc raises this bound by itself otherwise.)
ENVIRON = {"MALLOC_MMAP_THRESHOLD_": "131072"}


async def run(scale: Scale, findings: Findings) -> None:
    """With a backend of its own."""
    with running(sections(backend=BACKEND), environ=ENVIRON) as program:
        await attack(program, scale, findings)


SCENARIO = Scenario("resets", "connections reset at every stage on each port", run, limit=180)
