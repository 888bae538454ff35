"""The load generator (load.c, load.py), run on its core: what it saw, beside what the kernel charged the server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.harness import HERE, BenchmarkError, Server, UnavailableError, compiled_c, progress
from fingertrio.testing.measure import Cores, busy_seconds, cpu_seconds, pinned
from fingertrio.testing.program import STOP

_FAILURES = ("connect_errors", "io_errors", "wrong_answers", "timeouts")
GRACE = 15.0  # seconds beyond its own time that the generator may take to finish and to sort its latencies
SETTLE = 0.05  # seconds: what a server still does after its last answer (closing, logging) belongs to that answer


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of load did, as the generator and the kernel saw it.

    Attributes:
        queries: answered, each with the expected bytes.
        seconds: from the first connect to the last end of input.
        server_cpu: seconds, of all threads of the server.
        load_cpu: seconds, of the generator.
        p50, p99: seconds from before the connect to the end of input.
        failures: queries that were not answered as expected, by kind.
        others: the share of the server's core, and of the load's, that other programs used.
    """

    queries: int
    seconds: float
    server_cpu: float
    load_cpu: float
    p50: float
    p99: float
    failures: Mapping[str, int]
    others: tuple[float, float]

    @property
    def cpu_per_query(self) -> float:
        return self.server_cpu / self.queries

    @property
    def rate(self) -> float:
        return self.queries / self.seconds

    @property
    def server_busy(self) -> float:
        return self.server_cpu / self.seconds

    @property
    def load_busy(self) -> float:
        return self.load_cpu / self.seconds


@dataclass(slots=True)
class Held:
    """Connections that are held open: how many, how long it took, and how many the server had not closed at the end."""

    established: int
    seconds: float
    still_open: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """Runs the load generator on its core.

    Attributes:
        argv: the generator.
        cores: where it runs, and where the servers do.
        in_flight: connections at any moment.
        sources: addresses they come from. More than are in flight, so that no limit for one address acts, and few
            enough for the generator's own memory to stay in its caches.
    """

    argv: Sequence[str]
    cores: Cores
    in_flight: int = 64
    sources: int = 256

    def run(self, server: Server, *, door: str, query: bytes, expected: bytes, seconds: float) -> Round:
        """One round against one server.

        Raises:
            BenchmarkError: the server or the generator failed, or no query at all was answered as expected; single
                failures are in the result instead.
        """
        server.check()
        command = self._command("query", server.port(door), self.in_flight, seconds, self.sources, query, expected)
        cores = (self.cores.server, self.cores.load)
        busy = [busy_seconds(core) for core in cores]
        cpu = cpu_seconds(server.pid)
        began = time.monotonic()
        try:
            with pinned(self.cores.load):
                done = subprocess.run(command, capture_output=True, timeout=seconds + GRACE, check=False)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"the load on {server.name} did not end") from None
        time.sleep(SETTLE)
        server.check()
        server_cpu = cpu_seconds(server.pid) - cpu
        elapsed = time.monotonic() - began
        if done.returncode != 0:
            raise BenchmarkError(f"the load on {server.name} failed: {done.stderr.decode('utf-8', 'replace').strip()}")
        if done.stderr:
            progress(done.stderr.decode("utf-8", "replace").strip())
        seen = json.loads(done.stdout)
        used = (server_cpu, seen["cpu_seconds"])
        others = [
            max(0.0, busy_seconds(core) - before - own) / elapsed
            for core, before, own in zip(cores, busy, used, strict=True)
        ]
        failures = {kind: seen[kind] for kind in _FAILURES if seen[kind]}
        if not seen["queries"]:
            raise BenchmarkError(f"{server.name} answered no query as expected: {failures}")
        return Round(
            queries=seen["queries"],
            seconds=seen["seconds"],
            server_cpu=server_cpu,
            load_cpu=seen["cpu_seconds"],
            p50=seen["p50_us"] / 1e6,
            p99=seen["p99_us"] / 1e6,
            failures=failures,
            others=(others[0], others[1]),
        )

    def _command(self, *arguments: str | bytes | float) -> Sequence[str | bytes]:
        return [*self.argv, *(each if isinstance(each, bytes) else str(each) for each in arguments)]

    @contextmanager
    def hold(self, server: Server, *, door: str, count: int, per_second: int, prefix: bytes) -> Iterator[Held]:
        """Hold `count` connections open that have sent `prefix` and say nothing more.

        They come from as many addresses as the queries, in turn. At the end of the block they are counted once more.
        """
        command = self._command("hold", server.port(door), count, per_second, self.sources, prefix)
        with pinned(self.cores.load):
            holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            line = holder.stdout.readline()
            if not line:
                raise BenchmarkError(f"no {count} connections could be opened to {server.name}")
            opened = json.loads(line)
            held = Held(established=opened["established"], seconds=opened["seconds"])
            yield held
            holder.stdin.close()
            held.still_open = json.loads(holder.stdout.readline())["still_open"]
        finally:
            holder.stdin.close()
            try:
                holder.wait(STOP)
            except subprocess.TimeoutExpired:
                holder.kill()
                holder.wait()
            holder.stdout.close()


def load_generator() -> Sequence[str]:
    """The generator in C; where that cannot be made, the one in Python, with a word about it."""
    try:
        return [str(compiled_c(HERE / "load.c"))]
    except UnavailableError as gap:
        progress(f"{gap}; the generator in Python takes its place, and will be the bottleneck")
        return [sys.executable, str(HERE / "load.py")]
