"""Restarts under load, with sockets kept by the service manager: clients wait, and none is refused."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack

import trio

from faults.clients import request
from faults.prober import Probe
from faults.program import STATUS, USER, AttackedProgram, running, sections
from faults.scenario import Findings, Scale, Scenario
from faults.watch import watching

# What systemd does between fork and exec (sd_listen_fds(3)): descriptors from 3 on, and the process id.
_AS_SYSTEMD = """
import fcntl, os, sys
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1].split(",")]
for place, number in enumerate(high, 3):
    os.dup2(number, place)
    os.close(number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "fingertrio", *sys.argv[2:]])
"""

_DOORS = ("finger", "setter", "http")
_UP = 1.0  # seconds between a start and the next stop
_EXIT = 10.0


def started(kept: Mapping[str, socket.socket]) -> AbstractContextManager[AttackedProgram]:
    """The program with these sockets, by door, passed as systemd does. It has no other doors."""
    numbers = [sock.fileno() for sock in kept.values()]
    return running(
        sections(**{door: {"listen": []} if door in kept else None for door in (*_DOORS, "admin")}),
        environ={"LISTEN_FDS": str(len(kept)), "LISTEN_FDNAMES": ":".join(kept)},
        command=(sys.executable, "-c", _AS_SYSTEMD, ",".join(map(str, numbers))),
        pass_fds=numbers,
    )


def _probes(kept: Mapping[str, socket.socket], rate: float) -> list[Probe]:
    ports = {door: sock.getsockname()[1] for door, sock in kept.items()}
    ask, path = request(f"/api/users/{USER}").decode(), "ada\r\nWeaving\r\n"
    return [
        Probe(name="finger", port=ports["finger"], send=f"{USER}\r\n", expect=f"{STATUS}\r\n", rate=rate * 0.6),
        Probe(name="HTTP", port=ports["http"], send=ask, expect=STATUS, exact=False, rate=rate * 0.3),
        Probe(name="setter", port=ports["setter"], send=path, expect="OK\r\n", end=True, rate=rate * 0.1),
    ]


async def run(scale: Scale, findings: Findings) -> None:
    """Stop and start the program repeatedly."""
    times, rate = scale.of((10, 200.0), (1, 100.0))
    findings.done = f"{times} restarts at {rate:.0f} requests a second, to sockets that the service manager keeps"
    stops: list[float] = []
    starts: list[float] = []
    with ExitStack() as stack:
        kept = {door: stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096)) for door in _DOORS}
        running_one = stack.enter_context(ExitStack())
        program = running_one.enter_context(started(kept))
        async with watching(_probes(kept, rate)) as watch:
            for _ in range(times):
                await trio.sleep(scale.of(_UP, 0.3))
                stops.append(await program.end_soon(_EXIT))
                running_one.close()
                began = time.monotonic()
                program = running_one.enter_context(started(kept))
                starts.append(time.monotonic() - began)
            await trio.sleep(scale.of(_UP, 0.3))
        watch.report(findings)
        findings.figure(f"a stop takes up to {max(stops):.2f} s, a start up to {max(starts):.2f} s")
        refused = sum(result.lost.get("refused", 0) for result in watch.results.values())
        findings.figure(f"{refused} refused")
        await program.examine(findings)


SCENARIO = Scenario("restart", "restart with sockets passed by the service manager", run, limit=120)
