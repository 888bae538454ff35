"""Counters, histograms and conditions, cheap enough for the express lane, which counts every query.

A counter is an entry of a dict or an attribute, a histogram a list of integers. The output format is the reader's
business (`frontends/admin/prometheus.py`). Only the event loop's thread counts, so nothing is locked. Label values are
our own words (doors, outcomes, reasons), so a client cannot create one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass

from fingertrio.observe.irc_numbers import NetworkNumbers
from fingertrio.observe.webhook_numbers import WebhookNumbers

# Upper bounds in seconds, from an answer in memory to the longest deadline, three per decade: a percentile computed
# from them is wrong by a factor of 2.5 at most.
BOUNDS = (*(float(f"{digit}e{power}") for power in range(-5, 1) for digit in (1, 2.5, 5)), 10.0, 30.0)

# Seconds of event loop lateness that count as a stall: a delay that a person notices.
STALL = 0.1


class Histogram:
    """Counts of durations by bucket, and their sum."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)  # not cumulative; the last bucket has no upper bound
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration. A duration equal to a bound belongs to that bound's bucket."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


@dataclass(slots=True)
class Condition:
    """An ongoing degraded condition.

    Attributes:
        reason: text for the operator.
        essential: whether queries fail because of it.
        since: when it began, by the observer's clock.
        times: how often it has been reported.
        logged: whether the log has a line about it.
    """

    reason: str
    essential: bool
    since: float
    times: int = 0
    logged: bool = False


class Metrics:
    """All numbers of one program since its start, and its current conditions."""

    def __init__(self) -> None:
        self.queries: Counter[tuple[str, str]] = Counter()  # (door, outcome)
        self.query_seconds: defaultdict[str, Histogram] = defaultdict(Histogram)  # by door
        self.bytes_sent: Counter[str] = Counter()  # by door
        self.connections: Counter[str] = Counter()  # open now, by door
        self.refusals: Counter[tuple[str, str]] = Counter()  # (door, reason)
        self.cache_hits = 0  # answers found in memory
        self.cache_joins = 0  # answers that came from a call already under way
        self.cache_misses = 0  # answers that needed a call to the backend
        self.backend_calls: Counter[tuple[str, str]] = Counter()  # (operation, outcome)
        self.backend_seconds: defaultdict[str, Histogram] = defaultdict(Histogram)  # by operation
        self.restarts: Counter[str] = Counter()  # by task
        self.loop_lateness = Histogram()
        self.loop_latest = 0.0  # the maximum since the last `take_loop_latest`
        self.loop_stalls = 0
        self.events = Counter({"warning": 0, "error": 0})  # reported, by level
        self.lines_lost = 0  # log lines dropped because the log could not be written
        self.conditions: dict[str, Condition] = {}  # by the name of what is degraded
        self.networks: dict[str, NetworkNumbers] = {}  # of IRC, by the name in the configuration
        self.webhooks: dict[str, WebhookNumbers] = {}  # by the name in the configuration

    @property
    def ready(self) -> bool:
        """Whether queries are answered, as far as is known."""
        return not any(condition.essential for condition in self.conditions.values())

    def connected(self, door: str, change: int) -> None:
        """A connection was opened (1) or closed (-1)."""
        self.connections[door] += change

    def refused(self, door: str, reason: str) -> None:
        """A limit refused or ended something."""
        self.refusals[door, reason] += 1

    def backend_call(self, operation: str, outcome: str, seconds: float) -> None:
        """A backend call ended as "ok", "error", "deadline" or "cancelled" after `seconds`."""
        self.backend_calls[operation, outcome] += 1
        self.backend_seconds[operation].observe(seconds)

    def loop_late(self, seconds: float) -> None:
        """The event loop woke `seconds` late."""
        self.loop_lateness.observe(seconds)
        self.loop_latest = max(self.loop_latest, seconds)
        self.loop_stalls += seconds > STALL

    def take_loop_latest(self) -> float:
        """Return the greatest lateness since the previous call."""
        latest, self.loop_latest = self.loop_latest, 0.0
        return latest
