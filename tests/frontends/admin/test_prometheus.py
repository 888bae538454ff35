"""What Prometheus is shown, read by the parser of its own client."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fingertrio.frontends.admin.prometheus import Exposition
from fingertrio.observe.irc_numbers import NetworkNumbers
from fingertrio.observe.metrics import Condition, Metrics
from fingertrio.observe.webhook_numbers import WebhookNumbers

DOCUMENT = Path(__file__).parents[3] / "docs/reference/metrics.md"


@pytest.fixture
def metrics():
    """Of everything, at least one."""
    metrics = Metrics()
    metrics.queries.update({("finger", "ok"): 3, ("http", "unknown"): 1})
    for seconds in (0.000004, 0.00001, 0.3, 1000.0):
        metrics.query_seconds["finger"].observe(seconds)
    metrics.bytes_sent["finger"] = 48
    metrics.connected("http", 1)
    metrics.refused("finger", "rate")
    metrics.cache_hits, metrics.cache_joins, metrics.cache_misses = 5, 2, 1
    metrics.backend_call("get_user", "ok", 0.02)
    metrics.restarts["http"] = 1
    metrics.loop_late(0.3)
    metrics.events["warning"] = 2
    metrics.lines_lost = 7
    metrics.conditions["backend"] = Condition("down", essential=True, since=0.0)
    network = metrics.networks["libera"] = NetworkNumbers(registered=True, channels_in=1, channels_wanted=2)
    for counter in (network.connects, network.sent, network.dropped, network.announcements):
        counter["x"] += 1
    webhook = metrics.webhooks["team"] = WebhookNumbers(pending=3, clock=lambda: 100.0)
    webhook.succeeded()
    webhook.clock = lambda: 107.5
    webhook.attempts["delivered"] += 2
    webhook.unsent["replaced"] += 1
    return metrics


def samples(exposition):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(exposition.render().decode())
        for sample in family.samples
    }


def test_every_number_is_shown_under_its_name_and_labels(metrics):
    shown = samples(Exposition(metrics, version="1.2"))
    assert {
        ("fingertrio_build_info", "1.2"): 1,
        ("fingertrio_queries_total", "finger", "ok"): 3,
        ("fingertrio_queries_total", "http", "unknown"): 1,
        ("fingertrio_query_seconds_count", "finger"): 4,
        ("fingertrio_sent_bytes_total", "finger"): 48,
        ("fingertrio_connections", "http"): 1,
        ("fingertrio_refusals_total", "finger", "rate"): 1,
        ("fingertrio_cache_lookups_total", "hit"): 5,
        ("fingertrio_cache_lookups_total", "joined"): 2,
        ("fingertrio_cache_lookups_total", "miss"): 1,
        ("fingertrio_backend_calls_total", "get_user", "ok"): 1,
        ("fingertrio_backend_seconds_sum", "get_user"): 0.02,
        ("fingertrio_ready",): 0,
        ("fingertrio_degraded", "backend"): 1,
        ("fingertrio_restarts_total", "http"): 1,
        ("fingertrio_loop_late_seconds_count",): 1,
        ("fingertrio_loop_late_max_seconds",): 0.3,
        ("fingertrio_loop_stalls_total",): 1,
        ("fingertrio_log_events_total", "warning"): 2,
        ("fingertrio_log_lines_lost_total",): 7,
    }.items() <= shown.items()
    assert shown["process_open_fds",] > 0


def test_a_bucket_holds_all_that_took_no_longer(metrics):
    shown = samples(Exposition(metrics, version="1"))
    buckets = {le: shown["fingertrio_query_seconds_bucket", "finger", le] for le in ("1e-05", "0.25", "0.5", "+Inf")}
    assert buckets == {"1e-05": 2, "0.25": 2, "0.5": 3, "+Inf": 4}


def test_numbers_go_on_from_one_scrape_to_the_next_but_the_latest_lateness_starts_anew(metrics):
    exposition = Exposition(metrics, version="1")
    samples(exposition)
    metrics.queries["finger", "ok"] += 1
    shown = samples(exposition)
    assert shown["fingertrio_queries_total", "finger", "ok"] == 4
    assert shown["fingertrio_loop_late_max_seconds",] == 0.0


def test_a_program_that_has_just_started_can_be_shown():
    shown = samples(Exposition(Metrics(), version="1"))
    assert shown["fingertrio_ready",] == 1
    assert shown["fingertrio_cache_lookups_total", "miss"] == 0


def test_every_metric_has_its_row_in_the_document_and_every_row_its_metric(metrics):
    text = Exposition(metrics, version="1").render().decode()
    exported = set(re.findall("^# TYPE (fingertrio_[a-z_]+)", text, re.MULTILINE))
    documented = set(re.findall("^\\| `(fingertrio_[a-z_]+)`", DOCUMENT.read_text(), re.MULTILINE))
    assert exported == documented


def test_each_irc_network_has_its_series(metrics):
    found = samples(Exposition(metrics, version="1"))
    assert found["fingertrio_irc_registered", "libera"] == 1
    assert found["fingertrio_irc_channels", "libera", "in"] == 1
    assert found["fingertrio_irc_channels", "libera", "wanted"] == 2
    assert found["fingertrio_irc_dropped_total", "libera", "x"] == 1


def test_each_webhook_has_its_series(metrics):
    metrics.webhooks["silent"] = WebhookNumbers()
    found = samples(Exposition(metrics, version="1"))
    assert found["fingertrio_webhook_pending", "team"] == 3
    assert found["fingertrio_webhook_success_age_seconds", "team"] == 7.5
    assert ("fingertrio_webhook_success_age_seconds", "silent") not in found
    assert found["fingertrio_webhook_attempts_total", "delivered", "team"] == 2
    assert found["fingertrio_webhook_unsent_total", "replaced", "team"] == 1
