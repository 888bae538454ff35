"""The report of the finger benchmark: its tables, remarks and goals."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.finger_servers import CASES, NAMES, PEERS
from benchmarks.generator import Round
from benchmarks.idle import Idle
from benchmarks.report import NOTHING, Goal, median, median_ratio, table
from fingertrio.testing.measure import Cores, Machine

SATURATED = 0.9  # share of a core above which it limits the throughput
QUIET = (
    0.1  # share of a core that others may use; starting a generator for each round takes a few hundredths of its own
)


@dataclass(slots=True)
class Results:
    """The results of a run."""

    rounds: dict[str, list[Round]] = field(default_factory=dict)  # by case
    idle: dict[tuple[str, str], Idle] = field(default_factory=dict)  # by server and kind
    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    def ratio(self, case: str, other: str, what: str = "cpu_per_query") -> float | None:
        """A case divided by another; None if one of them was not measured."""
        if not self.rounds.get(case) or not self.rounds.get(other):
            return None
        mine, theirs = ([getattr(each, what) for each in self.rounds[name]] for name in (case, other))
        return median_ratio(mine, theirs)

    def middle(self, case: str, what: str) -> float:
        return median(getattr(each, what) for each in self.rounds[case])


def goals(results: Results) -> list[Goal]:
    """The goals of the finger door."""
    ours = [idle for (name, _), idle in results.idle.items() if name == "fingertrio"]
    return [
        Goal("CPU per query, hit, against the C floor", 1.6, results.ratio("hit", "floor")),
        Goal("CPU per query, hit, against Twisted", 0.5, results.ratio("hit", "twisted")),
        Goal("CPU per query, hit, both with a log, against Go", 1.0, results.ratio("hit", "go log")),
        Goal("CPU per query, hit, neither with a log, against Go", 1.0, results.ratio("quiet", "go")),
        Goal("p99, hit, against Twisted", 1.0, results.ratio("hit", "twisted", "p99")),
        Goal("CPU per query, first for a name, memory, against a hit", 1.3, results.ratio("cold", "hit")),
        Goal("CPU per query, first for a name, file, against a hit", 1.3, results.ratio("cold file", "hit")),
        Goal("CPU per query, cache miss, against plain trio", 1.15, results.ratio("miss", "trio")),
        Goal(
            "memory for each idle connection",
            8.0,
            max((idle.bytes_each / 1024 for idle in ours), default=None),
            unit="KiB",
        ),
        Goal("p99 with idle connections, against p99 without", 3.0, max((i.slowdown for i in ours), default=None)),
    ]


def _ratio(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _bound(results: Results, case: str) -> str:
    server, load = (results.middle(case, side) >= SATURATED for side in ("server_busy", "load_busy"))
    if server:
        return "both" if load else "server"
    return "load" if load else "neither"


def tables(results: Results) -> str:
    """The Markdown of a run."""
    cases = [case.name for case in CASES if case.name in results.rounds]
    parts = []
    if cases:
        cpu = table(
            ["CPU per query", *(f"x {NAMES[peer]}" for peer in PEERS), "us"],
            [
                [
                    NAMES[case],
                    *(_ratio(results.ratio(case, peer)) for peer in PEERS),
                    f"{results.middle(case, 'cpu_per_query') * 1e6:.1f}",
                ]
                for case in cases
            ],
        )
        speed = table(
            ["In flight: 64", "p99 x Twisted", "p99 ms", "p50 ms", "queries/s", "server busy", "load busy", "bound by"],
            [
                [
                    NAMES[case],
                    _ratio(results.ratio(case, "twisted", "p99")),
                    f"{results.middle(case, 'p99') * 1e3:.2f}",
                    f"{results.middle(case, 'p50') * 1e3:.2f}",
                    f"{results.middle(case, 'rate'):.0f}",
                    f"{results.middle(case, 'server_busy'):.0%}",
                    f"{results.middle(case, 'load_busy'):.0%}",
                    _bound(results, case),
                ]
                for case in cases
            ],
        )
        parts += [cpu, speed]
    if results.idle:
        parts.append(
            table(
                ["Idle connections", "count", "accepted", "bytes each", "p99 x", "p99 ms", "opened in s", "open after"],
                [
                    [
                        f"{NAMES.get(name, name)}, {kind}",
                        str(idle.count),
                        str(idle.seen),
                        f"{idle.bytes_each:.0f}",
                        f"{idle.slowdown:.2f}",
                        f"{idle.p99_meanwhile * 1e3:.2f}",
                        f"{idle.opening:.1f}",
                        f"{idle.seconds:.1f} s",
                    ]
                    for (name, kind), idle in results.idle.items()
                ],
            )
        )
    return "\n\n".join(parts)


def remarks(results: Results, cores: Cores, machine: Machine) -> list[str]:
    """What a reader of the tables must know."""
    found = [
        f"{machine}.",
        f"Servers on core {cores.server}, load on core {cores.load}. Go sees one core, so that GOMAXPROCS is 1.",
        "Every listener has a backlog of 4096; the floor's has TCP_DEFER_ACCEPT, as fingertrio's has.",
        "CPU is user + system of all threads, from the process's CPU clock.",
        "fingertrio logs every query to a file, but for the row that says otherwise.",
    ]
    if cores.shared:
        found.append("THERE IS ONLY ONE CORE: server and load shared it, so latency and throughput mean little.")
    bounded = [NAMES[case] for case in results.rounds if _bound(results, case) == "load"]
    if bounded:
        found.append(
            f"THE LOAD GENERATOR IS THE BOTTLENECK for: {', '.join(bounded)}. These servers can do more than is shown, "
            "their latency is the generator's, and their CPU per query may contain wake-ups that a server without "
            "pauses would not need."
        )
    everything = [each for rounds in results.rounds.values() for each in rounds]
    if everything:
        others = [median(each.others[side] for each in everything) for side in (0, 1)]
        found.append(
            f"Other programs used {others[0]:.0%} of the servers' core and {others[1]:.0%} of the load's (medians)"
            + ("." if max(others) < QUIET else ": THE MACHINE WAS NOT QUIET.")
        )
    if results.idle:
        found.append(
            "Idle connections: growth of the server's resident memory. Kernel memory, some kilobytes for each socket, "
            "belongs to no process. Connections that had sent one byte were measured, and counted again, before any "
            "server's deadline. With TCP_DEFER_ACCEPT, silent ones stay in the kernel; those that exceed its queue "
            "(net.core.somaxconn) arrive as SYN cookies, and the server must hold them."
        )
    return found


def as_json(results: Results, machine: Machine, cores: Cores) -> dict[str, Any]:
    """All results, for other programs."""
    return {
        "machine": asdict(machine),
        "cores": asdict(cores),
        "rounds": {case: [asdict(each) for each in rounds] for case, rounds in results.rounds.items()},
        "idle": {f"{name}, {kind}": asdict(idle) for (name, kind), idle in results.idle.items()},
        "goals": [{**asdict(goal), "reached": goal.reached} for goal in goals(results)],
        "gaps": results.gaps,
        "problems": results.problems,
    }
