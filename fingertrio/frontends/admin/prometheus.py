"""The numbers in the words of Prometheus: what a scrape of /metrics gets.

The program counts in plain integers (`fingertrio.observe.metrics`). A scrape turns them into families of metrics here
and drops them again. docs/reference/metrics.md has a row for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fingertrio.observe.metrics import BOUNDS, Histogram, Metrics

# The format that every Prometheus reads, whatever newer ones it says that it would accept.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LE = [*(str(bound) for bound in BOUNDS), "+Inf"]


class Exposition:
    """Everything that /metrics shows: our numbers, and what the kernel says of the process."""

    def __init__(self, metrics: Metrics, *, version: str) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Numbers(metrics, version))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """The text, in the format that `CONTENT_TYPE` names."""
        return generate_latest(self._registry)


class _Numbers(Collector):
    def __init__(self, metrics: Metrics, version: str) -> None:
        self._metrics = metrics
        self._version = version

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("fingertrio_build", "What is running", {"version": self._version})
        yield from self._doors()
        yield from self._backend()
        yield from self._program()

    def _doors(self) -> Iterator[Metric]:
        metrics = self._metrics
        yield _counter("fingertrio_queries", "Questions answered", ("door", "outcome"), metrics.queries)
        yield _histogram(
            "fingertrio_query_seconds", "From the first byte seen to the answer sent", "door", metrics.query_seconds
        )
        yield _counter("fingertrio_sent_bytes", "Bytes of answers", ("door",), metrics.bytes_sent)
        yield _gauge("fingertrio_connections", "Connections that are open", ("door",), metrics.connections)
        yield _counter("fingertrio_refusals", "What a limit kept out or ended", ("door", "reason"), metrics.refusals)

    def _backend(self) -> Iterator[Metric]:
        metrics = self._metrics
        found = {"hit": metrics.cache_hits, "joined": metrics.cache_joins, "miss": metrics.cache_misses}
        yield _counter("fingertrio_cache_lookups", "Where answers came from", ("result",), found)
        yield _counter(
            "fingertrio_backend_calls", "Calls to the backend", ("operation", "outcome"), metrics.backend_calls
        )
        yield _histogram(
            "fingertrio_backend_seconds", "How long the backend took", "operation", metrics.backend_seconds
        )

    def _program(self) -> Iterator[Metric]:
        metrics = self._metrics
        yield GaugeMetricFamily("fingertrio_ready", "Whether questions are answered, as /readyz says", metrics.ready)
        degraded = dict.fromkeys(metrics.conditions, 1)
        yield _gauge("fingertrio_degraded", "1 for each thing that is not as it should be", ("what",), degraded)
        yield _counter(
            "fingertrio_restarts", "Front ends that failed and were started again", ("task",), metrics.restarts
        )
        yield HistogramMetricFamily(
            "fingertrio_loop_late_seconds", "How late the event loop is", *_shape(metrics.loop_lateness)
        )
        yield GaugeMetricFamily(
            "fingertrio_loop_late_max_seconds", "The latest it was since the last scrape", metrics.take_loop_latest()
        )
        yield CounterMetricFamily(
            "fingertrio_loop_stalls", "Times that it was more than 0.1 s late", metrics.loop_stalls
        )
        yield _counter("fingertrio_log_events", "Warnings and errors", ("level",), metrics.events)
        yield CounterMetricFamily(
            "fingertrio_log_lines_lost", "Lines of the log that could not be written", metrics.lines_lost
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
    """Prometheus's buckets hold those below them too."""
    return list(zip(_LE, accumulate(histogram.counts), strict=True)), histogram.sum
