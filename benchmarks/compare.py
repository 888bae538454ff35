"""Two source trees side by side: is any figure worse than before by more than 3 %?

    python -m benchmarks.compare OLD [NEW] [--rounds 9] [--seconds 1.0] [--only CASE ...]

OLD and NEW (default: this tree) are checkouts with their package installed in .venv. Each runs as it is shipped, with
the same configuration, on the servers' core; the load runs on another core. A third server is OLD once more: its
figures differ from those of the first only by noise. Every round asks all three in turn, in another order each time, so
that slow changes of the machine cancel out. The figure is the CPU that the kernel charges the server for one request;
the verdict is on the median of the rounds' ratios.

The exit status is 1 if a figure is worse by more than LIMIT.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import setter, uncached
from benchmarks.finger import probe
from benchmarks.finger_servers import CASES, STATUS, Case, configuration
from benchmarks.generator import SETTLE, Load, load_generator
from benchmarks.harness import ROOT, BenchmarkError, Server, fingertrio_server, progress
from benchmarks.report import median_ratio, table
from fingertrio.testing.measure import Cores, Machine, busy_seconds, cpu_seconds, pinned

LIMIT = 1.03
WARM_UP = 0.5  # seconds of load before the rounds
HTTP_CLIENTS = 16
SET_CLIENTS = 64
NAMES = ("old", "new", "old again")

_DOORS = {
    "setter": {"listen": ["127.0.0.1:0"], "max_connections_per_address": 10_000},
    "http": {"listen": ["127.0.0.1:0"], "max_connections_per_address": 10_000},
}


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def _call() -> bytes:
    body = (
        b'<?xml version="1.0"?><methodCall><methodName>getUser</methodName>'
        b"<params><param><value><string>moshez</string></value></param></params></methodCall>"
    )
    head = f"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


HTTP_CASES = {
    "HTTP, JSON": (_get("/api/users/moshez"), STATUS.encode()),
    "HTTP, page": (_get("/moshez"), STATUS.encode()),
    "HTTP, list": (_get("/api/users"), b"user16"),
    "HTTP, XML-RPC": (_call(), STATUS.encode()),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one case on one server."""

    cpu: float  # seconds for one request
    p50: float
    p99: float


Measure = Callable[[Server, float], Measured]


def _finger(load: Load, case: Case) -> Measure:
    def measure(server: Server, seconds: float) -> Measured:
        expected = probe(server.port("finger"), case)
        done = load.run(server, door="finger", query=case.query, expected=expected, seconds=seconds)
        if done.failures:
            raise BenchmarkError(f"{server.name}, {case.name}: queries failed: {dict(done.failures)}")
        server.forget_log()
        return Measured(done.cpu_per_query, done.p50, done.p99)

    return measure


def _http(cores: Cores, request: bytes, expected: bytes) -> Measure:
    def measure(server: Server, seconds: float) -> Measured:
        words = [str(server.port("http")), str(HTTP_CLIENTS), str(seconds)]
        words += [json.dumps(each.decode("latin-1")) for each in (request, expected)]
        cpu = cpu_seconds(server.pid)
        with pinned(cores.load):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.http_load", *words],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + 60,
            )
        if done.returncode:
            raise BenchmarkError(f"the load on {server.name} failed: {done.stderr.strip()[-500:]}")
        time.sleep(SETTLE)
        cpu = cpu_seconds(server.pid) - cpu
        seen = json.loads(done.stdout)
        server.forget_log()
        return Measured(cpu / seen["done"], seen["p50"], seen["p99"])

    return measure


def _set(cores: Cores) -> Measure:
    def measure(server: Server, seconds: float) -> Measured:
        done = setter.measure(server, setter.CASES[0], cores, SET_CLIENTS, seconds)
        return Measured(done.cpu, done.p50, done.p99)

    return measure


def _servers(stack: ExitStack, directory: Path, trees: Sequence[Path], cores: Cores) -> dict[tuple[str, str], Server]:
    """By tree and kind: one with every door over memory, one whose queries all reach the backend, one over sqlite."""
    uncached.publish(directory)
    servers = {}
    for name, tree in zip(NAMES, trees, strict=True):
        configs: dict[str, dict[str, Any]] = {
            "memory": {**configuration(), **_DOORS},
            "uncached": {**configuration("uncached"), "service": {"cache_ttl": 0.0}},
            "sqlite": {
                "backend": {"use": "sqlite", "path": directory / f"{name}.db"},
                "setter": _DOORS["setter"],
            },
        }
        for kind, config in configs.items():
            server = fingertrio_server(
                f"{name}, {kind}",
                directory,
                config,
                core=cores.server,
                environ={"PYTHONPATH": str(directory)},
                command=[tree / ".venv/bin/python", "-P", "-m", "fingertrio"],
            )
            servers[name, kind] = stack.enter_context(server)
    return servers


def _cases(cores: Cores) -> dict[str, tuple[str, Measure]]:
    """By name: the kind of server, and how to measure it."""
    load = Load(load_generator(), cores)
    found: dict[str, tuple[str, Measure]] = {}
    for case in CASES:
        if case.server in ("fingertrio", "uncached"):
            kind = "memory" if case.server == "fingertrio" else "uncached"
            found[f"finger, {case.name}"] = kind, _finger(load, case)
    for name, (request, expected) in HTTP_CASES.items():
        found[name] = "memory", _http(cores, request, expected)
    found["set, sqlite"] = "sqlite", _set(cores)
    # Last, since it adds users to the list.
    found["set, memory"] = "memory", _set(cores)
    return found


Figures = dict[tuple[str, str], list[Measured]]  # by case and tree


def measure_all(
    trees: Sequence[Path], only: Sequence[str], *, rounds: int, seconds: float
) -> tuple[Figures, tuple[float, float]]:
    """Every case on every tree, and the share of both cores that other programs used."""
    cores = Cores.choose()
    figures: Figures = {}
    began, own = time.monotonic(), _cpu_of_this_run()
    busy = [busy_seconds(core) for core in (cores.server, cores.load)]
    with tempfile.TemporaryDirectory(prefix="fingertrio-compare-") as directory, ExitStack() as stack:
        servers = _servers(stack, Path(directory), trees, cores)
        for case, (kind, measure) in _cases(cores).items():
            if only and case not in only:
                continue
            for name in NAMES:
                measure(servers[name, kind], WARM_UP)
            for number in range(rounds):
                turn = number % len(NAMES)
                order = (NAMES[turn:] + NAMES[:turn])[:: -1 if number % 2 else 1]
                for name in order:
                    figures.setdefault((case, name), []).append(measure(servers[name, kind], seconds))
            progress(f"{case}: {_ratio(figures, case, 'new'):.3f}, old again {_ratio(figures, case, 'old again'):.3f}")
        used = _cpu_of_this_run() - own + sum(cpu_seconds(server.pid) for server in servers.values())
    elapsed = time.monotonic() - began
    total = sum(busy_seconds(core) - before for core, before in zip((cores.server, cores.load), busy, strict=True))
    return figures, (max(0.0, total - used) / elapsed / 2, elapsed)


def _cpu_of_this_run() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _ratio(figures: Figures, case: str, name: str) -> float:
    return median_ratio([one.cpu for one in figures[case, name]], [one.cpu for one in figures[case, "old"]])


def report(figures: Figures) -> tuple[str, list[str]]:
    """The table, and the cases that are worse by more than LIMIT."""
    rows, worse = [], []
    for case in dict.fromkeys(case for case, _ in figures):
        old, new = figures[case, "old"], figures[case, "new"]
        ratios = sorted(b.cpu / a.cpu for a, b in zip(old, new, strict=True))
        ratio = _ratio(figures, case, "new")
        if ratio > LIMIT:
            worse.append(case)
        rows.append(
            [
                case,
                f"{median(one.cpu for one in old) * 1e6:.1f}",
                f"{median(one.cpu for one in new) * 1e6:.1f}",
                f"{ratio:.3f}",
                f"{ratios[len(ratios) // 4]:.2f} to {ratios[-1 - len(ratios) // 4]:.2f}",
                f"{_ratio(figures, case, 'old again'):.3f}",
                f"{median(one.p50 for one in old) * 1e3:.2f}",
                f"{median(one.p50 for one in new) * 1e3:.2f}",
            ]
        )
    header = [
        "CPU for one request",
        "old, us",
        "new, us",
        "new / old",
        "quartiles",
        "old / old",
        "p50 old, ms",
        "new, ms",
    ]
    return table(header, rows), worse


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path, nargs="?", default=ROOT)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of load in each round of each case")
    parser.add_argument("--only", nargs="+", default=[], metavar="CASE")
    arguments = parser.parse_args()
    old, new = arguments.old.absolute(), arguments.new.absolute()
    figures, (others, elapsed) = measure_all(
        (old, new, old), arguments.only, rounds=arguments.rounds, seconds=arguments.seconds
    )
    text, worse = report(figures)
    print(f"{Machine.here(['trio'])}\n")
    print(text)
    print(
        f"\n- {arguments.rounds} rounds of {arguments.seconds:g} s; medians; ratios are medians of each round's ratio."
    )
    print('- "old / old" compares the old tree with itself: its distance from 1 is noise.')
    print(f"- Other programs used {others * 100:.0f} % of the two cores during the {elapsed:.0f} s.")
    print(f"- worse by more than {(LIMIT - 1) * 100:.0f} %: {', '.join(worse) or 'nothing'}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
