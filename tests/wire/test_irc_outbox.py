"""The flood rule, turns and limits; the time is a number."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.irc_outbox import LINE_LIMIT, REPLY_LIFETIME, Outbox, Rejection, Reply, TokenBucket


def drain(outbox: Outbox[Reply], now: float = 0.0) -> list[tuple[float, str]]:
    """All waiting lines, with the times at which they are sent."""
    sent = []
    while outbox.ready_at < inf:
        now = max(now, outbox.ready_at)
        taken = outbox.take(now)
        assert taken is not None, "ready, and yet nothing"
        reply, line = taken
        sent.append((now, line))
        if not reply.lines:
            outbox.close(reply)
    return sent


def ask(outbox: Outbox[Reply], asker: str, *lines: str) -> bool:
    reply = Reply(asker, asker, 0.0)
    if outbox.admit(reply) is not None:
        return False
    outbox.put(reply, lines)
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
    assert [line for _, line in drain(outbox)] == ["b1", "a1", "c1", "a2", "c2", "a3", "a4"], "bob asks least"
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
    question = Reply("alice", "alice", 0.0)
    assert outbox.admit(question) is None
    assert outbox.ready_at == inf
    assert outbox.take(0.0) is None
    assert outbox.admit(Reply("bob", "bob", 0.0)) == Rejection.BUSY
    assert outbox.open == (question,)
    outbox.close(question)
    assert outbox.admit(Reply("bob", "bob", 0.0)) is None


def test_turns_are_in_the_order_of_the_questions_not_of_their_answers() -> None:
    outbox: Outbox[Reply] = Outbox()
    replies = [Reply(asker, asker, 0.0) for asker in ("alice", "bob", "carol")]
    for reply in replies:
        outbox.admit(reply)
    outbox.put(replies[2], ["c"])
    outbox.put(replies[0], ["a"])
    assert [line for _, line in drain(outbox)] == ["a", "c"], "bob's answer does not delay the others"


def test_many_waiting_lines_are_enough() -> None:
    outbox: Outbox[Reply] = Outbox()
    for number in range(12):
        assert ask(outbox, str(number), *"12345")
    reply = Reply("late", "late", 0.0)
    assert outbox.admit(reply) == Rejection.BUSY


def test_a_reply_that_was_closed_is_not_sent() -> None:
    outbox: Outbox[Reply] = Outbox()
    ask(outbox, "alice", "1", "2")
    late = Reply("bob", "bob", 0.0)
    outbox.admit(late)
    for reply in outbox.open:
        outbox.close(reply)
    outbox.put(late, ["x"])
    assert drain(outbox) == []
    with pytest.raises(AssertionError):
        outbox.close(late)
    with pytest.raises(AssertionError):
        outbox.put(late, [])


def test_a_reply_expires_unless_its_first_line_was_sent() -> None:
    outbox: Outbox[Reply] = Outbox()
    ask(outbox, "alice", "1", "2")
    ask(outbox, "bob", "1")
    outbox.take(0.0)
    assert outbox.expired(REPLY_LIFETIME) == []
    assert [reply.asker for reply in outbox.expired(REPLY_LIFETIME + 1)] == ["bob"]


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 5), st.floats(0, 5)), max_size=40))
def test_the_lines_of_a_reply_are_sent_in_order_and_none_is_lost(questions: list[tuple[str, int, float]]) -> None:
    """And the flood rule holds."""
    outbox: Outbox[Reply] = Outbox()
    expected = []
    for number, (asker, lines, _) in enumerate(questions):
        if ask(outbox, asker, *(f"{asker}{number}-{line}" for line in range(lines))):
            expected += [f"{asker}{number}-{line}" for line in range(lines)]
    sent = drain(outbox)
    assert sorted(line for _, line in sent) == sorted(expected)
    for asker in "abcde":
        own = [line for _, line in sent if line.startswith(asker)]
        assert own == [line for line in expected if line.startswith(asker)]
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            assert last - first + 1 <= 5 + (sent[last][0] - sent[first][0]) / 2 + 1e-6


def test_somebody_who_asks_once_is_not_delayed_by_people_who_ask_all_the_time():
    """Ten askers always have a question open; a new one is answered by one of the next two lines, whenever it comes."""
    outbox: Outbox[Reply] = Outbox(seconds=2.0, burst=1)
    now, number = 0.0, 0

    def ask(asker: str) -> Reply:
        reply = Reply(asker, asker, now)
        assert outbox.admit(reply) is None
        outbox.put(reply, [f"line for {asker}"])
        return reply

    for _ in range(3):
        for busy in range(10):
            ask(f"busy{busy}")
    for _ in range(200):
        now += 2.0
        taken = outbox.take(now)
        assert taken is not None
        outbox.close(taken[0])
        ask(taken[0].asker)
        if now % 30 == 0:
            number += 1
            new = ask(f"new{number}")
            served = []
            for _ in range(2):
                now += 2.0
                taken = outbox.take(now)
                assert taken is not None
                served.append(taken[0])
                outbox.close(taken[0])
                if taken[0] is not new:
                    ask(taken[0].asker)
            assert new in served
    assert number > 5


def test_of_several_new_askers_the_one_with_the_fewest_questions_comes_first():
    outbox: Outbox[Reply] = Outbox(seconds=2.0, burst=1)
    for asker in ("a", "a", "a", "b", "b", "b", "honest"):
        reply = Reply(asker, asker, 0.0)
        assert outbox.admit(reply) is None
        outbox.put(reply, ["x"])
    taken = outbox.take(0.0)
    assert taken is not None
    assert taken[0].asker == "honest"


def test_the_rest_of_a_long_answer_is_not_starved_by_new_askers():
    outbox: Outbox[Reply] = Outbox(seconds=2.0, burst=1)
    long = Reply("long", "long", 0.0)
    assert outbox.admit(long) is None
    outbox.put(long, [str(number) for number in range(5)])
    now, lines = 0.0, []
    for number in range(20):
        new = Reply(f"new{number}", "x", now)
        assert outbox.admit(new) is None
        outbox.put(new, ["x"])
        taken = outbox.take(now)
        assert taken is not None
        lines.append(taken[0].asker)
        if not taken[0].lines:
            outbox.close(taken[0])
        now += 2.0
    assert lines[:10].count("long") >= 3
    assert lines.count("long") == 5


def filled(*askers: str, answered: str = "") -> Outbox[Reply]:
    """An outbox whose places are taken by questions of these; one asker heard an answer before, at 0."""
    outbox: Outbox[Reply] = Outbox(limit=len(askers))
    if answered:
        assert ask(outbox, answered, "x")
        drain(outbox)
    for asker in askers:
        assert outbox.admit(Reply(asker, asker, 0.0)) is None
    return outbox


def test_a_new_asker_gets_the_place_of_the_latest_question_of_the_one_with_most() -> None:
    outbox = filled("a", "a", "b", "b", "b", "c")
    assert outbox.admit(Reply("new", "new", 1.0)) == Rejection.BUSY
    yielding = outbox.yielding("new", 1.0)
    assert yielding is outbox.open[4]
    outbox.close(yielding)
    assert outbox.admit(Reply("new", "new", 1.0)) is None
    assert outbox.yielding("new", 1.0) is None, "who waits gets no second place"


def test_who_was_answered_lately_yields_and_is_yielded_nothing() -> None:
    outbox = filled("a", "b", answered="b")
    assert outbox.yielding("new", 1.0) is outbox.open[1]
    assert outbox.yielding("new", 61.0) is None, "a minute later all are equal, and nobody has more than one"
    assert filled("a", "a", answered="b").yielding("b", 1.0) is None


def test_neither_a_begun_answer_nor_a_change_yields() -> None:
    outbox = filled("a", "a")
    outbox.open[1].started = True
    assert outbox.yielding("new", 1.0) is None
    outbox.open[1].started = False
    outbox.open[1].firm = True
    assert outbox.yielding("new", 1.0) is None


def test_no_question_yields_if_the_waiting_lines_leave_no_room_even_then() -> None:
    outbox = filled("a", "a", "b")
    outbox.put(outbox.open[2], ["x"] * LINE_LIMIT)
    assert outbox.yielding("new", 1.0) is None


def test_who_asks_again_and_again_yields_and_waits_longest_even_if_all_but_one_question_was_rejected() -> None:
    """A hundred people ask each second, and each once more than there are places; somebody asks once."""
    outbox: Outbox[Reply] = Outbox()
    heard: list[tuple[float, str]] = []
    for second in range(40):
        people = [f"p{number}" for number in range(100)] + (["honest"] if second == 5 else [])
        for asker in people:
            reply = Reply(asker, asker, second)
            outbox.asked(asker, second)
            if outbox.admit(reply) is not None:
                if (other := outbox.yielding(asker, second)) is None:
                    continue
                outbox.close(other)
                assert outbox.admit(reply) is None
            outbox.put(reply, ["x"])
        while (taken := outbox.take(second)) is not None:
            heard.append((second, taken[0].asker))
            outbox.close(taken[0])
        assert len(outbox.open) <= 32
    waited = next(time for time, asker in heard if asker == "honest") - 5
    assert waited <= 10
    assert len(heard) == 5 + 39 // 2, "no line was lost"
