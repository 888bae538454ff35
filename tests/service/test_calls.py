"""Calls to the backend: they end in time, fail in one way, and tell the log when the backend changes, not each time."""

import io
import json

import pytest
import trio

from fingertrio.backend import BackendError
from fingertrio.observe.observer import Observer
from fingertrio.service.calls import BackendCalls


class TroubleError(Exception):
    """What no backend should raise."""


class Calls:
    """Calls, what they do next, and what the log heard of them."""

    def __init__(self):
        self._log = io.StringIO()
        self.now = 1000.0
        self.observer = Observer(self._log, human=False, clock=lambda: self.now)
        self.calls = BackendCalls(5.0, self.observer)
        self.answer: object = "fine"
        self.asked = 0

    async def call(self):
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await trio.sleep_forever()
        return self.answer

    async def make(self, operation="get_user", answer="fine"):
        self.answer = answer
        return await self.calls.make(operation, self.call)

    async def fail(self, operation="get_user", answer=None):
        with pytest.raises(BackendError) as caught:
            await self.make(operation, answer)
        return caught.value

    def told(self):
        events = [json.loads(line) for line in self._log.getvalue().splitlines()]
        self._log.seek(0)
        self._log.truncate()
        return events

    @property
    def degraded(self):
        return {what: condition.essential for what, condition in self.observer.metrics.conditions.items()}


@pytest.fixture
def calls():
    return Calls()


async def test_a_value_comes_through_and_its_call_is_counted_and_timed(calls):
    assert await calls.make() == "fine"
    assert calls.observer.metrics.backend_calls == {("get_user", "ok"): 1}
    assert sum(calls.observer.metrics.backend_seconds["get_user"].counts) == 1
    assert (calls.degraded, calls.told()) == ({}, [])


async def test_a_backends_own_words_come_through_and_its_cause_is_told(calls):
    error = BackendError("Try again")
    error.__cause__ = OSError("gone")
    assert await calls.fail(answer=error) is error
    [event] = calls.told()
    assert (event["event"], event["level"], event["what"]) == ("degraded", "warning", "backend")
    assert event["reason"] == "get_user: BackendError: Try again, caused by OSError: gone"
    assert calls.observer.metrics.backend_calls == {("get_user", "error"): 1}


async def test_a_call_that_takes_too_long_ends_at_the_deadline(calls, autojump_clock):
    started = trio.current_time()
    error = await calls.fail(answer=None)
    assert trio.current_time() - started == pytest.approx(5.0)
    assert isinstance(error.__cause__, trio.TooSlowError)
    assert calls.observer.metrics.backend_calls == {("get_user", "deadline"): 1}
    assert calls.observer.metrics.backend_seconds["get_user"].sum == pytest.approx(5.0)
    assert calls.told()[0]["reason"] == "get_user: no answer within 5 seconds"


async def test_an_exception_that_nobody_foresaw_says_nothing_to_strangers_and_all_to_the_log(calls):
    error = await calls.fail(answer=TroubleError("secret"))
    assert "secret" not in error.public_message
    [event] = calls.told()
    assert event["level"] == "error"
    assert "TroubleError: secret" in event["exception"]


async def test_a_cancelled_call_is_neither_failure_nor_success(calls):
    await calls.fail(answer=BackendError())
    with trio.CancelScope() as scope:
        scope.cancel()
        await calls.make(answer=None)
    assert calls.observer.metrics.backend_calls["get_user", "cancelled"] == 1
    assert calls.degraded == {"backend": True}


async def test_the_log_hears_of_an_outage_once_and_of_its_end(calls):
    for _ in range(5):
        await calls.fail(answer=BackendError("down"))
    calls.now += 60.0
    await calls.fail(answer=BackendError("down"))
    calls.now += 1.5
    await calls.make()
    await calls.make()
    begun, ended = calls.told()
    assert (begun["event"], ended["event"]) == ("degraded", "recovered")
    assert (ended["what"], ended["seconds"], ended["times"]) == ("backend", 61.5, 6)


async def test_another_reason_is_told_but_no_oftener_than_each_second(calls):
    for number in range(100):
        await calls.fail(answer=BackendError(f"reason {number}"))
        calls.now += 0.125
    events = calls.told()
    assert len(events) == 13  # in twelve and a half seconds
    assert {event["event"] for event in events} == {"degraded"}


async def test_a_backend_that_comes_and_goes_all_the_time_does_not_fill_the_log(calls):
    for _ in range(100):
        await calls.fail(answer=BackendError("down"))
        await calls.make()
        calls.now += 0.125
    assert [event["event"] for event in calls.told()] == ["degraded", "recovered"] * 13


async def test_an_outage_that_began_within_a_second_of_another_is_told_when_it_lasts(calls):
    await calls.fail(answer=BackendError("down"))
    await calls.make()
    calls.now += 0.5
    await calls.fail(answer=BackendError("down"))
    assert [event["event"] for event in calls.told()] == ["degraded", "recovered"]
    calls.now += 0.5
    await calls.fail(answer=BackendError("down"))
    assert [event["event"] for event in calls.told()] == ["degraded"]


async def test_that_nothing_can_be_set_is_told_apart_from_that_nothing_can_be_read(calls):
    await calls.fail("set_user", BackendError("the disk is full"))
    await calls.make("get_user")
    assert calls.degraded == {"backend_writes": False}
    await calls.fail("get_user", BackendError("down"))
    await calls.make("set_user")
    assert calls.degraded == {"backend": True}


async def test_a_probe_asks_only_if_the_last_question_failed(calls):
    await calls.calls.probe()
    await calls.make()
    await calls.fail("set_user", BackendError())
    asked = calls.asked
    await calls.calls.probe()
    assert calls.asked == asked


async def test_a_probe_repeats_what_failed_until_it_works(calls):
    await calls.fail(answer=BackendError("down"))
    await calls.calls.probe()
    assert calls.degraded == {"backend": True}
    calls.answer = "fine"
    await calls.calls.probe()
    assert calls.degraded == {}
    await calls.calls.probe()
    assert calls.observer.metrics.backend_calls == {("get_user", "error"): 1, ("probe", "error"): 1, ("probe", "ok"): 1}


async def test_a_probe_may_ask_something_else(calls):
    async def instead():
        return ()

    await calls.fail(answer=BackendError("this user's file cannot be read"))
    await calls.calls.probe({"get_user": instead})
    assert calls.degraded == {}
    assert calls.asked == 1


async def test_what_can_be_listed_says_nothing_of_what_can_be_read(calls):
    """A backend of layers lists what one of them has, while another fails for every user."""
    await calls.fail("get_user", BackendError("down"))
    calls.answer = ()
    await calls.make("get_users")
    assert calls.degraded == {"backend": True}
    await calls.make("get_user")
    assert calls.degraded == {}
