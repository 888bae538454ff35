"""What a status costs over each backend that stores it: set through the setter, read through finger.

    python -m benchmarks.setter [--rounds 7] [--seconds 2] [--clients 64] [--write]

The real program over `memory`, `sqlite` and (if there is a redis-server) `redis`, all on one core, loaded in turns from
another core. The load keeps `clients` connections open, each for a user of its own.

- set: two lines to the setter, until its OK. Over sqlite the status is on the disk then; over redis, as its default is.
- query, cached: a finger query that the service's cache answers. It costs the same over every backend.
- query, uncached: a finger query that reaches the backend, with a cache of one answer: the cost of a rarely asked user.

The goal: with 64 clients, sqlite accepts at least 0.8 times as many sets a second as memory. The figure is the median
of the rounds' ratios, since two servers measured a second apart suffer the same neighbours. The exit status is 1 if the
goal is missed.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.generator import SETTLE
from benchmarks.harness import FAILURES, BenchmarkError, Server, fingertrio_server, progress
from benchmarks.page import write_part
from benchmarks.report import median_ratio, table
from fingertrio.testing.measure import Cores, Machine, cpu_seconds, pinned
from fingertrio.testing.redis_server import redis_installed, running_redis

GOAL = 0.8
WARM_UP = 1.0  # seconds: caches fill, and the log of writes comes to the size at which it is used again
DRAIN = 10.0  # seconds that the last answers may take

LISTEN = {"listen": ["127.0.0.1:0"], "max_connections_per_address": 10_000}


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    door: str
    load: str  # what the load does
    cached: bool = True


CASES = (
    Case("set", "setter", "set"),
    Case("query, cached", "finger", "ask"),
    Case("query, uncached", "finger", "ask", cached=False),
)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did."""

    rate: float  # a second
    cpu: float  # seconds of the server for each
    p50: float  # seconds
    p99: float


# --- the load: a process of its own -----------------------------------------------------------------------------------


class Clients:
    """As many connections as there are users, each followed by the next as soon as it is answered."""

    def __init__(self, port: int, count: int, load: str) -> None:
        self._address = ("127.0.0.1", port)
        self._request = self._set if load == "set" else self._ask
        self._expected: Callable[[bytes], bool] = _is_ok if load == "set" else _is_status
        self._half_closes = load == "set"
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, int, float, bytearray]] = {}
        self._count = count
        self._serial = 0
        self.latencies: list[float] = []
        self.failures: list[bytes] = []

    def run(self, seconds: float) -> float:
        """How long it took until the last one was answered."""
        began = time.perf_counter()
        for user in range(self._count):
            self._start(user)
        while self._open and time.perf_counter() < began + seconds + DRAIN:
            for descriptor, events in self._poll.poll(1):
                self._serve(descriptor, events, more=time.perf_counter() < began + seconds)
        if self._open:
            self.failures.append(b"no answer in time")
        return time.perf_counter() - began

    def _set(self, user: int) -> bytes:
        self._serial += 1
        return b"user%d\r\nAt work on part %d of it all\r\n" % (user, self._serial)

    def _ask(self, user: int) -> bytes:
        return b"user%d\r\n" % user

    def _start(self, user: int) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        self._open[sock.fileno()] = (sock, user, time.perf_counter(), bytearray())
        sock.connect_ex(self._address)
        self._poll.register(sock, select.EPOLLOUT)

    def _serve(self, descriptor: int, events: int, *, more: bool) -> None:
        sock, user, began, answer = self._open[descriptor]
        try:
            if events & select.EPOLLOUT:
                sock.send(self._request(user))
                if self._half_closes:
                    sock.shutdown(socket.SHUT_WR)
                self._poll.modify(descriptor, select.EPOLLIN)
                return
            if part := sock.recv(65536):
                answer += part
                return
        except OSError as error:
            answer += str(error).encode()
        self._poll.unregister(descriptor)
        del self._open[descriptor]
        sock.close()
        if self._expected(bytes(answer)):
            self.latencies.append(time.perf_counter() - began)
        else:
            self.failures.append(bytes(answer))
        if more:
            self._start(user)


def _is_ok(answer: bytes) -> bool:
    return answer == b"OK\r\n"


def _is_status(answer: bytes) -> bool:
    return answer.startswith(b"At work on part ") and answer.endswith(b" of it all\r\n")


def run_load(port: int, count: int, seconds: float, load: str) -> None:
    """What the load's process does; one line of JSON tells what it saw."""
    clients = Clients(port, count, load)
    took = clients.run(seconds)
    times = sorted(clients.latencies) or [0.0]
    seen = {
        "done": len(clients.latencies),
        "seconds": took,
        "p50": times[len(times) // 2],
        "p99": times[len(times) * 99 // 100],
        "failures": len(clients.failures),
        "failure": repr(clients.failures[0]) if clients.failures else "",
    }
    print(json.dumps(seen))


# --- the rounds -------------------------------------------------------------------------------------------------------


def measure(server: Server, case: Case, cores: Cores, clients: int, seconds: float) -> Round:
    """One round. Raises BenchmarkError where anything was not answered as expected."""
    server.check()
    cpu = cpu_seconds(server.pid)
    argv = ["load", str(server.port(case.door)), str(clients), str(seconds), case.load]
    with pinned(cores.load):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.setter", *argv], capture_output=True, check=True, timeout=seconds + 60
        )
    time.sleep(SETTLE)
    cpu = cpu_seconds(server.pid) - cpu
    seen = json.loads(done.stdout)
    if seen["failures"] or not seen["done"]:
        raise BenchmarkError(f"{server.name}, {case.name}: {seen['failures']} failures, such as {seen['failure']}")
    server.forget_log()
    return Round(seen["done"] / seen["seconds"], cpu / seen["done"], seen["p50"], seen["p99"])


def start(stack: ExitStack, directory: Path, backend: Mapping[str, Any], cores: Cores, *, cached: bool) -> Server:
    """A server over one backend."""
    name = f"{backend['use']}-{'cached' if cached else 'uncached'}"
    config = {
        "backend": {**backend, **({"path": directory / f"{name}.db"} if backend["use"] == "sqlite" else {})},
        "service": {"cache_size": 10_000 if cached else 1},
        "finger": LISTEN,
        "setter": LISTEN,
    }
    return stack.enter_context(fingertrio_server(name, directory, config, core=cores.server))


Figures = Mapping[tuple[str, str], Sequence[Round]]  # by case and backend


def measure_all(directory: Path, *, rounds: int, seconds: float, clients: int) -> tuple[Sequence[str], Figures]:
    """Every case over every backend, in turns."""
    cores = Cores.choose()
    backends: dict[str, dict[str, Any]] = {name: {"use": name} for name in ("memory", "sqlite")}
    figures: dict[tuple[str, str], list[Round]] = {}
    with ExitStack() as stack:
        if redis_installed():
            with pinned(cores.server):  # it works for the node, on the node's core
                redis = stack.enter_context(running_redis(directory / "redis"))
            backends["redis"] = {"use": "redis", "url": redis.url}
        servers = {
            (name, cached): start(stack, directory, backend, cores, cached=cached)
            for name, backend in backends.items()
            for cached in (True, False)
        }
        for server in servers.values():
            measure(server, CASES[0], cores, clients, WARM_UP)  # so that there is something to ask for
        for number in range(rounds):
            for case in CASES:
                # In another order each time: a server measured right after a busy disk would pay for it.
                for backend in list(backends)[:: -1 if number % 2 else 1]:
                    done = measure(servers[backend, case.cached], case, cores, clients, seconds)
                    figures.setdefault((case.name, backend), []).append(done)
                    progress(f"{case.name} over {backend}: {done.rate:.0f}/s, {done.cpu * 1e6:.0f} us")
    return list(backends), figures


def report(backends: Sequence[str], figures: Figures) -> tuple[str, float]:
    """The table, and what became of the goal."""
    rows = []
    for case in CASES:
        memory = figures[case.name, "memory"]
        for backend in backends:
            done = figures[case.name, backend]
            rows.append(
                [
                    f"{case.name}, {backend}",
                    f"{median(one.rate for one in done):.0f}",
                    f"{median_ratio([one.rate for one in done], [one.rate for one in memory]):.2f}",
                    f"{median(one.cpu for one in done) * 1e6:.0f}",
                    f"{median_ratio([one.cpu for one in done], [one.cpu for one in memory]):.2f}",
                    f"{median(one.p50 for one in done) * 1e3:.1f}",
                    f"{median(one.p99 for one in done) * 1e3:.1f}",
                ]
            )
    header = ["", "a second", "by memory's", "CPU, us", "by memory's", "p50, ms", "p99, ms"]
    rates = {name: [one.rate for one in figures["set", name]] for name in ("memory", "sqlite")}
    return table(header, rows), median_ratio(rates["sqlite"], rates["memory"])


def main() -> int:
    if sys.argv[1:2] == ["load"]:
        port, count, seconds, load = sys.argv[2:]
        run_load(int(port), int(count), float(seconds), load)
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each round of each case")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--directory", type=Path, help="where the database is; by default a temporary one")
    parser.add_argument("--write", action="store_true", help="put the table into docs/design/performance.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        try:
            backends, figures = measure_all(
                Path(directory), rounds=arguments.rounds, seconds=arguments.seconds, clients=arguments.clients
            )
        except FAILURES as error:
            print(error, file=sys.stderr)
            return 2
    measured, ratio = report(backends, figures)
    reached = ratio >= GOAL
    verdict = "reached" if reached else "NOT reached"
    text = f"""{measured}

- {Machine.here(["fingertrio", "trio", "coredis"])}.
- {arguments.clients} clients, medians of {arguments.rounds} rounds of {arguments.seconds:g} s.
- {verdict}: sets over sqlite by sets over memory: {ratio:.2f}, to be at least {GOAL}"""
    print(text)
    if arguments.write:
        write_part("benchmarks.setter", text)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
