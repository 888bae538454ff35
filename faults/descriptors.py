"""No descriptors left: the program must wait without using CPU or filling its log, and recover at once."""

from __future__ import annotations

import time
from datetime import datetime
from itertools import cycle, pairwise

import trio

from faults.clients import dial, exchange, get, reset
from faults.program import STATUS, USER, AttackedProgram, running
from faults.scenario import Findings, Scale, Scenario, until
from fingertrio.testing.measure import cpu_seconds, raise_file_limit

_LIMIT = 256
_RECOVERY = 1.0  # seconds
_LINE = 0.95  # seconds between two log lines: one, less the rounding of the clocks

_OPENING = {"finger": b"m", "setter": b"m", "http": b"G"}


async def _all_answer(program: AttackedProgram) -> None:
    answers = [
        await exchange(program.port("finger"), f"{USER}\r\n".encode()),
        await exchange(program.port("setter"), f"{USER}\r\n{STATUS}\r\n".encode(), end=True),
        await get(program.port("http"), f"/api/users/{USER}"),
    ]
    if not (STATUS.encode() in answers[0] and answers[1] == b"OK\r\n" and STATUS.encode() in answers[2]):
        raise ValueError(f"answered {answers}")


async def attack(program: AttackedProgram, scale: Scale, findings: Findings) -> None:
    """Use up all descriptors for a while, then close the connections and restore the limit."""
    clients, seconds = scale.of((1000, 5.0), (350, 1.2))
    findings.done = f"RLIMIT_NOFILE = {_LIMIT} and {clients} clients on three doors for {seconds:g} s"
    raise_file_limit(clients + 200)
    started = len(program.records())
    program.limit_descriptors(_LIMIT)
    streams = []
    for _, door in zip(range(clients), cycle(_OPENING)):
        streams.append(stream := await dial(program.port(door)))
        await stream.send_all(_OPENING[door])
    taken = await until(lambda: program.descriptors >= _LIMIT - 1, 5)
    findings.require(taken, f"only {program.descriptors} descriptors were used")
    cpu, began = cpu_seconds(program.pid), time.monotonic()
    await trio.sleep(seconds)
    program.check()
    busy = (cpu_seconds(program.pid) - cpu) / (time.monotonic() - began)
    findings.figure(f"{busy * 100:.0f} % of a core at the limit")
    began = time.monotonic()
    for stream in streams:
        await reset(stream)
    await _all_answer(program)
    took = time.monotonic() - began
    findings.figure(f"every door answers {took:.2f} s after the clients left")
    findings.require(took <= _RECOVERY + scale.slack, f"recovery took {took:.2f} s")
    told = [record for record in program.records()[started:] if record["event"] == "cannot_accept"]
    times = [datetime.fromisoformat(record["timestamp"]) for record in told]
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    findings.figure(f"{len(told)} lines in the log")
    findings.require(told, "the log does not report the problem")
    findings.require(min(gaps, default=9.0) >= _LINE, f"two lines in the log within {min(gaps, default=9.0):.2f} s")
    program.limit_descriptors(1 << 20)
    await program.examine(findings)


async def run(scale: Scale, findings: Findings) -> None:
    with running() as program:
        await attack(program, scale, findings)


SCENARIO = Scenario("descriptors", "file descriptors exhausted", run, limit=60)
