from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.backoff import Backoff


def most(_low: float, high: float) -> float:
    return high


def test_pauses_double_up_to_the_longest():
    backoff = Backoff(1.0, 5.0, uniform=most)
    assert [backoff.pause() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_after_a_reset_the_first_pause_comes_again():
    backoff = Backoff(0.25, 30.0, uniform=most)
    backoff.pause()
    backoff.pause()
    backoff.reset()
    assert backoff.pause() == 0.25


@given(st.floats(0.01, 10), st.floats(10, 1000))
def test_a_random_pause_is_between_half_the_step_and_the_step(first: float, longest: float):
    backoff, steps = Backoff(first, longest), Backoff(first, longest, uniform=most)
    for _ in range(20):
        step = steps.pause()
        assert step / 2 <= backoff.pause() <= step <= longest
