"""Clients that reset their connection, at every stage of an exchange with each door."""

from __future__ import annotations

import time
from collections.abc import Mapping

import trio

from faults.backends import HUGE, NAME
from faults.clients import addresses, dial, request, reset, websocket
from faults.http2 import http2_request
from faults.program import STATUS, USER, AttackedProgram, running, sections
from faults.scenario import Findings, Scale, Scenario

_HUGE = 3 * 1024 * 1024  # bytes: more than Linux buffers for a client that reads nothing
_LONG = 200_000  # bytes: more than the initial window of an HTTP/2 client
_AT_ONCE = 32
_CLOSED = 15.0  # seconds until the last socket of a stage is closed: TCP_DEFER_ACCEPT holds a silent one for ten
_SOURCES = 16

# Megabytes by which one half of a stage's resets may let the program grow, in every repetition. A leak of a kilobyte
# for each connection is 0.5 MB.
_LEAK = 0.4

# A half that grew is repeated up to this often. What a program needs depends on how many connections happen to be open
# at once, so its memory still grows now and then, by megabytes; but a leak grows it every time.
_REPEATS = 12


class _Stage:
    """What a client does before its reset.

    Attributes:
        data: what it sends.
        end: it ends its input.
        read: how much it reads: nothing, the begin of the answer, or up to its end.
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
        "asked for an uncached user": _Stage(b"nobody\r\n"),
        "during a long answer": _Stage(f"{HUGE}\r\n".encode(), read="begin"),
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
        "during a body": _Stage(request("/RPC2", "Content-Length: 1000", method="POST") + b"<?xml"),
        "asked": _Stage(_KEPT),
        "during a long answer": _Stage(request(f"/api/users/{HUGE}"), read="begin"),
        "kept alive": _Stage(_KEPT, read="begin"),
        "watching": _Stage(websocket(), read="begin"),
        "watching, during a long message": _Stage(websocket("/api/watch?user=long&snapshot=1"), read="begin"),
        "HTTP/2 asked": _Stage(http2_request("/moshez")),
        "HTTP/2 during a long answer": _Stage(http2_request("/api/users/long"), read="begin"),
    },
}


async def _reset_once(port: int, stage: _Stage, source: str) -> None:
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


async def _reset_often(port: int, stage: _Stage, count: int) -> None:
    free = trio.CapacityLimiter(_AT_ONCE)

    async def one(source: str) -> None:
        async with free:
            with trio.fail_after(30):
                await _reset_once(port, stage, source)

    async with trio.open_nursery() as nursery:
        for _, source in zip(range(count), addresses(_SOURCES), strict=False):
            nursery.start_soon(one, source)


async def attack(program: AttackedProgram, scale: Scale, findings: Findings) -> None:
    """Every stage on every door, in two halves: the second half can reuse the memory of the first."""
    half = scale.of(500, 8)
    number = sum(map(len, STAGES.values()))
    findings.done = f"{2 * half} connections reset at each of {number} stages ({', '.join(STAGES)})"
    await program.left(_CLOSED)  # the memory of an earlier attack's connections would be in the figures
    began = time.monotonic()
    grown = 0.0
    repeats = 0
    for door, stages in STAGES.items():
        for name, stage in stages.items():
            await _reset_often(program.port(door), stage, half)
            await program.left(_CLOSED)
            growths: list[float] = []
            while not growths or (min(growths) > _LEAK and len(growths) < _REPEATS):
                before = program.megabytes
                await _reset_often(program.port(door), stage, half)
                await program.left(_CLOSED)
                growths.append(program.megabytes - before)
            repeats += len(growths)
            leak = min(growths)
            findings.require(leak <= _LEAK, f"{door}, {name}: each of {len(growths)} halves left {leak:.1f} MB or more")
            grown += max(leak, 0.0)
    left = await program.left(0)
    took = time.monotonic() - began
    count = (number + repeats) * half
    findings.figure(f"{count} resets in {took:.0f} s, {left:+d} descriptors, {grown:+.1f} MB")
    findings.require(left <= 0, f"{left} descriptors are left")
    failures = {event: n for event, n in program.events().items() if event.endswith("_failed")}
    findings.require(not failures, f"the log reports {failures}")
    await program.examine(findings)


# A backend with long answers.
BACKEND = {"use": NAME, "users": {USER: STATUS, "ada": "Weaving", "long": "x" * _LONG}, "huge": _HUGE}

# Large buffers go back to the kernel when they are freed. Otherwise the allocator keeps up to a hundred megabytes of
# them, which looks like a leak. (See mallopt(3); without a setting, glibc raises this threshold by itself.)
ENVIRON = {"MALLOC_MMAP_THRESHOLD_": "131072"}


async def run(scale: Scale, findings: Findings) -> None:
    """With a backend that has long answers."""
    with running(sections(backend=BACKEND), environ=ENVIRON) as program:
        await attack(program, scale, findings)


SCENARIO = Scenario("resets", "connections reset at every stage on each port", run, limit=400)
