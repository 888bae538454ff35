"""The metrics of the IRC networks, for `prometheus`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from fingertrio.observe.irc_numbers import NetworkNumbers

_GAUGES: tuple[tuple[str, str, Callable[[NetworkNumbers], float]], ...] = (
    ("registered", "1 while the server has welcomed the bot", lambda numbers: numbers.registered),
    ("nick_wished", "1 while the bot has the nick that it wants", lambda numbers: numbers.nick_wished),
    ("logged_in", "1 while the bot is logged in to its account", lambda numbers: numbers.logged_in),
    ("lag_seconds", "Time from the last PING to its answer", lambda numbers: numbers.lag),
    ("queue_lines", "Lines of answers that wait", lambda numbers: numbers.queue_lines),
)
_COUNTERS = (
    ("connects", "outcome", "Attempts to connect"),
    ("sent", "kind", "Lines sent"),
    ("dropped", "reason", "Questions and answers that came to nothing"),
    ("announcements", "outcome", "Changes that channels hear of, or do not"),
)


def irc_families(networks: Mapping[str, NetworkNumbers]) -> Iterator[Metric]:
    """All metrics of the networks, by name."""
    for name, text, value in _GAUGES:
        family = GaugeMetricFamily(f"fingertrio_irc_{name}", text, labels=("network",))
        for network, numbers in networks.items():
            family.add_metric((network,), value(numbers))
        yield family
    channels = GaugeMetricFamily("fingertrio_irc_channels", "Channels by state", labels=("network", "state"))
    for network, numbers in networks.items():
        channels.add_metric((network, "in"), numbers.channels_in)
        channels.add_metric((network, "wanted"), numbers.channels_wanted)
    yield channels
    for name, label, text in _COUNTERS:
        counter = CounterMetricFamily(f"fingertrio_irc_{name}", text, labels=("network", label))
        for network, numbers in networks.items():
            for key, number in getattr(numbers, name).items():
                counter.add_metric((network, key), number)
        yield counter
