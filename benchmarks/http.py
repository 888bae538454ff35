"""The HTTP door beside its peers: `make bench`, or `python -m benchmarks.http` from the checkout.

The method is that of `benchmarks.finger`: every server is one process on one core, the load (wrk, 32 connections that
are kept) another on another core; each round asks all servers in turn, the next one in another order. What is compared
is the CPU that the kernel charges a server for one request. fingertrio runs as it is shipped: its log, its limits and
its metrics at their defaults. No peer logs, limits or counts anything.

"Made anew": each request is different from all before, so that the lane has no response for it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import ssl
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.generator import Round
from benchmarks.harness import FAILURES, BenchmarkError, Server, UnavailableError, progress
from benchmarks.http_idle import REQUESTS, measure_idle, measure_openssl
from benchmarks.http_servers import NAMES, WORK, Servers, Work, set_statuses
from benchmarks.page import write_part
from benchmarks.report import NOTHING, Goal, median, median_ratio, table
from benchmarks.wrk import CONNECTIONS, Request, find_wrk, load
from fingertrio.testing.measure import Cores, Machine, raise_file_limit

WARM_UP = 1  # seconds of load before the rounds
FILES = 12_000  # descriptors for idle connections
BUDGET = 400.0  # seconds; no new round begins when it would end later

_UNVERIFIED = ssl._create_unverified_context()  # noqa: SLF001 -- the servers are ours, on loopback


@dataclass(slots=True)
class Results:
    """The results of a run, by row and server."""

    rounds: dict[tuple[str, str], list[Round]] = field(default_factory=dict)
    idle: dict[str, float] = field(default_factory=dict)  # bytes of an idle connection, by kind
    openssl: float | None = None  # of these, those of OpenSSL over TLS
    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    def ratio(self, work: Work, peer: str, what: str = "cpu_per_query") -> float | None:
        """fingertrio's figure by a peer's; None if one of them was not measured."""
        mine, theirs = self.rounds.get((work.name, "fingertrio")), self.rounds.get((work.like or work.name, peer))
        if not mine or not theirs:
            return None
        return median_ratio(*([getattr(each, what) for each in rounds] for rounds in (mine, theirs)))

    def middle(self, name: str, server: str, what: str) -> float:
        return median(getattr(each, what) for each in self.rounds[name, server])


def ask(server: Server, request: Request, *, tls: bool) -> tuple[http.client.HTTPResponse, bytes]:
    """One request, by hand."""
    port = server.port("http")
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=_UNVERIFIED)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    )
    connection.request(request.method, request.path, request.body or None, dict(request.headers))
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def prepare(server: Server, work: Work) -> Request:
    """The request for this server. Checks that it is answered, twice: the second answer may come from another place.

    Raises:
        BenchmarkError: the answer is not what the row is about.
    """
    request = work.request
    if work.is_known:
        response, _ = ask(server, request, tls=work.tls)
        request = replace(request, headers={"If-None-Match": response.headers["ETag"]})
    for _ in range(2):
        response, body = ask(server, request, tls=work.tls)
        if response.status != (304 if work.is_known else 200) or work.holds not in body:
            raise BenchmarkError(f"{server.name}, {work.name}: {response.status} {body[:200]!r}")
    return request


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of one server."""

    work: Work
    name: str
    server: Server
    request: Request


def start(servers: Servers, stack: ExitStack, cores: Cores, results: Results, wanted: Collection[str]) -> list[Cell]:
    """Start every server, warm up every cell, and return those that work."""
    running: dict[tuple[str, bool], Server | None] = {}
    able: list[Cell] = []
    for work, name in [(row, name) for row in WORK if row.name in wanted for name in ("fingertrio", *row.peers)]:
        place = name, work.tls
        try:
            if place not in running:
                running[place] = None  # if it does not start, it is not tried again
                running[place] = started = stack.enter_context(servers.make(name, tls=work.tls))
                if name == "fingertrio":
                    set_statuses(started)
            if (server := running[place]) is not None:
                cell = Cell(work, name, server, prepare(server, work))
                _load(cell, cores, WARM_UP)
                able.append(cell)
        except UnavailableError as gap:
            results.gaps.append(f"{NAMES[name]}: {gap}")
        except FAILURES as error:
            results.problems.append(f"{work.name}, {NAMES[name]}: {error}")
    return able


def measure(
    servers: Servers,
    cores: Cores,
    results: Results,
    wanted: Collection[str],
    *,
    rounds: int,
    seconds: int,
    until: float,
) -> None:
    """All servers up at once, asked in turn, round after round."""
    with ExitStack() as stack:
        able = start(servers, stack, cores, results, wanted)
        for number in range(rounds):
            if time.monotonic() + len(able) * (seconds + 0.3) > until:
                results.gaps.append(f"only {number} of {rounds} rounds: the time was up")
                break
            progress(f"round {number + 1} of {rounds}")
            first = number * len(able) // rounds
            for cell in (able[first:] + able[:first])[:: -1 if number % 2 else 1]:
                place = cell.work.name, cell.name
                try:
                    done = _load(cell, cores, seconds)
                except FAILURES as error:
                    results.problems.append(f"{cell.work.name}, {NAMES[cell.name]}: {error}")
                    results.rounds.pop(place, None)
                    able = [other for other in able if other is not cell]
                    continue
                if done.failures:
                    results.problems.append(f"{cell.work.name}, {NAMES[cell.name]}: {dict(done.failures)}")
                results.rounds.setdefault(place, []).append(done)


def measure_memory(servers: Servers, results: Results) -> None:
    """The memory of idle connections."""
    for kind, tls, count in [(kind, tls, 500 if tls else 5000) for kind in REQUESTS for tls in (False, True)]:
        title = f"{kind}, TLS" if tls else kind
        progress(f"{count} idle connections: {title}")
        try:
            results.idle[title] = measure_idle(servers, kind, count=count, tls=tls)
        except FAILURES as error:
            results.problems.append(f"idle connections, {title}: {error}")
    results.openssl = measure_openssl()


def _load(cell: Cell, cores: Cores, seconds: int) -> Round:
    """One round; a second try if nothing was answered, as on a machine that others use up."""
    for left in (1, 0):
        cell.server.forget_log()
        try:
            return load(cell.server, cell.request, cores, seconds=seconds, tls=cell.work.tls)
        except BenchmarkError:
            if not left:
                raise
    raise AssertionError("the loop returns or raises")


def goals(results: Results) -> list[Goal]:
    """The goals of the HTTP door."""
    rows = {work.name: work for work in WORK}
    hot = [rows[name] for name in ("JSON", "page", "304", "XML-RPC", "JSON over TLS", "list of 1,000")]
    p99 = [ratio for work in hot if (ratio := results.ratio(work, "twisted", "p99")) is not None]
    by_twisted = {"JSON": 0.35, "page": 0.35, "304": 0.35, "XML-RPC": 0.2, "JSON over TLS": 0.5}
    return [
        *(
            Goal(f"CPU of {name} by Twisted Web's", most, results.ratio(rows[name], "twisted"))
            for name, most in by_twisted.items()
        ),
        Goal("CPU of JSON by Uvicorn's", 0.6, results.ratio(rows["JSON"], "uvicorn")),
        Goal("p99 of all of them by Twisted Web's, the worst", 1.0, max(p99, default=None)),
        *(
            Goal(f"CPU of {name} by Quart's on Hypercorn", most, results.ratio(rows[name], "quart"))
            for name, most in (("JSON, made anew", 1.15), ("page, made anew", 1.15), ("XML-RPC, made anew", 1.3))
        ),
        *_memory_goals(results),
    ]


def _openssl_note(results: Results) -> Iterator[str]:
    if results.openssl is not None:
        size = results.openssl / 1024
        yield f"Over TLS, OpenSSL's objects alone, in a process of their own, take {size:.1f} KiB for each connection."


def _memory_goals(results: Results) -> Iterator[Goal]:
    for title, found in results.idle.items():
        if "TLS" not in title:
            yield Goal(f"memory for each idle connection, {title}", 8.0, found / 1024, unit="KiB")
        elif results.openssl is not None:
            own = (found - results.openssl) / 1024
            yield Goal(f"memory for each idle connection, {title}, without OpenSSL's", 8.0, own, unit="KiB")


def tables(results: Results) -> str:
    """The Markdown of a run."""
    peers = [name for name in NAMES if name != "fingertrio"]
    cpu, speed, absolute = [], [], []
    for work in WORK:
        if (work.name, "fingertrio") not in results.rounds:
            continue
        ratios = [results.ratio(work, peer) for peer in peers]
        used = results.middle(work.name, "fingertrio", "cpu_per_query") * 1e6
        cpu.append([work.name, f"{used:.1f}", *(NOTHING if ratio is None else f"{ratio:.2f}" for ratio in ratios)])
        p99 = results.ratio(work, "twisted", "p99")
        speed.append(
            [
                work.name,
                NOTHING if p99 is None else f"{p99:.2f}",
                f"{results.middle(work.name, 'fingertrio', 'p99') * 1e3:.2f}",
                f"{results.middle(work.name, 'fingertrio', 'rate'):.0f}",
                f"{results.middle(work.name, 'fingertrio', 'server_busy'):.0%}",
                f"{results.middle(work.name, 'fingertrio', 'load_busy'):.0%}",
            ]
        )
        if not work.like:
            cells = [(work.name, peer) for peer in peers]
            absolute.append(
                [
                    work.name,
                    *(
                        f"{results.middle(*cell, 'cpu_per_query') * 1e6:.1f}" if cell in results.rounds else NOTHING
                        for cell in cells
                    ),
                ]
            )
    titles = [NAMES[peer] for peer in peers]
    return "\n\n".join(
        [
            table(["fingertrio's CPU per request", "us", *(f"x {title}" for title in titles)], cpu),
            table(["CPU per request, us", *titles], absolute),
            table(["fingertrio", "p99 x Twisted Web", "p99 ms", "requests/s", "server busy", "load busy"], speed),
        ]
    )


def remarks(results: Results, cores: Cores, machine: Machine) -> list[str]:
    """What a reader of the tables must know."""
    everything = [each for rounds in results.rounds.values() for each in rounds]
    others = [median(each.others[side] for each in everything) for side in (0, 1)] if everything else [0.0, 0.0]
    return [
        f"{machine}.",
        f"Servers on core {cores.server}, wrk with {CONNECTIONS} kept connections on core {cores.load}.",
        "CPU is user + system of all threads, from the process's CPU clock. fingertrio logs every request to a file.",
        "Bare ASGI and Quart run on stock Hypercorn with Trio; Uvicorn with uvloop and httptools.",
        "Idle connections: growth of resident memory after one request on each.",
        *_openssl_note(results),
        f"Other programs used {others[0]:.0%} of the servers' core and {others[1]:.0%} of the load's (medians).",
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.http", description="The HTTP door beside its peers.")
    names = [work.name for work in WORK]
    parser.add_argument("--only", nargs="+", metavar="ROW", choices=names, help=f"of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="a smoke run: one short round")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=1, help="of load a round and row; default: %(default)s")
    parser.add_argument("--write", action="store_true", help="put the report into docs/design/performance.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything that was measured")
    return parser.parse_args()


def main() -> int:
    """Measure and print; 1 if something could not be run, 0 otherwise, whatever the figures say."""
    arguments = _arguments()
    try:
        find_wrk()
    except UnavailableError as gap:
        print(f"- left out: {gap}")
        return 0
    until = time.monotonic() + BUDGET
    cores = Cores.choose()
    os.sched_setaffinity(0, {cores.load})
    raise_file_limit(FILES)
    rounds, seconds = (1, 1) if arguments.quick else (arguments.rounds, arguments.seconds)
    results = Results()
    with tempfile.TemporaryDirectory(prefix="fingertrio-bench-", ignore_cleanup_errors=True) as directory:
        wanted = set(arguments.only or [work.name for work in WORK])
        servers = Servers(Path(directory), cores)
        measure(servers, cores, results, wanted, rounds=rounds, seconds=seconds, until=until)
        if arguments.only is None and not arguments.quick:
            measure_memory(servers, results)
    machine = Machine.here(["fingertrio", "trio", "hypercorn", "quart", "twisted", "uvicorn", "starlette"])
    words = [f"- {remark}" for remark in remarks(results, cores, machine)]
    verdicts = [*map(str, goals(results)), *(f"- left out: {gap}" for gap in results.gaps)]
    report = "\n\n".join([tables(results), "\n".join(words), "\n".join(verdicts)])
    print(report)
    for problem in results.problems:
        print(f"- FAILED: {problem}")
    if arguments.quick:
        print("- a smoke run: these figures mean nothing")
    elif arguments.write and not results.problems:
        write_part("benchmarks.http", report)
    if arguments.json is not None:
        found = [
            {"row": row, "server": name, "rounds": [*map(asdict, each)]} for (row, name), each in results.rounds.items()
        ]
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    return 1 if results.problems else 0


if __name__ == "__main__":
    sys.exit(main())
