"""The metrics of the webhooks, for `prometheus`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from fingertrio.observe.webhook_numbers import WebhookNumbers


def webhook_families(webhooks: Mapping[str, WebhookNumbers]) -> Iterator[Metric]:
    """All metrics of the webhooks, by name."""
    pending = GaugeMetricFamily("fingertrio_webhook_pending", "Messages that wait", labels=("webhook",))
    since = GaugeMetricFamily(
        "fingertrio_webhook_success_age_seconds", "Time since the receiver accepted a message", labels=("webhook",)
    )
    attempts = CounterMetricFamily("fingertrio_webhook_attempts", "Requests sent", labels=("webhook", "outcome"))
    unsent = CounterMetricFamily("fingertrio_webhook_unsent", "Messages not delivered", labels=("webhook", "reason"))
    for name, numbers in webhooks.items():
        pending.add_metric((name,), numbers.pending)
        if (age := numbers.since_success()) is not None:
            since.add_metric((name,), age)
        for outcome, number in numbers.attempts.items():
            attempts.add_metric((name, outcome), number)
        for reason, number in numbers.unsent.items():
            unsent.add_metric((name, reason), number)
    yield from (pending, since, attempts, unsent)
