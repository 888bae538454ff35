"""Attacks that cost an HTTP/2 client little: cancelled requests, and answers that its window has no room for."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, suppress

import trio
from h2.errors import ErrorCodes
from hyperframe.frame import Frame, GoAwayFrame, RstStreamFrame

from faults.clients import dial
from faults.http2 import START, Requests, start
from faults.program import STATUS, USER, AttackedProgram, running, sections
from faults.scenario import Findings, Scale, Scenario
from faults.watch import Watch, every_probe, watching

_SLOWEST = 0.25  # seconds for any answer to honest clients
_GROWTH = 50.0  # megabytes, at the peak
_GIVEN_UP = 31.0  # seconds until the server disconnects a client with a closed window: thirty, and one to notice
_USERS = 10_000  # their list is half a megabyte


async def _goodbye(stream: trio.SocketStream) -> int | None:
    """The error code of the last GOAWAY; None: the connection ended without one."""
    received = b""
    with suppress(trio.BrokenResourceError):
        while chunk := await stream.receive_some():
            received += chunk
    code = None
    while len(received) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(received[:9]))
        frame.parse_body(memoryview(received[9 : 9 + length]))
        received = received[9 + length :]
        if isinstance(frame, GoAwayFrame):
            code = frame.error_code
    return code


async def _rapid_reset(program: AttackedProgram, count: int, each: int, findings: Findings) -> None:
    """Send requests and cancel each at once."""
    requests = Requests()
    attack = START + b"".join(
        requests.get(stream, f"/api/users/{USER}") + RstStreamFrame(stream, error_code=ErrorCodes.CANCEL).serialize()
        for stream in range(1, 2 * each, 2)
    )
    sent_away = 0

    async def one() -> None:
        nonlocal sent_away
        async with await dial(program.port("http")) as stream, trio.open_nursery() as nursery:

            async def talk() -> None:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(attack)

            nursery.start_soon(talk)
            if await _goodbye(stream) == ErrorCodes.ENHANCE_YOUR_CALM:
                sent_away += 1

    began = time.monotonic()
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    findings.figure(f"rapid reset: {sent_away} of {count} disconnected within {time.monotonic() - began:.2f} s")
    findings.require(sent_away == count, f"only {sent_away} of {count} floods ended with ENHANCE_YOUR_CALM")


async def _shut_windows(program: AttackedProgram, count: int, each: int, findings: Findings) -> None:
    """Request a long list on every stream, and open no window for the answers."""
    async with AsyncExitStack() as stack:
        requests = Requests()
        asked = [requests.get(stream, "/api/users") for stream in range(1, 2 * each, 2)]
        attack = start(INITIAL_WINDOW_SIZE=0) + b"".join(asked)
        began = time.monotonic()
        streams = [await stack.enter_async_context(await dial(program.port("http"))) for _ in range(count)]
        for stream in streams:
            await stream.send_all(attack)
        ends: list[float] = []

        async def see(stream: trio.SocketStream) -> None:
            if await _goodbye(stream) == ErrorCodes.ENHANCE_YOUR_CALM:
                ends.append(time.monotonic() - began)

        with trio.move_on_after(_GIVEN_UP + 5):
            async with trio.open_nursery() as nursery:
                for stream in streams:
                    nursery.start_soon(see, stream)
        latest = max(ends, default=0.0)
        findings.figure(f"closed windows: {len(ends)} of {count} disconnected, the last after {latest:.1f} s")
        findings.require(len(ends) == count, f"only {len(ends)} of {count} with closed windows were disconnected")
        findings.require(latest <= _GIVEN_UP, f"one with closed windows was kept for {latest:.1f} s")


def _judge(watch: Watch, grown: float, scale: Scale, findings: Findings) -> None:
    watch.report(findings)
    findings.figure(f"memory +{grown:.1f} MB at the peak")
    findings.require(watch.worst <= _SLOWEST + scale.slack, f"an honest client waited {watch.worst * 1000:.0f} ms")
    findings.require(grown <= _GROWTH, f"memory grew by {grown:.1f} MB")


async def run(scale: Scale, findings: Findings) -> None:
    """With a long list of users. The short form leaves out closed windows: tests/http has them under a mock clock."""
    floods, resets = scale.of((50, 10_000), (8, 2_000))
    shut, streams = scale.of((16, 32), (0, 0))
    findings.done = f"{floods} connections that send and cancel {resets:,} requests" + (
        f"; {shut} that request {streams} lists of {_USERS:,} users and open no window" if shut else ""
    )
    users = {f"u{number:05}": "here" for number in range(_USERS if shut else 10)}
    with running(sections(backend={"use": "memory", "users": {**users, USER: STATUS, "ada": "Weaving"}})) as program:
        await program.examine(findings)  # so that first-use memory of every door is not counted
        program.forget_peak()
        before = program.megabytes
        async with watching(every_probe(program)) as watch:
            await _rapid_reset(program, floods, resets, findings)
            if shut:
                await _shut_windows(program, shut, streams, findings)
        _judge(watch, program.peak_megabytes - before, scale, findings)
        metrics = await program.metrics()
        flood = metrics.get('fingertrio_refusals_total{door="http",reason="flood"}', 0.0)
        findings.require(flood == floods, f"{flood:.0f} refusals counted as flood")
        failed = program.events()["http_connection_failed"]
        findings.require(not failed, f"{failed} connections failed instead of being refused")
        await program.examine(findings)


SCENARIO = Scenario("http2-flood", "HTTP/2: rapid reset, and closed windows", run, limit=120)
