"""`accept` fails with an error that is no lack of resources: the door must wait, warn, and recover or fail in the end.

The fault is real. The sockets are passed by the service manager, which this scenario plays, so both processes hold the
same socket: shutting it down makes every `accept` in the program fail with EINVAL, and listening again ends that.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from datetime import datetime
from itertools import pairwise

import trio

from faults.clients import exchange, request
from faults.prober import Probe
from faults.program import STATUS, USER, AttackedProgram
from faults.restart import started
from faults.scenario import Findings, Scale, Scenario, ScenarioError, until
from faults.watch import watching
from fingertrio.testing.measure import cpu_seconds

_BACKLOG = 4096
_SHORT = 5.0  # seconds of failing: less than the ten after which the door fails
_BUSY = 0.2  # share of a core, mostly needed by the honest clients
_LINE = 0.95  # seconds between two log lines: one, less the rounding of the clocks
_RECOVERY = 1.0  # seconds
_GIVEN_UP = 20.0  # seconds until the door has failed


def _listener() -> socket.socket:
    """A listening socket that keeps its port when it is shut down: the kernel does that only for an explicit port."""
    for _ in range(10):
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        with suppress(OSError):
            return socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
    raise ScenarioError("no free port")


def _http_probe(port: int) -> Probe:
    send = request(f"/api/users/{USER}").decode()
    return Probe(name="HTTP", port=port, send=send, expect=STATUS, exact=False, rate=20)


async def _answers(port: int) -> bool:
    try:
        return STATUS.encode() in await exchange(port, f"{USER}\r\n".encode(), within=1.0)
    except (OSError, trio.BrokenResourceError, trio.TooSlowError):
        return False


async def _fail_for_a_while(
    program: AttackedProgram, listener: socket.socket, scale: Scale, findings: Findings
) -> None:
    """Failing and recovered: no CPU, few log lines, answers at once."""
    seconds = scale.of(_SHORT, 1.2)
    port = listener.getsockname()[1]
    cpu, began = cpu_seconds(program.pid), time.monotonic()
    listener.shutdown(socket.SHUT_RDWR)
    await trio.sleep(seconds)
    busy = (cpu_seconds(program.pid) - cpu) / (time.monotonic() - began)
    findings.figure(f"accept fails for {seconds:g} s: {busy * 100:.0f} % of a core")
    findings.require(busy <= _BUSY, f"a failing accept takes {busy * 100:.0f} % of a core")
    listener.listen(_BACKLOG)
    began = time.monotonic()
    findings.require(await until(lambda: _answers(port), _RECOVERY + scale.slack), "finger did not recover")
    findings.figure(f"finger answers {time.monotonic() - began:.2f} s after the fault ended")
    warnings = [record for record in program.records() if record["event"] == "cannot_accept"]
    times = [datetime.fromisoformat(record["timestamp"]) for record in warnings]
    shortest = min(((later - earlier).total_seconds() for earlier, later in pairwise(times)), default=_LINE)
    findings.figure(f"{len(warnings)} log lines")
    findings.require(warnings, "the log does not report the problem")
    findings.require(shortest >= _LINE, f"two log lines within {shortest:.2f} s")


async def _fail_for_good(program: AttackedProgram, listener: socket.socket, findings: Findings) -> None:
    """A fault that lasts ends the door, and the supervisor reports that."""
    began = time.monotonic()
    listener.shutdown(socket.SHUT_RDWR)

    def has_failed() -> bool:
        return any(r["event"] == "restarting" and r["task"] == "finger" for r in program.records())

    failed = await until(has_failed, _GIVEN_UP)
    findings.figure(f"a fault that lasts fails the door after {time.monotonic() - began:.1f} s")
    findings.require(failed, f"the door has not failed within {_GIVEN_UP:g} s")
    listener.listen(_BACKLOG)
    port = listener.getsockname()[1]
    findings.require(await until(lambda: _answers(port), 20), "finger did not recover after its restart")


async def run(scale: Scale, findings: Findings) -> None:
    """The finger door fails while HTTP is queried. The short form does not wait until the door is given up."""
    findings.done = "accept on the finger port fails with EINVAL, for a while and then until the door fails"
    with (
        _listener() as finger,
        socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as http,
        started({"finger": finger, "http": http}) as program,
    ):
        async with watching([_http_probe(http.getsockname()[1])]) as watch:
            await _fail_for_a_while(program, finger, scale, findings)
            if not scale.short:
                await _fail_for_good(program, finger, findings)
        watch.report(findings)
        stray = [record for record in program.errors() if record["event"] not in ("restarting", "task_failed")]
        findings.require(not stray, f"errors in the log: {str(stray[:1])[:600]}")
        await program.end_soon()


SCENARIO = Scenario("accept-fails", "accept fails, and not for lack of descriptors", run, limit=90)
