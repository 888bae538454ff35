"""The cost of idle connections, and their effect on other clients.

A fresh server is warmed up, then holds thousands of connections while others are answered. What it has grown by is
divided by their number. The kernel's own memory for a socket, several kilobytes on each side, is in no process's
account and therefore not in the figure.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.generator import Load
from benchmarks.harness import Server
from benchmarks.report import median
from fingertrio.testing.measure import open_files, resident_bytes

PER_SECOND = 4000  # 10,000 in 2.5 s: slow enough for the slowest server here to accept them as they come
SETTLE = 0.3  # seconds: time for the last of them to be accepted and their bytes to be read
ROUNDS = 3
ROUND_SECONDS = 0.5  # 3 of them and the opening end well before a server's deadline for dribblers (ours: 10 s)


@dataclass(frozen=True, slots=True)
class Idle:
    """What idle connections did to one server.

    Attributes:
        count: connections established.
        seen: of these, how many the server has accepted; TCP_DEFER_ACCEPT keeps silent ones in the kernel.
        still_open: of these, how many it had not closed when the last query was answered.
        seconds: from the first of them to the last query.
        opening: seconds that it took to open them.
        bytes_each: growth of the server's resident memory, for each.
        p99_before, p99_meanwhile: of queries answered without them, and meanwhile; seconds, medians of ROUNDS.
        failures: queries that failed.
    """

    count: int
    seen: int
    still_open: int
    seconds: float
    opening: float
    bytes_each: float
    p99_before: float
    p99_meanwhile: float
    failures: int

    @property
    def slowdown(self) -> float:
        return self.p99_meanwhile / self.p99_before


def measure_idle(
    load: Load, server: Server, *, door: str, count: int, prefix: bytes, query: bytes, expected: bytes
) -> Idle:
    """Hold `count` connections open, each after `prefix`, on a server that has just been started."""

    def ask() -> tuple[float, int]:
        rounds = [
            load.run(server, door=door, query=query, expected=expected, seconds=ROUND_SECONDS) for _ in range(ROUNDS)
        ]
        return median(each.p99 for each in rounds), sum(sum(each.failures.values()) for each in rounds)

    p99_before, failures = ask()
    time.sleep(SETTLE)
    files = open_files(server.pid)
    memory = resident_bytes(server.pid)
    began = time.monotonic()
    with load.hold(server, door=door, count=count, per_second=PER_SECOND, prefix=prefix) as held:
        time.sleep(SETTLE)
        grown = resident_bytes(server.pid) - memory
        seen = open_files(server.pid) - files
        p99_meanwhile, failures_meanwhile = ask()
        seconds = time.monotonic() - began
    return Idle(
        count=held.established,
        seen=max(seen, 0),
        still_open=held.still_open,
        seconds=seconds,
        opening=held.seconds,
        bytes_each=grown / max(held.established, 1),
        p99_before=p99_before,
        p99_meanwhile=p99_meanwhile,
        failures=failures + failures_meanwhile,
    )
