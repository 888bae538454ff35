"""The metrics in Prometheus's text format, as returned by /metrics.

The program counts in plain integers (`fingertrio.observe.metrics`). Each scrape converts them to metric families.
docs/reference/metrics.md has a row for each metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fingertrio.frontends.admin.prometheus_irc import irc_families
from fingertrio.frontends.admin.prometheus_webhook import webhook_families
from fingertrio.observe.metrics import BOUNDS, Histogram, Metrics

# The format that every version of Prometheus reads; newer formats are optional.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LE = [*(str(bound) for bound in BOUNDS), "+Inf"]


class Exposition:
    """Everything that /metrics shows: our metrics, and the kernel's data about the process."""

    def __init__(self, metrics: Metrics, *, version: str) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Numbers(metrics, version))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """The text, in the format of `CONTENT_TYPE`."""
        return generate_latest(self._registry)


class _Numbers(Collector):
    def __init__(self, metrics: Metrics, version: str) -> None:
        self._metrics = metrics
        self._version = version

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("fingertrio_build", "The version that is running", {"version": self._version})
        yield from self._doors()
        yield from self._backend()
        yield from self._program()
        if self._metrics.networks:
            yield from irc_families(self._metrics.networks)
        if self._metrics.webhooks:
            yield from webhook_families(self._metrics.webhooks)

    def _doors(self) -> Iterator[Metric]:
        metrics = self._metrics
        yield _counter("fingertrio_queries", "Queries answered", ("door", "outcome"), metrics.queries)
        yield _histogram(
            "fingertrio_query_seconds",
            "Time from the first byte received to the answer sent",
            "door",
            metrics.query_seconds,
        )
        yield _counter("fingertrio_sent_bytes", "Bytes of answers", ("door",), metrics.bytes_sent)
        yield _gauge("fingertrio_connections", "Open connections", ("door",), metrics.connections)
        yield _counter(
            "fingertrio_refusals",
            "Connections and requests that a limit refused or ended",
            ("door", "reason"),
            metrics.refusals,
        )

    def _backend(self) -> Iterator[Metric]:
        metrics = self._metrics
        found = {"hit": metrics.cache_hits, "joined": metrics.cache_joins, "miss": metrics.cache_misses}
        yield _counter("fingertrio_cache_lookups", "Cache lookups by result", ("result",), found)
        yield _counter(
            "fingertrio_backend_calls", "Calls to the backend", ("operation", "outcome"), metrics.backend_calls
        )
        yield _histogram(
            "fingertrio_backend_seconds", "Duration of backend calls", "operation", metrics.backend_seconds
        )

    def _program(self) -> Iterator[Metric]:
        metrics = self._metrics
        yield GaugeMetricFamily("fingertrio_ready", "Whether queries are answered, as in /readyz", metrics.ready)
        degraded = dict.fromkeys(metrics.conditions, 1)
        yield _gauge("fingertrio_degraded", "1 for each condition that is degraded", ("what",), degraded)
        yield _counter("fingertrio_restarts", "Front ends that failed and were restarted", ("task",), metrics.restarts)
        yield HistogramMetricFamily(
            "fingertrio_loop_late_seconds", "Delay of the event loop", *_shape(metrics.loop_lateness)
        )
        yield GaugeMetricFamily(
            "fingertrio_loop_late_max_seconds",
            "Longest delay of the event loop since the last scrape",
            metrics.take_loop_latest(),
        )
        yield CounterMetricFamily("fingertrio_loop_stalls", "Delays of the event loop over 0.1 s", metrics.loop_stalls)
        yield _counter("fingertrio_log_events", "Warnings and errors", ("level",), metrics.events)
        yield CounterMetricFamily(
            "fingertrio_log_lines_lost", "Log lines that could not be written", metrics.lines_lost
        )


_Labelled = Mapping[str, int] | Mapping[tuple[str, str], int]


def _counter(name: str, text: str, labels: tuple[str, ...], values: _Labelled) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric((key,) if isinstance(key, str) else key, value)
    return family


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _histogram(name: str, text: str, label: str, histograms: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=(label,))
    for key, histogram in histograms.items():
        family.add_metric((key,), *_shape(histogram))
    return family


def _shape(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Prometheus's buckets are cumulative."""
    return list(zip(_LE, accumulate(histogram.counts), strict=True)), histogram.sum
