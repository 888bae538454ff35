"""Thousands of HTTP/1 requests in one moment, and HTTP/2 connections whose frames do nothing, beside honest clients."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import trio
from hyperframe.frame import DataFrame, PriorityFrame, WindowUpdateFrame

from faults.clients import BIND_ADDRESS_NO_PORT, addresses, dial, read_all, request
from faults.http2 import START, headers
from faults.program import STATUS, USER, AttackedProgram, running, sections
from faults.scenario import Findings, Scale, Scenario
from faults.watch import finger_probe, setter_probe, watching
from fingertrio.testing.measure import raise_file_limit

_SLOWEST = 0.25  # seconds for any answer of another door
_PATIENCE = 30.0
_SOURCES = 64  # addresses that the requests come from
_FLOOD = 5.0  # seconds for which the frames are sent
_CPU = 0.3  # of a core, while connections that send frames are disconnected one after the other
_DESCRIPTORS = 4000

# What an HTTP/2 client may send for ever without a request.
_FRAMES = {
    "empty DATA": DataFrame(1).serialize(),
    "WINDOW_UPDATE": WindowUpdateFrame(0, window_increment=1).serialize(),
    "PRIORITY": PriorityFrame(3).serialize(),
    "unknown": b"\0\0\0\x20\0\0\0\0\1",
}


async def _burst(program: AttackedProgram, count: int, findings: Findings) -> None:
    """Connect first, then send all requests as fast as the kernel takes them, then read the answers."""
    asked = request(f"/api/users/{USER}")
    sockets: list[socket.socket] = []
    for _, source in zip(range(count), addresses(_SOURCES), strict=False):
        sockets.append(sock := socket.socket())
        sock.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", program.port("http")))
    began = time.monotonic()
    for sock in sockets:
        sock.sendall(asked)
    answered = 0

    async def read(sock: socket.socket) -> None:
        nonlocal answered
        sock.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        answer = b""
        with suppress(trio.BrokenResourceError):
            while chunk := await stream.receive_some():
                answer += chunk
        answered += STATUS.encode() in answer
        await stream.aclose()

    with trio.move_on_after(_PATIENCE):
        async with trio.open_nursery() as nursery:
            for sock in sockets:
                nursery.start_soon(read, sock)
    findings.figure(f"{answered} of {count} requests at once answered within {time.monotonic() - began:.1f} s")
    findings.require(answered == count, f"{count - answered} of {count} requests at once were not answered")


async def _flood(program: AttackedProgram, kind: str, seconds: float, findings: Findings) -> None:
    """One connection that sends frames without end; what it costs the server."""
    stream = await dial(program.port("http"))
    before, began = _cpu(program), time.monotonic()

    async def send() -> None:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(START + headers(method=b"POST", path=b"/RPC2", end=False))
            while True:
                await stream.send_all(_FRAMES[kind] * 100)

    with suppress(trio.BrokenResourceError), trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await read_all(stream)  # until the server closes
            nursery.cancel_scope.cancel()
    took = time.monotonic() - began
    await trio.sleep(seconds - took)
    used = (_cpu(program) - before) / seconds
    await trio.aclose_forcefully(stream)
    findings.figure(f"{kind}: disconnected after {took:.2f} s, {used:.0%} of a core")
    findings.require(took < seconds, f"{kind}: still connected after {took:.1f} s")
    findings.require(used <= _CPU, f"{kind}: {used:.0%} of a core")


def _cpu(program: AttackedProgram) -> float:
    """Seconds of CPU time that the program has used."""
    fields = Path(f"/proc/{program.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def run(scale: Scale, findings: Findings) -> None:
    """First the burst, then each kind of frame."""
    count, seconds = scale.of(3000, 100), scale.of(_FLOOD, 0.5)
    findings.done = f"{count} HTTP/1 requests at once; an HTTP/2 connection each of {', '.join(_FRAMES)} without end"
    raise_file_limit(_DESCRIPTORS)
    with running(sections(http={"max_connections_per_address": 1000})) as program:
        await program.examine(findings)
        async with watching([finger_probe(program, rate=200), setter_probe(program)]) as watch:
            await _burst(program, count, findings)
            for kind in _FRAMES:
                await _flood(program, kind, seconds, findings)
        watch.report(findings)
        findings.require(watch.worst <= _SLOWEST + scale.slack, f"another door took {watch.worst * 1000:.0f} ms")
        await program.examine(findings)


SCENARIO = Scenario("http-burst", "3,000 HTTP/1 requests at once; HTTP/2 frames that do nothing", run, limit=120)
