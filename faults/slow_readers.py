"""Clients that request long answers and read nothing; then SIGTERM."""

from __future__ import annotations

import trio

from faults.backends import HUGE, NAME
from faults.clients import dial, request, websocket
from faults.http2 import headers, http2_request, start
from faults.program import running, sections
from faults.scenario import Findings, Scale, Scenario

# Bytes: twice what Linux buffers for a loopback client that does not read.
_HUGE = 4 * 1024 * 1024
_WINDOW = 4096  # bytes of the client's receive buffer
_ALLOWED = 1.0  # seconds after the grace period

_ASK = {
    "finger": ("finger", f"{HUGE}\r\n".encode()),
    "HTTP/1.1": ("http", request(f"/{HUGE}")),
    "HTTP/1.1, pipelining": ("http", request(f"/api/users/{HUGE}", "Connection: keep-alive") * 3),
    "HTTP/2": ("http", http2_request(f"/{HUGE}")),
    "HTTP/2 with a closed window": ("http", start(INITIAL_WINDOW_SIZE=0) + headers(path=f"/{HUGE}".encode())),
    "the live feed": ("http", websocket(f"/api/watch?user={HUGE}&snapshot=1")),
    "the event stream": ("http", request(f"/api/events?user={HUGE}&snapshot=1")),
    "the event stream over HTTP/2": ("http", http2_request(f"/api/events?user={HUGE}&snapshot=1")),
}


async def run(scale: Scale, findings: Findings) -> None:
    """Stop the program while all of them are in the middle of an answer."""
    each = scale.of(8, 2)
    grace = scale.of(5.0, 0.5)
    findings.done = (
        f"{each} clients each of {'; '.join(_ASK)}, each client reads one byte of an answer of 4 MB; then SIGTERM"
    )
    table = sections(
        backend={"use": NAME, "users": {"moshez": "Happy and well"}, "huge": _HUGE},
        service={"grace": grace, "cache_ttl": 600.0},
        http={"max_buffered": 2**30},  # all of them are to be sent at once
    )
    with running(table) as program:
        streams = []
        for door, data in _ASK.values():
            for _ in range(each):
                streams.append(stream := await dial(program.port(door), window=_WINDOW))
                await stream.send_all(data)
        with trio.fail_after(30):
            for stream in streams:
                await stream.receive_some(1)
        metrics = await program.metrics()
        held = sum(metrics.get(f'fingertrio_connections{{door="{door}"}}', 0.0) for door in ("finger", "http"))
        findings.require(held == len(streams), f"only {held:.0f} of {len(streams)} answers were still being sent")
        took = await program.end_soon(grace + 10)
        errors = [record for record in program.records() if record.get("level") == "error"]
        findings.require(not errors, f"errors in the log: {str(errors[:1])[:600]}")
        for stream in streams:
            await trio.aclose_forcefully(stream)
    findings.figure(f"grace {grace:g} s, exit after {took:.2f} s with status 0")
    findings.require(took <= grace + _ALLOWED + scale.slack, f"the exit took {took:.2f} s")


SCENARIO = Scenario("slow-readers", "clients that do not read, then SIGTERM", run, limit=60)
