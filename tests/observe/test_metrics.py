"""The numbers: plain, and right at the edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.observe.metrics import BOUNDS, STALL, Condition, Histogram, Metrics


def test_bounds_rise_and_have_no_doubles():
    assert list(BOUNDS) == sorted(set(BOUNDS))
    assert (BOUNDS[0], BOUNDS[-1]) == (1e-5, 30.0)


@given(st.floats(0, 100))
def test_a_duration_is_counted_at_the_first_bound_that_is_not_below_it(seconds):
    histogram = Histogram()
    histogram.observe(seconds)
    place = histogram.counts.index(1)
    assert sum(histogram.counts) == 1
    assert place == len(BOUNDS) or seconds <= BOUNDS[place]
    assert place == 0 or seconds > BOUNDS[place - 1]
    assert histogram.sum == seconds


def test_a_call_to_the_backend_is_counted_by_outcome_and_timed_by_operation():
    metrics = Metrics()
    metrics.backend_call("get_user", "ok", 0.25)
    metrics.backend_call("get_user", "error", 0.5)
    assert metrics.backend_calls == {("get_user", "ok"): 1, ("get_user", "error"): 1}
    assert metrics.backend_seconds["get_user"].sum == 0.75


def test_connections_come_and_go():
    metrics = Metrics()
    for change in (1, 1, -1):
        metrics.connected("http", change)
    assert metrics.connections["http"] == 1


@pytest.mark.parametrize(("seconds", "stalls"), [(0.0, 0), (STALL, 0), (STALL * 1.01, 1), (60.0, 1)])
def test_the_loop_stalls_when_it_is_later_than_a_tenth_of_a_second(seconds, stalls):
    metrics = Metrics()
    metrics.loop_late(seconds)
    assert metrics.loop_stalls == stalls
    assert sum(metrics.loop_lateness.counts) == 1


def test_the_greatest_lateness_is_that_since_it_was_last_asked_for():
    metrics = Metrics()
    for seconds in (0.1, 0.3, 0.2):
        metrics.loop_late(seconds)
    assert metrics.take_loop_latest() == 0.3
    assert metrics.take_loop_latest() == 0.0
    metrics.loop_late(0.05)
    assert metrics.take_loop_latest() == 0.05


def test_it_is_ready_unless_something_essential_is_degraded():
    metrics = Metrics()
    assert metrics.ready
    metrics.conditions["irc_connection"] = Condition("refused", essential=False, since=0.0)
    assert metrics.ready
    metrics.conditions["backend"] = Condition("gone", essential=True, since=0.0)
    assert not metrics.ready
