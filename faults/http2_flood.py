"""What HTTP/2 lets a client ask for without paying: requests that it takes back, answers that it has no room for."""

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

_SLOWEST = 0.25  # seconds for any answer at the other doors
_GROWTH = 50.0  # megabytes, at the peak
_GIVEN_UP = 31.0  # seconds until a client whose window stays shut is: thirty, and one to notice
_USERS = 10_000  # their list is half a megabyte


async def _goodbye(stream: trio.SocketStream) -> int | None:
    """The error code of the GOAWAY that comes before the end; None: it was another end."""
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
    """Ask and take it back at once, again and again."""
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
    findings.figure(f"rapid reset: {sent_away} of {count} sent away within {time.monotonic() - began:.2f} s")
    findings.require(sent_away == count, f"only {sent_away} of {count} floods ended with ENHANCE_YOUR_CALM")


async def _shut_windows(program: AttackedProgram, count: int, each: int, findings: Findings) -> None:
    """Ask for a long list on every stream, and give none of the answers room."""
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
        findings.figure(f"windows shut: {len(ends)} of {count} given up, the last after {latest:.1f} s")
        findings.require(len(ends) == count, f"only {len(ends)} of {count} with shut windows were given up")
        findings.require(latest <= _GIVEN_UP, f"one with shut windows was kept for {latest:.1f} s")


def _judge(watch: Watch, grown: float, scale: Scale, findings: Findings) -> None:
    watch.report(findings)
    findings.figure(f"memory +{grown:.1f} MB at the peak")
    findings.require(
        watch.worst <= _SLOWEST + scale.slack, f"an answer at another door took {watch.worst * 1000:.0f} ms"
    )
    findings.require(grown <= _GROWTH, f"memory grew by {grown:.1f} MB")


async def run(scale: Scale, findings: Findings) -> None:
    """On a program with a long list. The short form does not wait for shut windows to be given up: a test does."""
    floods, resets = scale.of((50, 10_000), (8, 2_000))
    shut, streams = scale.of((16, 32), (0, 0))
    findings.done = f"{floods} connections that ask and take it back {resets:,} times" + (
        f"; {shut} that ask for {streams} lists of {_USERS:,} users and open no window" if shut else ""
    )
    users = {f"u{number:05}": "here" for number in range(_USERS if shut else 10)}
    with running(sections(backend={"use": "memory", "users": {**users, USER: STATUS, "ada": "Weaving"}})) as program:
        await program.examine(findings)  # so that what every door takes at first is in memory
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
        findings.require(not failed, f"{failed} connections failed where they should have been refused")
        await program.examine(findings)


SCENARIO = Scenario("http2-flood", "HTTP/2: rapid reset, and windows that stay shut", run, limit=120)
