"""Counting HTTP/2 frames in received bytes."""

from __future__ import annotations

import pytest
from hyperframe.frame import DataFrame, PingFrame
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.http.limits import Budgets, FrameAllowance

PING = PingFrame(0, opaque_data=b"12345678").serialize()


def spent(allowance: FrameAllowance) -> int:
    """How many frames can still be sent at once, counted by sending them."""
    left = 0
    while allowance.spend(PING, 0.0):
        left += 1
    return left


@given(sizes=st.lists(st.integers(0, 40), max_size=20), data=st.data())
def test_frames_are_counted_however_the_bytes_are_divided(sizes: list[int], data: st.DataObject):
    stream = b"preface" + b"".join(DataFrame(1, b"x" * size).serialize() for size in sizes)
    allowance = FrameAllowance(len(b"preface"), 0.0)
    while stream:
        length = data.draw(st.integers(1, len(stream)))
        assert allowance.spend(stream[:length], 0.0)
        stream = stream[length:]
    assert spent(allowance) == 1000 - len(sizes)


def test_a_thousand_at_once_and_fifty_each_second():
    allowance = FrameAllowance(0, 0.0)
    assert allowance.spend(PING * 1000, 0.0)
    assert not allowance.spend(PING, 0.0)
    allowance = FrameAllowance(0, 0.0)
    assert all(allowance.spend(PING * 50, float(second)) for second in range(1, 1000))
    assert not allowance.spend(PING * 1001, 1000.0)


def test_useful_frames_earn_but_not_without_limit():
    allowance = FrameAllowance(0, 0.0)
    assert allowance.spend(PING * 1000, 0.0)
    allowance.earn_by_request()
    allowance.earn_by_sending()
    allowance.earn_by_payload(32)
    allowance.earn_by_payload(1000)
    assert allowance.spend(PING * 9, 0.0)
    assert not allowance.spend(PING, 0.0)
    allowance = FrameAllowance(0, 0.0)
    for _ in range(1000):
        allowance.earn_by_request()
    assert not allowance.spend(PING * 1001, 0.0)


@pytest.mark.parametrize("total", [1 << 20, 64 << 20])
def test_the_parts_of_a_budget_are_its_total(total: int):
    budgets = Budgets()
    budgets.resize(total)
    assert budgets.answers.limit + budgets.bodies.limit + budgets.handshakes.limit == total
