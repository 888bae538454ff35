"""What is tried next, and when. Without a clock: the tests say what time it is."""

from __future__ import annotations

from itertools import count
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fingertrio.wire.webhook import Verdict
from fingertrio.wire.webhook_queue import (
    AT_ONCE,
    DISTRUST,
    FIRST,
    LIFETIME,
    LONGEST,
    MOST_PATIENCE,
    DeliveryQueue,
    Waiting,
)

BUSY, REJECTED = Verdict.UNAVAILABLE, Verdict.REJECTED


def longest(_low: float, high: float) -> float:
    return high


def shortest(low: float, _high: float) -> float:
    return low


def queue(limit: int = 1000, *users: str) -> DeliveryQueue:
    """A queue with a message for each user, without chance."""
    made = DeliveryQueue(limit, uniform=longest)
    for user in users:
        made.put(user, f"{user}1", 0.0)
    return made


def took(found: Waiting | None) -> Waiting:
    assert found is not None
    return found


def is_troubled(made: DeliveryQueue) -> bool:
    return made.is_troubled  # a function, so that mypy knows that it changes


def failing(made: DeliveryQueue, verdict: Verdict, until: float) -> list[float]:
    """The times at which a message is tried that always fails."""
    times: list[float] = []
    now = 0.0
    while now <= until and now != inf:
        message = took(made.take(now))
        times.append(now)
        made.failed(message, now, verdict)
        now = made.next_time()
    return times


def test_a_message_is_due_at_once_and_taken_once():
    made = queue(1000, "ada")
    assert made.next_time() == 0.0
    message = took(made.take(0.0))
    assert (message.user, message.id) == ("ada", "ada1")
    assert made.take(0.0) is None
    assert made.next_time() == inf
    assert len(made) == 1
    made.delivered(message)
    assert len(made) == 0
    assert made.next_time() == inf


@pytest.mark.parametrize("verdict", [BUSY, REJECTED])
def test_the_schedule_of_the_guide(verdict: Verdict):
    times = failing(queue(1000, "ada"), verdict, 3 * LONGEST)
    assert times[:11] == [0, 5, 15, 35, 75, 155, 315, 635, 1275, 2175, 3075][: len(times)]


@pytest.mark.parametrize("verdict", [BUSY, REJECTED])
@pytest.mark.parametrize("uniform", [longest, shortest])
def test_a_message_is_given_up_after_24_hours_and_a_last_attempt(verdict: Verdict, uniform):
    made = DeliveryQueue(10, uniform=uniform)
    made.put("ada", "m", 0.0)
    now = 0.0
    expired: list[Waiting] = []
    while not expired:
        last = now
        expired = made.failed(took(made.take(now)), now, verdict)
        now = made.next_time()
    assert [message.id for message in expired] == ["m"]
    assert LIFETIME <= last <= LIFETIME + LONGEST
    assert len(made) == 0


def test_the_age_of_a_message_counts():
    made = DeliveryQueue(10, uniform=longest)
    made.put("ada", "m", 0.0, age=LIFETIME - 1)
    assert made.failed(took(made.take(0.0)), 0.0, REJECTED) == []
    assert made.next_time() == 1.0
    assert len(made.failed(took(made.take(1.0)), 1.0, REJECTED)) == 1


def test_a_newer_message_takes_the_place_of_one_that_waits():
    made = queue(1000, "ada", "bob")
    [old] = made.put("ada", "ada2", 1.0)
    assert old.id == "ada1"
    assert [took(made.take(1.0)).id for _ in range(2)] == ["bob1", "ada2"]


def test_a_newer_message_waits_for_the_one_under_way():
    """Messages of one user arrive in order."""
    made = queue(1000, "ada")
    first = took(made.take(0.0))
    made.put("ada", "ada2", 1.0)
    assert made.take(1.0) is None
    made.delivered(first)
    assert took(made.take(1.0)).id == "ada2"


def test_a_message_that_failed_is_not_tried_again_if_a_newer_one_waits():
    made = queue(1000, "ada")
    first = took(made.take(0.0))
    made.put("ada", "ada2", 1.0)
    assert made.failed(first, 1.0, REJECTED) == []
    assert took(made.take(1.0)).id == "ada2"
    assert len(made) == 1


def test_a_message_that_failed_is_not_tried_again_even_if_the_newer_one_was_dropped():
    made = queue(1, "ada")
    first = took(made.take(0.0))
    made.put("ada", "ada2", 1.0)
    [dropped] = made.put("bob", "bob1", 1.0)
    assert dropped.id == "ada2"
    assert made.failed(first, 1.0, REJECTED) == []
    assert len(made) == 1
    assert took(made.take(1.0)).id == "bob1"


def test_a_newer_message_is_due_at_once_although_the_old_one_was_rejected():
    made = queue(1000, "ada")
    made.failed(took(made.take(0.0)), 0.0, REJECTED)
    assert made.next_time() == FIRST
    made.put("ada", "ada2", 1.0)
    assert made.next_time() == 1.0


def test_a_rejected_message_holds_up_no_other():
    made = queue(1000, "ada", "bob")
    made.failed(took(made.take(0.0)), 0.0, REJECTED)
    assert took(made.take(0.0)).user == "bob"


def test_a_receiver_that_cannot_take_any_message_is_asked_by_one_at_a_time():
    made = queue(1000, *"abcdefgh")
    made.failed(took(made.take(0.0)), 0.0, BUSY)
    assert is_troubled(made)
    assert made.take(0.0) is None
    assert made.next_time() == FIRST
    probe = took(made.take(FIRST))
    assert probe.user == "b", "those that have not been tried come first"
    assert made.take(FIRST) is None
    made.delivered(probe)
    assert not is_troubled(made)
    assert len([made.take(FIRST) for _ in range(AT_ONCE)]) == AT_ONCE
    assert made.take(FIRST) is None


def test_several_failures_at_the_same_time_lengthen_the_pause_once():
    made = queue(1000, *"abcd")
    under_way = [took(made.take(0.0)) for _ in range(4)]
    for message in under_way:
        made.failed(message, 0.0, BUSY)
    assert made.next_time() == FIRST
    made.failed(took(made.take(FIRST)), FIRST, BUSY)
    assert made.next_time() == FIRST + 2 * FIRST


def test_when_it_accepts_one_the_others_follow_at_once():
    made = queue(1000, *"abc")
    now = 0.0
    for _ in range(10):
        made.failed(took(made.take(now)), now, BUSY)
        now = made.next_time()
    made.delivered(took(made.take(now)))
    assert {took(made.take(now)).user for _ in range(2)} < set("abc")


def test_rejections_of_many_users_are_the_receivers_fault():
    users = [f"user{number}" for number in range(DISTRUST + 1)]
    made = queue(1000, *users)
    troubled = []
    for _ in range(DISTRUST):
        made.failed(took(made.take(0.0)), 0.0, REJECTED)
        troubled.append(made.is_troubled)
    assert troubled == [False] * (DISTRUST - 1) + [True]
    assert made.take(0.0) is None
    made.delivered(took(made.take(FIRST)))
    assert not is_troubled(made)


def test_one_user_who_is_always_rejected_is_not_the_receivers_fault():
    made = queue(1000, "ada")
    now = 0.0
    for _ in range(3 * DISTRUST):
        made.failed(took(made.take(now)), now, REJECTED)
        now = made.next_time()
    assert not is_troubled(made)
    made.put("bob", "bob1", now)
    assert took(made.take(now)).user in {"ada", "bob"}
    assert took(made.take(now)).user in {"ada", "bob"}


@pytest.mark.parametrize("verdict", [BUSY, REJECTED])
@pytest.mark.parametrize(("asked", "pause"), [(0.0, FIRST), (2.0, FIRST), (120.0, 120.0), (1e9, MOST_PATIENCE)])
def test_retry_after_makes_a_pause_longer_within_a_bound(verdict: Verdict, asked: float, pause: float):
    made = queue(1000, "ada")
    made.failed(took(made.take(0.0)), 0.0, verdict, asked)
    assert made.next_time() == pause


def test_of_too_many_the_oldest_is_dropped():
    made = queue(2, "a", "b")
    made.put("a", "a2", 1.0)  # the newest now
    [dropped] = made.put("c", "c1", 2.0)
    assert dropped.id == "b1"
    assert [took(made.take(2.0)).id for _ in range(2)] == ["a2", "c1"]


def test_a_receiver_that_wants_no_more_gets_no_more_until_it_is_tried_again():
    made = queue(1000, *"abc")
    first, second = took(made.take(0.0)), took(made.take(0.0))
    made.drop(first)
    assert [message.id for message in made.close()] == ["c1"]
    [refused] = made.put("d", "d1", 1.0)
    assert refused.id == "d1"
    assert made.failed(second, 1.0, BUSY) == []
    assert len(made) == 0
    assert made.take(1.0) is None
    made.reopen(2.0)
    made.put("e", "e1", 2.0)
    assert took(made.take(2.0)).id == "e1"


def test_a_reload_tries_at_once_what_waits():
    made = queue(1000, *"ab")
    made.failed(took(made.take(0.0)), 0.0, BUSY, 3600.0)
    made.reopen(1.0)
    assert {took(made.take(1.0)).user for _ in range(2)} == {"a", "b"}


def test_replacing_a_message_often_keeps_the_memory_bounded():
    made = queue()
    for number in range(10_000):
        made.put("ada", f"m{number}", float(number))
    assert len(made._heap) < 100
    assert took(made.take(10_000.0)).id == "m9999"


class Deliveries(RuleBasedStateMachine):
    """Every message is delivered, replaced, dropped or given up; none is forgotten, and none taken early."""

    @initialize(limit=st.integers(1, 6))
    def begin(self, limit: int) -> None:
        self.queue = DeliveryQueue(limit, uniform=longest)
        self.now = 0.0
        self.newest: dict[str, str] = {}  # that has not ended, by user
        self.under_way: list[Waiting] = []
        self.numbers = count()

    @rule(user=st.sampled_from("abcdefghij"))
    def put(self, user: str) -> None:
        message = f"{user}{next(self.numbers)}"
        removed = self.queue.put(user, message, self.now)
        self.newest[user] = message
        for other in removed:
            assert other.user == user or self.newest.pop(other.user) == other.id

    @rule(seconds=st.floats(0, 2000))
    def take(self, seconds: float) -> None:
        self.now += seconds
        due = self.queue.next_time()
        message = self.queue.take(self.now)
        assert (message is None) == (due > self.now)
        if message is not None:
            assert message.due <= self.now
            assert message.user not in {other.user for other in self.under_way}
            self.under_way.append(message)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), verdict=st.sampled_from([BUSY, REJECTED]))
    def fail(self, data: st.DataObject, verdict: Verdict) -> None:
        message = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        for expired in self.queue.failed(message, self.now, verdict):
            assert self.newest.pop(expired.user) == expired.id

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        self._arrive(self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1))))

    def teardown(self) -> None:
        """The receiver works: everything that has not ended arrives, and nothing is left."""
        if not hasattr(self, "queue"):
            return
        while self.under_way:
            self._arrive(self.under_way.pop())
        while (due := self.queue.next_time()) != inf:
            self.now = max(self.now, due)
            self._arrive(took(self.queue.take(self.now)))
        assert self.newest == {}
        assert len(self.queue) == 0

    def _arrive(self, message: Waiting) -> None:
        self.queue.delivered(message)
        if self.newest.get(message.user) == message.id:
            del self.newest[message.user]


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=30, stateful_step_count=30)
