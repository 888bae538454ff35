"""The numbers: what is counted and timed, kept so plainly that counting is nearly free.

The express lane counts every query, so a count is an entry of a dict or an attribute, and a histogram a list of
integers. Nothing here knows who reads them or in which format; `frontends/admin/prometheus.py` is one reader. There is
one event loop and no thread that counts, so nothing is locked. Labels are words of ours (doors, outcomes, reasons),
never a client's, so no client can add one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass

# Upper bounds in seconds, from an answer out of memory to the longest deadline, three in each decade: a percentile read
# off them is at most a factor of two and a half away from the truth.
BOUNDS = (*(float(f"{digit}e{power}") for power in range(-5, 1) for digit in (1, 2.5, 5)), 10.0, 30.0)

# Seconds that the event loop may be late before it counts as a stall: what a person begins to feel.
STALL = 0.1


class Histogram:
    """How often which durations occurred, and their sum."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)  # each bound's own, not those below it too; the last has no bound
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """One more. A duration that equals a bound belongs to it."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


@dataclass(slots=True)
class Condition:
    """Something that is not as it should be, and goes on.

    Attributes:
        reason: in words, for the operator.
        essential: whether questions go unanswered because of it.
        since: when it began, by the observer's clock.
        times: how often it has been reported.
        told: whether the log has heard of it.
    """

    reason: str
    essential: bool
    since: float
    times: int = 0
    told: bool = False


class Metrics:
    """All numbers of one program since it started, and the conditions that it is in."""

    def __init__(self) -> None:
        self.queries: Counter[tuple[str, str]] = Counter()  # (door, outcome)
        self.query_seconds: defaultdict[str, Histogram] = defaultdict(Histogram)  # by door
        self.bytes_sent: Counter[str] = Counter()  # by door
        self.connections: Counter[str] = Counter()  # open now, by door
        self.refusals: Counter[tuple[str, str]] = Counter()  # (door, reason)
        self.cache_hits = 0  # answers that were in memory
        self.cache_joins = 0  # answers waited for while somebody else's call brought them
        self.cache_misses = 0  # answers that the backend was asked for
        self.backend_calls: Counter[tuple[str, str]] = Counter()  # (operation, outcome)
        self.backend_seconds: defaultdict[str, Histogram] = defaultdict(Histogram)  # by operation
        self.restarts: Counter[str] = Counter()  # by task
        self.loop_lateness = Histogram()
        self.loop_latest = 0.0  # the greatest lateness since it was last taken
        self.loop_stalls = 0
        self.events = Counter({"warning": 0, "error": 0})  # reported, by level
        self.lines_lost = 0  # lines of the log that could not be written
        self.conditions: dict[str, Condition] = {}  # by what is in it

    @property
    def ready(self) -> bool:
        """Whether questions are answered, as far as is known."""
        return not any(condition.essential for condition in self.conditions.values())

    def connected(self, door: str, change: int) -> None:
        """One connection more (1) or less (-1) is open."""
        self.connections[door] += change

    def refused(self, door: str, reason: str) -> None:
        """A limit acted."""
        self.refusals[door, reason] += 1

    def backend_call(self, operation: str, outcome: str, seconds: float) -> None:
        """The service asked the backend: "ok", "error", "deadline" or "cancelled", in `seconds`."""
        self.backend_calls[operation, outcome] += 1
        self.backend_seconds[operation].observe(seconds)

    def loop_late(self, seconds: float) -> None:
        """The event loop came so much later than it should have."""
        self.loop_lateness.observe(seconds)
        self.loop_latest = max(self.loop_latest, seconds)
        self.loop_stalls += seconds > STALL

    def take_loop_latest(self) -> float:
        """The greatest lateness since this was called last."""
        latest, self.loop_latest = self.loop_latest, 0.0
        return latest
