"""How HTTP connections of honest clients end: each in its own way, and none leaves a socket open."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable

import trio

from faults.clients import dial, exchange, read_all, request
from faults.program import STATUS, USER, AttackedProgram, running, sections
from faults.scenario import Findings, Scale, Scenario

KEEP_ALIVE = 1.0  # seconds; configured, because the default takes longer
_LATE = 0.5  # seconds by which a close may be late
_LINGER = 3.0  # seconds: `net.linger` keeps a socket for 2.1 s at most
_PATIENCE = 10.0
_EXIT = 1.0  # seconds for an exit

PATH = f"/api/users/{USER}"


async def _until_closed(stream: trio.SocketStream) -> float:
    """Read an answer; the seconds from then until the server closes."""
    answer = b""
    with trio.fail_after(_PATIENCE):
        while STATUS.encode() not in answer:
            if not (chunk := await stream.receive_some()):
                raise ValueError(f"answered {answer[:100]!r}")
            answer += chunk
        began = time.monotonic()
        await read_all(stream)
    return time.monotonic() - began


async def _closed_first(port: int, data: bytes) -> float:
    """A request after which the server closes first."""
    async with await dial(port) as stream:
        await stream.send_all(data)
        return await _until_closed(stream)


async def _half_closed(port: int) -> float:
    """The client ends its input after its request."""
    async with await dial(port) as stream:
        await stream.send_all(request(PATH, "Connection: keep-alive"))
        await stream.send_eof()
        return await _until_closed(stream)


async def _kept_alive(port: int) -> float:
    """Two requests over one connection, then silence."""
    asked = request(PATH, "Connection: keep-alive")
    async with await dial(port) as stream:
        await stream.send_all(asked + asked)
        answer = b""
        with trio.fail_after(_PATIENCE):
            while answer.count(STATUS.encode()) < 2:
                answer += await stream.receive_some()
            began = time.monotonic()
            await read_all(stream)
    return time.monotonic() - began


async def _unfinished(port: int) -> float:
    """Half a request, then silence."""
    began = time.monotonic()
    await exchange(port, request(PATH)[:20], within=_PATIENCE)
    return time.monotonic() - began


# What a client does, and the seconds until the server closes, from the answer; without one, from the start.
_WAYS: dict[str, tuple[Callable[[int], Awaitable[float]], float]] = {
    "Connection: close": (lambda port: _closed_first(port, request(PATH)), 0.0),
    "HTTP/1.0": (lambda port: _closed_first(port, request(PATH, version="1.0")), 0.0),
    "half-closed": (_half_closed, 0.0),
    "kept alive": (_kept_alive, KEEP_ALIVE),
    "unfinished": (_unfinished, KEEP_ALIVE),
}


async def attack(program: AttackedProgram, scale: Scale, findings: Findings) -> None:
    """Every way, many clients at once. The program must have been configured with KEEP_ALIVE."""
    count = scale.of(50, 10)
    late = _LATE + scale.slack
    findings.done = f"{count} clients each, all at once: {', '.join(_WAYS)}"
    took: defaultdict[str, list[float]] = defaultdict(list)
    failed: defaultdict[str, list[str]] = defaultdict(list)

    async def one(name: str, way: Callable[[int], Awaitable[float]]) -> None:
        try:
            took[name].append(await way(program.port("http")))
        except (ValueError, OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
            failed[name].append(repr(error))

    async with trio.open_nursery() as nursery:
        for name, (way, _) in _WAYS.items():
            for _ in range(count):
                nursery.start_soon(one, name, way)
    for name, (_, expected) in _WAYS.items():
        findings.require(not failed[name], f"{name}: {len(failed[name])} failed, the first: {failed[name][:1]}")
        if seconds := took[name]:
            findings.figure(f"{name}: closed after {statistics.median(seconds):.2f} s (at most {max(seconds):.2f})")
            # Half: a client that sees its answer late measures too little.
            in_time = expected / 2 <= min(seconds) and max(seconds) <= expected + late
            findings.require(in_time, f"{name}: closed after {min(seconds):.2f} to {max(seconds):.2f} s")
    left = await program.left(_LINGER)
    findings.figure(f"{max(left, 0)} sockets left")
    findings.require(left <= 0, f"{left} sockets are left")
    await program.examine(findings)


async def run(scale: Scale, findings: Findings) -> None:
    """Then an exit with idle clients that do not react."""
    idle = scale.of(200, 20)
    with running(sections(http={"keep_alive": KEEP_ALIVE})) as program:
        await attack(program, scale, findings)
    with running() as program:
        streams = [await dial(program.port("http")) for _ in range(idle)]
        for stream in streams:
            await stream.send_all(request(PATH, "Connection: keep-alive"))
            with trio.fail_after(5):
                await stream.receive_some()
        took = await program.end_soon(_EXIT + 5)
    findings.figure(f"exit with {idle} idle clients: {took:.2f} s")
    findings.require(took <= _EXIT + scale.slack, f"{idle} idle clients delayed the exit to {took:.2f} s")


SCENARIO = Scenario("endings", "Connection: close, HTTP/1.0, keep-alive, half-close", run, limit=60)
