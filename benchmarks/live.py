"""The live feed beside its peers: one change and 2,000 clients that watch. `python -m benchmarks.live`.

Every server has its clients connected at the same time, on one core, the clients on another; the rounds ask one server
after the other. A change is one status that is set (fingertrio: through its setter), and each client is timed until it
has the bytes of that change. The figure to compare is the CPU that the kernel charges a server for one delivery; the
ratios are medians of each round's ratio.

fingertrio runs as it is shipped. The plain handler is Quart's under Trio, as its documentation shows it, on Hypercorn.
The floor is a loop in Python that sends the same number of bytes to as many sockets and does nothing else.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.generator import SETTLE
from benchmarks.harness import FAILURES, HERE, BenchmarkError, Server, fingertrio_server, progress
from benchmarks.page import write_part
from benchmarks.report import Goal, median, median_ratio, table
from fingertrio.testing.measure import Cores, Machine, busy_seconds, cpu_seconds, raise_file_limit, resident_bytes

FILES = 24_000
SOURCES = IPv4Address("127.16.0.1")  # one for each client, so that no limit for one address acts
AT_ONCE = 100  # connections that are opened before their answers are waited for
PING, PONG = b"\x89\x00", b"\x8a\x80\x00\x00\x00\x00"
QUIET = 0.1  # share of a core that others may use
PATIENCE = 20.0  # seconds for a change to arrive everywhere

WEBSOCKET = (
    b"GET /api/watch HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
EVENTS = b"GET /api/events HTTP/1.1\r\nHost: bench\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a server, and how its clients connect."""

    name: str
    server: str
    request: bytes

    def changes(self, count: int) -> int:
        """How many changes a round has, of `count`: fewer where each takes a second."""
        return max(count // 5, 1) if self.server == "quart" else count

    @property
    def is_ours(self) -> bool:
        return self.server == "fingertrio"


CASES = (
    Case("bare loop", "bare", EVENTS),
    Case("Quart on Trio, WebSocket", "quart", WEBSOCKET),
    Case("Quart on Trio, event stream", "quart", EVENTS),
    Case("fingertrio, WebSocket", "fingertrio", WEBSOCKET),
    Case("fingertrio, event stream", "fingertrio", EVENTS),
)


@dataclass(slots=True)
class Round:
    """The changes of one round.

    Attributes:
        cpu: seconds of the server for one delivery.
        last: for each change, the seconds until the last client had it.
        others: the share of the server's core that other programs used.
    """

    cpu: float
    last: list[float]
    others: float


@dataclass(slots=True)
class Results:
    """What was measured, by the name of the case."""

    rounds: dict[str, list[Round]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)  # bytes for each client
    problems: list[str] = field(default_factory=list)

    def ratio(self, case: str, other: str) -> float | None:
        if not self.rounds.get(case) or not self.rounds.get(other):
            return None
        return median_ratio([each.cpu for each in self.rounds[case]], [each.cpu for each in self.rounds[other]])


class Watchers:
    """The clients of one server. They read whatever comes, and look for one piece of text in it."""

    def __init__(self, port: int, request: bytes, count: int) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for start in range(0, count, AT_ONCE):
            opened = [self._open(port, request, str(SOURCES + n)) for n in range(start, min(start + AT_ONCE, count))]
            self._wait(b"hello", set(opened))

    def close(self) -> None:
        for each in self._sockets.values():
            each.close()
        self._poll.close()

    def wait_for(self, text: bytes) -> float:
        """The time at which the last client had it."""
        return self._wait(text, set(self._sockets))

    def attend(self) -> None:
        """Read what has come between two rounds. A client that answers no pings would be closed."""
        while list(self._receive(0)):
            pass

    def _receive(self, timeout: float) -> Iterator[tuple[int, bytes]]:
        for descriptor, _events in self._poll.poll(timeout, 4096):
            client = self._sockets[descriptor]
            data = client.recv(65536)
            if not data:
                raise BenchmarkError("the server closed a connection")
            if PING in data:
                client.send(PONG)
            yield descriptor, data

    def _open(self, port: int, request: bytes, source: str) -> int:
        client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0))
        client.sendall(request)
        client.setblocking(False)
        self._sockets[client.fileno()] = client
        self._poll.register(client, select.EPOLLIN)
        return client.fileno()

    def _wait(self, text: bytes, waiting: set[int]) -> float:
        received: dict[int, bytes] = {}
        until = time.monotonic() + PATIENCE
        while waiting:
            if time.monotonic() > until:
                raise BenchmarkError(f"{len(waiting)} of {len(self._sockets)} clients did not get {text!r}")
            for descriptor, data in self._receive(1):
                whole = received.get(descriptor, b"") + data
                if text in whole:
                    waiting.discard(descriptor)
                else:
                    received[descriptor] = whole
        return time.monotonic()


class Site:
    """A running server with its clients, and how a change is made there."""

    def __init__(self, case: Case, server: Server, core: int, count: int) -> None:
        self.case = case
        self.count = count
        self._server = server
        self._core = core
        self._size = message_size()
        before = resident_bytes(server.pid)
        self.watchers = Watchers(server.port("http"), case.request, count)
        time.sleep(SETTLE)
        self.memory = (resident_bytes(server.pid) - before) / count

    def measure(self, serials: Sequence[int]) -> Round:
        """Make some changes, one after the other."""
        last = []
        cpu, busy, start = cpu_seconds(self._server.pid), busy_seconds(self._core), time.monotonic()
        for serial in serials:
            text = b"change number %06d" % serial
            began = time.monotonic()
            with self._change(text):
                last.append(self.watchers.wait_for(text) - began)
        time.sleep(SETTLE)
        used = cpu_seconds(self._server.pid) - cpu
        others = max(0.0, busy_seconds(self._core) - busy - used) / (time.monotonic() - start)
        return Round(used / len(serials) / self.count, last, others)

    @contextmanager
    def _change(self, text: bytes) -> Iterator[None]:
        """Send a change. Its answer is read at the end, when the clients have been timed."""
        door, expected, body = "http", b"OK", text.ljust(self._size, b".")
        if self.case.is_ours:
            door, data = "setter", b"moshez\r\n" + text + b"\r\n"
        elif self.case.server == "bare":
            data = b"change " + body
        else:
            head = f"POST /change HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            data, expected = head.encode() + body, b" 200 "
        with socket.create_connection(("127.0.0.1", self._server.port(door)), timeout=PATIENCE) as control:
            control.sendall(data)
            if door == "setter":
                control.shutdown(socket.SHUT_WR)
            yield
            if expected not in (answer := control.recv(4096)):
                raise BenchmarkError(f"{self.case.name} answered {answer!r} to a change")


def make_server(name: str, directory: Path, core: int, count: int) -> Server:
    """A server, not started yet."""
    if name != "fingertrio":
        script = {"bare": "bare_loop.py", "quart": "quart_live.py"}[name]
        return Server(name, [sys.executable, str(HERE / "peers" / script)], directory / f"{name}.log", core=core)
    listen = {"listen": ["127.0.0.1:0"]}
    config: dict[str, dict[str, Any]] = {
        "backend": {"use": "memory", "users": {"moshez": "Happy and well"}},
        "setter": listen,
        "http": {**listen, "max_watchers": 3 * count, "max_connections": 3 * count},
    }
    return fingertrio_server(name, directory, config, core=core)


def message_size() -> int:
    """The bytes of fingertrio's message for one change, which the peers send as well."""
    return len(
        b'{"type":"change","id":"25d1cf1d6be2:100","user":"moshez","status":"change number 000000","name":null,'
        b'"since":"2026-03-01T12:00:00.000000Z","until":null,"details":{}}'
    )


def measure(cores: Cores, results: Results, *, count: int, rounds: int, changes: int) -> None:
    """All cases, in turns."""
    serials = iter(range(1_000_000))
    with tempfile.TemporaryDirectory(prefix="fingertrio-bench-") as directory, ExitStack() as stack:
        sites = []
        for case in CASES:
            progress(f"{count} clients: {case.name}")
            try:
                # Each case has a server of its own: memory that another case has used would hide what this one takes.
                place = Path(directory) / case.name.replace(" ", "-")
                place.mkdir()
                server = stack.enter_context(make_server(case.server, place, cores.server, count))
                site = Site(case, server, cores.server, count)
                stack.callback(site.watchers.close)
                site.measure([next(serials)])
                results.memory[case.name] = site.memory
                sites.append(site)
                for other in sites:
                    other.watchers.attend()
            except FAILURES as error:
                results.problems.append(f"{case.name}: {error}")
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            turn = number % len(sites) if sites else 0
            for site in sites[turn:] + sites[:turn]:
                try:
                    found = site.measure([next(serials) for _ in range(site.case.changes(changes))])
                    results.rounds.setdefault(site.case.name, []).append(found)
                    for other in sites:
                        other.watchers.attend()
                except FAILURES as error:
                    results.problems.append(f"round {number + 1}, {site.case.name}: {error}")
                    return


def goals(results: Results) -> list[Goal]:
    found = []
    for kind in ("WebSocket", "event stream"):
        ours, plain = f"fingertrio, {kind}", f"Quart on Trio, {kind}"
        memory = results.memory.get(ours)
        found += [
            Goal(f"CPU per delivery, {kind}, against the bare loop", 2.5, results.ratio(ours, "bare loop")),
            Goal(f"CPU per delivery, {kind}, against Quart's", 0.2, results.ratio(ours, plain)),
            Goal(f"memory for a client, {kind}", 20.0, None if memory is None else memory / 1024, unit="KiB"),
        ]
    return found


def report(results: Results, cores: Cores, count: int) -> str:
    """The Markdown of a run."""

    def row(case: Case) -> list[str]:
        rounds = results.rounds[case.name]
        last = sorted(chain.from_iterable(each.last for each in rounds))
        plain = f"Quart on Trio, {'event stream' if 'event' in case.name else 'WebSocket'}"
        ratios = (results.ratio(case.name, "bare loop"), results.ratio(case.name, plain))
        return [
            case.name,
            *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
            f"{median(each.cpu for each in rounds) * 1e6:.1f}",
            f"{median(last) * 1e3:.0f}",
            f"{last[min(len(last) - 1, int(len(last) * 0.99))] * 1e3:.0f}",
            f"{results.memory[case.name] / 1024:.1f}",
        ]

    header = [f"One change, {count} clients", "CPU x bare loop", "x Quart", "us each", "last, ms", "p99 ms", "KiB each"]
    rows = [row(case) for case in CASES if results.rounds.get(case.name)]
    machine = Machine.here(["fingertrio", "trio", "quart-trio", "hypercorn"])
    others = median(each.others for each in chain.from_iterable(results.rounds.values()))
    words = [
        f"- {machine}.",
        f"- Servers on core {cores.server}, clients on core {cores.load}. CPU is user + system of the whole process,",
        "  divided by deliveries.",
        "- The last: from before the change is sent until the last client has it, median and 99th percentile of all",
        "  changes.",
        "- Memory: growth of the server's resident memory with its clients. The kernel's own for each socket is not in",
        "  it.",
        f"- Other programs used {others:.0%} of the servers' core (median)"
        + (": THE MACHINE WAS NOT QUIET, and the times are longer for it." if others > QUIET else "."),
    ]
    return "\n\n".join([table(header, rows), "\n".join(words), "\n".join(map(str, goals(results)))])


def main() -> int:
    """Measure and print; 1 if something could not be run."""
    parser = argparse.ArgumentParser(prog="benchmarks.live", description="The live feed beside its peers.")
    parser.add_argument("--quick", action="store_true", help="a smoke run: 200 clients, one round")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--write", action="store_true", help="put the report into docs/design/performance.md")
    arguments = parser.parse_args()
    cores = Cores.choose()
    os.sched_setaffinity(0, {cores.load})
    raise_file_limit(FILES)
    count, rounds, changes = (200, 1, 3) if arguments.quick else (2000, arguments.rounds, 15)
    results = Results()
    measure(cores, results, count=count, rounds=rounds, changes=changes)
    text = report(results, cores, count)
    print(text)
    for problem in results.problems:
        print(f"- FAILED: {problem}")
    if arguments.quick:
        print("- a smoke run: these figures mean nothing")
    elif arguments.write and not results.problems:
        write_part("benchmarks.live", text)
    return 1 if results.problems else 0


if __name__ == "__main__":
    sys.exit(main())
