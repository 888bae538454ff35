"""The finger door beside its peers: `make bench`, or `python -m benchmarks.finger` from the checkout.

Every server is one process on one core, the load another on another core, all on loopback. What is compared first of
all is the CPU that the kernel charges a server for one query, for it depends least on how fast the load comes; latency
and throughput, with 64 connections in flight, come second. Each round asks all servers in turn, the next one in
another order; the figures are medians over the rounds, ratios are medians of each round's ratio.

fingertrio runs as it is shipped: its log (one line a query), its limits and its metrics at their defaults. No peer
logs (but for one row of Go's), limits or counts anything.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.finger_report import Results, as_json, goals, remarks, tables
from benchmarks.finger_servers import ANSWER, CASES, DOOR, PEERS, QUERY, Case, Servers
from benchmarks.generator import Load, Round, load_generator
from benchmarks.harness import FAILURES, BenchmarkError, Server, UnavailableError, progress
from benchmarks.idle import measure_idle
from benchmarks.page import write_part
from fingertrio.testing.measure import Cores, Machine, raise_file_limit

WARM_UP = 0.2  # seconds of load before the rounds: first answers fill caches, interpreters specialise their bytecode
BUDGET = 225.0  # seconds; no new round begins when it would end later
FILES = 24_000  # descriptors for a server with 10,000 idle connections, and to spare
IDLE = "idle"

# Two kinds of idle connection. Those that say nothing never leave the kernel where TCP_DEFER_ACCEPT is on; those that
# have begun a query are what every server has to hold.
SILENT = b""
DRIBBLE = b"m"


def ask(port: int, query: bytes) -> bytes:
    """One query, by hand."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(query)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def probe(port: int, case: Case) -> bytes:
    """What the answer to a case's query is, to the byte: asked twice, since the second may come from another place.

    Raises:
        BenchmarkError: the answers differ, or are not what the case is about.
    """
    query = case.query.replace(b"#", b"0")
    first, second = ask(port, query), ask(port, query)
    if first != second or case.holds not in first:
        raise BenchmarkError(f"{case.query!r} was answered {first!r}, then {second!r}")
    return first


def measure_rounds(
    servers: Servers, load: Load, cases: Sequence[Case], results: Results, *, rounds: int, seconds: float, until: float
) -> None:
    """All servers up at once, asked in turn, round after round."""
    with ExitStack() as stack:
        running: dict[str, Server] = {}
        expected: dict[str, bytes] = {}
        for case in cases:
            try:
                if case.server not in running:
                    running[case.server] = stack.enter_context(servers.make(case.server))
                port = running[case.server].port(DOOR)
                expected[case.name] = probe(port, case)
                _load(load, running[case.server], case, expected[case.name], WARM_UP)
            except UnavailableError as gap:
                results.gaps.append(f"{case.name}: {gap}")
            except FAILURES as error:
                results.problems.append(f"{case.name}: {error}")
                expected.pop(case.name, None)
        able = [case for case in cases if case.name in expected]
        for number in range(rounds if able else 0):
            if time.monotonic() + len(able) * (seconds + 0.3) > until:
                results.gaps.append(f"only {number} of {rounds} rounds: the time was up")
                break
            progress(f"round {number + 1} of {rounds}: {', '.join(case.name for case in able)}")
            start = number * len(able) // rounds
            order = (able[start:] + able[:start])[:: -1 if number % 2 else 1]
            failed = _one_round(load, order, running, expected, results, seconds)
            able = [case for case in able if case.name not in failed]


def _one_round(
    load: Load,
    order: Sequence[Case],
    running: Mapping[str, Server],
    expected: Mapping[str, bytes],
    results: Results,
    seconds: float,
) -> set[str]:
    """Measure every case once; returns the cases that failed, which are no longer in the results."""
    failed = set()
    for case in order:
        server = running[case.server]
        try:
            done = _load(load, server, case, expected[case.name], seconds)
        except FAILURES as error:
            results.problems.append(f"{case.name}: {error}")
            results.rounds.pop(case.name, None)
            failed.add(case.name)
            continue
        if done.failures:
            results.problems.append(f"{case.name}: of {done.queries} queries failed: {dict(done.failures)}")
        results.rounds.setdefault(case.name, []).append(done)
    return failed


def _load(load: Load, server: Server, case: Case, expected: bytes, seconds: float) -> Round:
    server.forget_log()
    return load.run(server, door=DOOR, query=case.query, expected=expected, seconds=seconds)


def measure_all_idle(
    servers: Servers, load: Load, names: Sequence[str], results: Results, *, count: int, until: float
) -> None:
    """Each server alone and fresh, since memory that was used before would hide what it takes."""
    for name in names:
        for kind, prefix in (("silent", SILENT), ("one byte", DRIBBLE)):
            if kind == "silent" and name != "fingertrio":
                continue  # the others accept whatever comes: it is the same to them, and to the floor, without memory
            if time.monotonic() + 9 > until:
                results.gaps.append(f"{name} with idle connections: the time was up")
                continue
            progress(f"{count} idle connections ({kind}): {name}")
            try:
                with servers.make(name) as server:
                    idle = measure_idle(
                        load, server, door=DOOR, count=count, prefix=prefix, query=QUERY, expected=ANSWER
                    )
            except UnavailableError as gap:
                results.gaps.append(f"{name} with idle connections: {gap}")
            except FAILURES as error:
                results.problems.append(f"{name} with idle connections: {error}")
            else:
                results.idle[name, kind] = idle
                if idle.failures:
                    results.problems.append(f"{name} with idle connections: {idle.failures} queries failed")
                if idle.count < count or idle.still_open < idle.count:
                    results.problems.append(
                        f"{name} with idle connections: of {count}, {idle.count} were established and "
                        f"{idle.still_open} still open after {idle.seconds:.1f} s"
                    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.finger", description="The finger door beside its peers.")
    names = [*(case.name for case in CASES), IDLE]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=f"of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="a smoke run: one short round, 1,000 idle connections")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="of load a round and row; default: %(default)s")
    parser.add_argument("--write", action="store_true", help="put the report into docs/design/performance.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything that was measured")
    return parser.parse_args()


def main() -> int:
    """Measure and print; 1 if something could not be run, 0 otherwise, whatever the figures say."""
    arguments = _arguments()
    until = time.monotonic() + BUDGET
    cores = Cores.choose()
    os.sched_setaffinity(0, {cores.load})
    files = raise_file_limit(FILES)
    wanted = set(arguments.only or [*(case.name for case in CASES), IDLE])
    rounds, seconds, idle_count = (1, 0.2, 1000) if arguments.quick else (arguments.rounds, arguments.seconds, 10_000)
    idle_count = min(idle_count, files - 1000)
    results = Results()
    with tempfile.TemporaryDirectory(prefix="fingertrio-bench-") as directory:
        servers = Servers(Path(directory), cores)
        load = Load(load_generator(), cores)
        cases = [case for case in CASES if case.name in wanted]
        measure_rounds(servers, load, cases, results, rounds=rounds, seconds=seconds, until=until)
        if IDLE in wanted:
            only = [peer for peer in PEERS if arguments.only is None or peer in wanted]
            measure_all_idle(servers, load, ["fingertrio", *only], results, count=idle_count, until=until)
    machine = Machine.here(["fingertrio", "trio", "twisted"])
    words = [f"- {remark}" for remark in remarks(results, cores, machine)]
    verdicts = [*map(str, goals(results)), *(f"- left out: {gap}" for gap in results.gaps)]
    report = "\n\n".join([tables(results), "\n".join(words), "\n".join(verdicts)])
    print(report)
    for problem in results.problems:
        print(f"- FAILED: {problem}")
    if arguments.quick:
        print("- a smoke run: these figures mean nothing")
    elif arguments.write and not results.problems:
        write_part("benchmarks.finger", report)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(as_json(results, machine, cores), indent=1) + "\n")
    return 1 if results.problems else 0


if __name__ == "__main__":
    sys.exit(main())
