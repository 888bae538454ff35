"""The flood rule, turns and limits; the time is a number."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.irc_outbox import Outbox, Reply, TokenBucket


def drain(outbox: Outbox[Reply], now: float = 0.0) -> list[tuple[float, str]]:
    """All waiting lines, with the times at which they are sent."""
    sent = []
    while outbox.ready_at < inf:
        now = max(now, outbox.ready_at)
        taken = outbox.take(now)
        assert taken is not None, "ready, and yet nothing"
        line, ended = taken
        sent.append((now, line.decode()))
        if ended is not None:
            outbox.close(ended)
    return sent


def ask(outbox: Outbox[Reply], asker: str, *lines: str) -> bool:
    reply = Reply(asker)
    if not outbox.admit(reply):
        return False
    outbox.put(reply, [line.encode() for line in lines])
    return True


def test_five_lines_at_once_then_one_every_two_seconds() -> None:
    outbox: Outbox[Reply] = Outbox(limit_per_asker=9)
    for number in range(8):
        assert ask(outbox, "alice", str(number))
    assert drain(outbox, 100.0) == [
        *[(100.0, str(number)) for number in range(5)],
        (102.0, "5"),
        (104.0, "6"),
        (106.0, "7"),
    ]


def test_the_burst_comes_back_with_time_and_never_grows() -> None:
    bucket = TokenBucket(seconds=2.0, burst=5)
    assert [bucket.take(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert bucket.take(1.9) is False
    assert bucket.take(2.0) is True
    assert [bucket.take(1000.0) for _ in range(6)] == [True] * 5 + [False]


def test_urgent_lines_delay_waiting_lines() -> None:
    outbox: Outbox[Reply] = Outbox()
    for _ in range(7):
        outbox.charge(0.0)
    ask(outbox, "alice", "hello")
    assert outbox.take(5.9) is None
    assert drain(outbox) == [(6.0, "hello")]


@given(
    st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60),
    st.floats(0.1, 5),
    st.integers(1, 6),
)
def test_the_rate_is_never_exceeded(steps: list[tuple[float, bool]], seconds: float, burst: int) -> None:
    """`take` succeeds exactly from `ready_at` on, and never more than burst + one per `seconds`."""
    bucket = TokenBucket(seconds=seconds, burst=burst)
    now, taken = 0.0, []
    for pause, until_ready in steps:
        now = max(now, bucket.ready_at) if until_ready else now + pause
        ready = now >= bucket.ready_at
        assert bucket.take(now) is ready
        if ready:
            taken.append(now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - start) / seconds + 1e-6


def test_askers_take_turns_line_by_line() -> None:
    outbox: Outbox[Reply] = Outbox(burst=100)
    ask(outbox, "alice", "a1", "a2", "a3")
    ask(outbox, "alice", "a4")
    ask(outbox, "bob", "b1")
    ask(outbox, "carol", "c1", "c2")
    assert [line for _, line in drain(outbox)] == ["a1", "b1", "c1", "a2", "c2", "a3", "a4"]
    assert outbox.open == ()


def test_an_asker_has_three_questions_open_and_all_together_32() -> None:
    outbox: Outbox[Reply] = Outbox()
    assert [ask(outbox, "alice", "x") for _ in range(4)] == [True, True, True, False]
    others = [ask(outbox, str(number), "x") for number in range(30)]
    assert others == [True] * 29 + [False]
    drain(outbox)
    assert ask(outbox, "alice", "x"), "a place is free again once its answer is sent"


def test_a_question_counts_before_it_is_answered() -> None:
    outbox: Outbox[Reply] = Outbox(limit=1)
    question = Reply("alice")
    assert outbox.admit(question)
    assert outbox.ready_at == inf
    assert outbox.take(0.0) is None
    assert not outbox.admit(Reply("bob"))
    assert outbox.open == (question,)
    outbox.close(question)
    assert outbox.admit(Reply("bob"))


def test_a_reply_must_be_open() -> None:
    outbox: Outbox[Reply] = Outbox()
    with pytest.raises(AssertionError):
        outbox.put(Reply("alice"), [b"x"])
