"""Thousands of connections that send nothing, while honest clients want answers."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from faults.clients import BIND_ADDRESS_NO_PORT, addresses, request
from faults.program import USER, AttackedProgram, running, sections
from faults.scenario import Findings, Scale, Scenario
from faults.watch import finger_probe, http_probe, setter_probe, watching
from fingertrio.testing.measure import raise_file_limit

# All connections must be open before the first one is cut off: an unfinished query, after ten seconds.
_PER_SECOND = 5000
_SECONDS = 3.0
_DESCRIPTORS = 11_500  # for all of them in one process, with some to spare
_SOURCES = 256

_KEPT_ALIVE = request(f"/api/users/{USER}", "Connection: keep-alive")


class _Held:
    """Connections that were opened and then left alone."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def still_open(self) -> int:
        """How many connections the server has neither closed nor answered."""
        return sum(_is_silent(sock) for sock in self.sockets)


def _is_silent(sock: socket.socket) -> bool:
    try:
        sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@asynccontextmanager
async def _held(port: int, count: int, prefix: bytes) -> AsyncIterator[_Held]:
    """`count` connections from several addresses, all with `prefix` already sent."""
    held = _Held()
    try:
        began = trio.current_time()
        for number, source in zip(range(count), addresses(_SOURCES), strict=False):
            held.sockets.append(sock := socket.socket())
            sock.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
            sock.connect(("127.0.0.1", port))
            sock.sendall(prefix)
            await trio.sleep_until(began + number / _PER_SECOND)
        yield held
    finally:
        for sock in held.sockets:
            sock.close()


async def attack(program: AttackedProgram, scale: Scale, findings: Findings) -> None:
    """Hold the connections open, and ask."""
    finger, http = scale.of((5000, 500), (200, 20))
    findings.done = (
        f"{finger} silent connections and {finger} that sent a byte on the finger port, "
        f"{http} silent and {http} kept alive on the HTTP port"
    )
    before = program.megabytes
    async with AsyncExitStack() as stack:
        silent, kept, begun, mute = [
            await stack.enter_async_context(_held(program.port(door), count, prefix))
            for door, count, prefix in (
                ("http", http, b""),
                ("http", http, _KEPT_ALIVE),
                ("finger", finger, b"m"),
                ("finger", finger, b""),
            )
        ]
        probes = [finger_probe(program, rate=200), setter_probe(program), http_probe(program, rate=50)]
        async with watching(probes) as watch:
            await trio.sleep(scale.of(_SECONDS, 0.5))
        memory = program.megabytes - before
        still_open = silent.still_open() + begun.still_open() + mute.still_open()
        established = sum(len(each.sockets) for each in (silent, kept, begun, mute))
    # The kept-alive connections hold an unread answer, so nothing can be said about them.
    findings.figure(
        f"{established} established; of {established - http} that never asked, {still_open} open to the end"
    )
    findings.figure(f"{memory:.0f} MB for them")
    watch.report(findings)
    await program.examine(findings)


async def run(scale: Scale, findings: Findings) -> None:
    """On a program that keeps idle HTTP connections for a minute, with enough descriptors."""
    allowed = raise_file_limit(_DESCRIPTORS)
    findings.require(allowed >= _DESCRIPTORS, f"a process may open {allowed} files here, not {_DESCRIPTORS}")
    with running(sections(http={"keep_alive": 60.0})) as program:
        await attack(program, scale, findings)


SCENARIO = Scenario("crowd", "10,000 idle connections on finger, 1,000 on HTTP", run, limit=90)
