"""The service between every door and the backend: one call for many, nothing stale kept, nothing private told."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fingertrio.backend import INTERNAL_ERROR, BackendError, Change, UserInfo
from fingertrio.changes import ChangeFeed, ChangeHub
from fingertrio.names import USER_NAME_LIMIT
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService, ServicePolicy
from fingertrio.wire.status import STATUS_LIMIT
from tests.helpers import ANYONE

T = TypeVar("T")

MOSHEZ = UserInfo("moshez", "Happy and well")
ALICE = UserInfo("alice", "In the garden")
GARDEN = UserInfo("moshez", "In the garden")


class Reader:
    """A read-only backend. It counts its calls; a test makes them wait or fail.

    A call looks its answer up first and waits then, as an answer does that is on its way through a network.
    """

    def __init__(self, *users: UserInfo) -> None:
        self.users = {info.user: info for info in users}
        self.calls: Counter[str] = Counter()
        self.under_way = 0
        self.failure: BaseException | None = None
        self.answer: object = None  # instead of the right one
        self._gate = trio.Event()
        self._gate.set()

    def hold(self) -> None:
        self._gate = trio.Event()

    def release(self) -> None:
        self._gate.set()

    async def get_user(self, user: str) -> UserInfo | None:
        self.calls[user] += 1
        return await self._slowly(self.users.get(user))

    async def _slowly(self, value: T) -> T:
        answer = value if self.answer is None else self.answer
        self.under_way += 1
        try:
            await self._gate.wait()
        finally:
            self.under_way -= 1
        if self.failure is not None:
            raise self.failure
        return answer  # type: ignore[return-value]  # what a test told it to say may be anything


class Store(Reader):
    """One that can list and set, too."""

    async def get_users(self) -> list[str]:
        self.calls["*"] += 1
        return await self._slowly(list(self.users))

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        self.calls[f"set {user}"] += 1
        info = UserInfo(user, status, until=until)
        await self._slowly(None)
        self.users[user] = info
        return info


class LiveStore(Store):
    """One that tells of changes as well; its feed can be broken."""

    def __init__(self, *users: UserInfo) -> None:
        super().__init__(*users)
        self.hub = ChangeHub()
        self.entered: list[float] = []  # trio's time at each entry into the feed
        self.refuses_feed: Exception | None = None
        self.ends_feed = False
        self.reachable: trio.Event | None = None  # entering the feed waits for it
        self._broken = trio.Event()

    def tell(self, *users: str | None) -> None:
        for user in users:
            self.hub.emit(Change(user))

    def change(self, info: UserInfo) -> None:
        self.users[info.user] = info
        self.tell(info.user)

    def break_feed(self) -> None:
        broken, self._broken = self._broken, trio.Event()
        broken.set()

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[Change]]:
        self.entered.append(trio.current_time())
        if self.refuses_feed is not None:
            raise self.refuses_feed
        if self.reachable is not None:
            await self.reachable.wait()
        broken = self._broken
        if self.ends_feed:
            broken.set()
        async with self.hub.changes() as feed:
            yield self._until(broken, feed)

    async def _until(self, broken: trio.Event, feed: ChangeFeed) -> AsyncIterator[Change]:
        while True:
            heard: list[Change] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when, broken, nursery.cancel_scope)
                heard.append(await anext(feed))
                nursery.cancel_scope.cancel()
            if heard:
                yield heard[0]
            elif self.ends_feed:
                return
            else:
                raise ConnectionError("the source is gone")


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


class Asker:
    """A question in a task of its own, and what came of it."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.answer: object = "none yet"
        self.error: BaseException | None = None

    @property
    def waits(self) -> bool:
        return self.answer == "none yet" and self.error is None and not self.scope.cancelled_caught

    async def ask(self, service: FingerService, user: str) -> None:
        with self.scope:
            try:
                self.answer = await service.get_user(user)
            except BackendError as error:
                self.error = error


async def ask_at_once(nursery: trio.Nursery, service: FingerService, count: int, user: str = "moshez") -> list[Asker]:
    """So many askers, one after the other, all of whom have asked when this returns."""
    askers = [Asker() for _ in range(count)]
    for asker in askers:
        nursery.start_soon(asker.ask, service, user)
        await wait_all_tasks_blocked()
    return askers


def spread(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


class TestSingleFlight:
    async def test_many_who_ask_at_once_are_one_call(self):
        backend = Reader(MOSHEZ)
        backend.hold()
        async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
            askers = await ask_at_once(nursery, service, 50)
            backend.release()
        assert backend.calls == {"moshez": 1}
        assert all(asker.answer == MOSHEZ for asker in askers)

    async def test_each_name_has_a_call_of_its_own(self):
        backend = Reader(MOSHEZ, ALICE)
        backend.hold()
        async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
            moshez = await ask_at_once(nursery, service, 2)
            alice = await ask_at_once(nursery, service, 2, "alice")
            assert backend.under_way == 2
            backend.release()
        assert [asker.answer for asker in moshez + alice] == [MOSHEZ, MOSHEZ, ALICE, ALICE]

    async def test_lists_are_one_call_too(self):
        backend = Store(MOSHEZ, ALICE)
        backend.hold()
        found: list[tuple[str, ...]] = []

        async def ask() -> None:
            found.append(await service.get_users())

        async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            backend.release()
        assert backend.calls == {"*": 1}
        assert found == [("moshez", "alice")] * 5

    async def test_a_cancelled_waiter_leaves_the_call_alone(self):
        backend = Reader(MOSHEZ)
        backend.hold()
        async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
            first, second, third = await ask_at_once(nursery, service, 3)
            second.scope.cancel()
            await wait_all_tasks_blocked()
            assert backend.under_way == 1
            backend.release()
        assert (first.answer, third.answer) == (MOSHEZ, MOSHEZ)
        assert second.scope.cancelled_caught
        assert backend.calls == {"moshez": 1}

    async def test_when_the_caller_is_cancelled_one_of_those_who_wait_calls_anew(self):
        backend = Reader(MOSHEZ)
        backend.hold()
        async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
            first, *others = await ask_at_once(nursery, service, 10)
            first.scope.cancel()
            await wait_all_tasks_blocked()
            assert backend.under_way == 1, "neither none nor a stampede"
            assert backend.calls == {"moshez": 2}
            backend.release()
        assert first.scope.cancelled_caught
        assert all(asker.answer == MOSHEZ for asker in others)

    async def test_callers_who_are_cancelled_one_after_the_other_take_nobody_along(self):
        backend = Reader(MOSHEZ)
        backend.hold()
        async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
            askers = await ask_at_once(nursery, service, 5)
            for _ in range(4):  # whichever task makes the call: Trio chooses
                caller = next(asker for asker in askers if asker.waits and not asker.scope.cancel_called)
                caller.scope.cancel()
                await wait_all_tasks_blocked()
                assert backend.under_way == 1
            backend.release()
        assert [asker.answer for asker in askers if not asker.scope.cancelled_caught] == [MOSHEZ]

    async def test_when_all_are_cancelled_so_is_the_call_and_nothing_is_left(self):
        backend = Reader(MOSHEZ)
        backend.hold()
        async with FingerService.open(backend) as service:
            async with trio.open_nursery() as nursery:
                await ask_at_once(nursery, service, 3)
                nursery.cancel_scope.cancel()
            assert backend.under_way == 0
            assert not service._users.flights
            backend.release()
            assert await service.get_user("moshez") == MOSHEZ

    async def test_a_failure_is_everybody_s_who_waits_and_is_not_kept(self):
        backend = Reader(MOSHEZ)
        backend.hold()
        backend.failure = BackendError("The tape is being changed")
        async with FingerService.open(backend) as service:
            async with trio.open_nursery() as nursery:
                askers = await ask_at_once(nursery, service, 3)
                backend.release()
            assert [str(asker.error) for asker in askers] == ["The tape is being changed"] * 3
            assert len({id(asker.error) for asker in askers}) == 3, "an exception raised in two tasks mixes tracebacks"
            backend.failure = None
            assert await service.get_user("moshez") == MOSHEZ
        assert backend.calls == {"moshez": 2}


class TestFailures:
    async def test_a_call_has_a_deadline(self, autojump_clock: MockClock):
        backend = Reader(MOSHEZ)
        backend.hold()
        async with FingerService.open(backend, ServicePolicy(deadline=3)) as service:
            async with trio.open_nursery() as nursery:
                askers = await ask_at_once(nursery, service, 3)
            assert trio.current_time() == pytest.approx(3, abs=0.5)
            assert [str(asker.error) for asker in askers] == [INTERNAL_ERROR] * 3
            assert backend.under_way == 0
            backend.release()
            assert await service.get_user("moshez") == MOSHEZ

    @pytest.mark.parametrize("ask", ["get_users", "set_user"])
    async def test_so_has_every_other_call(self, ask: str, autojump_clock: MockClock):
        backend = Store(MOSHEZ)
        backend.hold()
        async with FingerService.open(backend, ServicePolicy(deadline=3)) as service:
            with pytest.raises(BackendError, match=INTERNAL_ERROR):
                await (service.get_users() if ask == "get_users" else service.set_user("moshez", "x", writer=ANYONE))
        assert trio.current_time() == pytest.approx(3)

    async def test_the_public_message_comes_through_and_the_cause_stays_in_the_log(self):
        backend, log = Reader(), io.StringIO()
        backend.failure = BackendError("Come back later")
        backend.failure.__cause__ = OSError("postgres://admin:hunter2@db")
        async with FingerService.open(backend, observer=Observer(log)) as service:
            with pytest.raises(BackendError) as failure:
                await service.get_user("moshez")
        assert failure.value.public_message == str(failure.value) == "Come back later"
        assert "hunter2" in log.getvalue()

    @pytest.mark.parametrize(
        "bug",
        [
            ValueError("hunter2"),
            OSError("hunter2"),
            KeyError("hunter2"),
            ExceptionGroup("nursery", [ValueError("hunter2"), OSError()]),
            ExceptionGroup("nursery", [BackendError("hunter2")]),
            StopIteration("hunter2"),
            trio.TooSlowError("hunter2"),
            AssertionError("hunter2"),
        ],
        ids=lambda bug: type(bug).__name__,
    )
    async def test_whatever_else_escapes_is_an_internal_error_to_strangers_and_logged(self, bug: Exception):
        backend, log = Reader(), io.StringIO()
        backend.failure = bug
        async with FingerService.open(backend, observer=Observer(log)) as service:
            with pytest.raises(BackendError) as failure:
                await service.get_user("moshez")
        assert failure.value.public_message == str(failure.value) == INTERNAL_ERROR
        assert [json.loads(line)["event"] for line in log.getvalue().splitlines()] == ["degraded"]

    @pytest.mark.parametrize(
        "answer",
        [
            UserInfo("moshez", "x", until=datetime(2030, 1, 1)),  # noqa: DTZ001 -- naive: that is the mistake
            "Happy and well",
            {"status": "Happy and well"},
        ],
        ids=["a time without a zone", "a string", "a dict"],
    )
    async def test_an_answer_that_breaks_the_contract_is_a_failure_of_the_backend(self, answer: object):
        """Not of whichever door happens to ask."""
        backend = Reader(MOSHEZ)
        backend.hold()
        backend.answer = answer
        async with FingerService.open(backend) as service:
            async with trio.open_nursery() as nursery:
                askers = await ask_at_once(nursery, service, 3)
                backend.release()
            assert [str(asker.error) for asker in askers] == [INTERNAL_ERROR] * 3
            assert not service._users.flights
            assert service.peek("moshez") is None

    async def test_so_is_a_list_that_is_none(self):
        backend = Store()
        backend.answer = 42
        async with FingerService.open(backend) as service:
            with pytest.raises(BackendError, match=INTERNAL_ERROR):
                await service.get_users()

    async def test_what_a_backend_cannot_do_is_said_before_it_is_asked(self):
        async with FingerService.open(Reader(MOSHEZ)) as service:
            assert not service.can_list
            assert not service.can_set
            with pytest.raises(BackendError, match="No list of users is kept here"):
                await service.get_users()
            with pytest.raises(BackendError, match="Statuses cannot be set here"):
                await service.set_user("moshez", "x", writer=ANYONE)

    @pytest.mark.parametrize("text", ["", "-l", "../x", "|id", "a b", "a\x00", "\ud800", "x" * (USER_NAME_LIMIT + 1)])
    async def test_what_could_not_be_a_name_is_nobody_and_no_backend_hears_of_it(self, text: str):
        backend = Reader()
        async with FingerService.open(backend) as service:
            assert await service.get_user(text) is None
            peeked = service.peek(text)
            assert peeked is not None
            assert peeked.value is None
        assert not backend.calls

    async def test_every_normal_form_of_a_name_is_one_name_to_the_backend_and_to_the_cache(self):
        zoe = UserInfo("zo\u00eb", "Here")
        backend = Store(zoe)
        async with FingerService.open(backend) as service:
            assert service.peek("zoe\u0308") is None
            assert await service.get_user("zoe\u0308") == zoe
            assert await service.get_user("zo\u00eb") == zoe
            peeked = service.peek("zoe\u0308")
            assert peeked is not None
            assert peeked.value == zoe
            await service.set_user("zoe\u0308", "Away", writer=ANYONE)
        assert backend.calls == {"zo\u00eb": 1, "set zo\u00eb": 1}


class TestCache:
    async def test_without_changes_an_answer_holds_for_its_time(self, autojump_clock: MockClock):
        backend = Store(MOSHEZ)
        async with FingerService.open(backend, ServicePolicy(cache_ttl=2)) as service:
            await service.get_user("moshez")
            await service.get_users()
            backend.users["moshez"] = GARDEN
            await trio.sleep(1.9)
            assert await service.get_user("moshez") == MOSHEZ
            assert backend.calls == {"moshez": 1, "*": 1}
            await trio.sleep(0.2)
            assert service.peek("moshez") is None
            assert service.peek_users() is None
            assert await service.get_user("moshez") == GARDEN

    async def test_a_time_of_nothing_keeps_nothing(self):
        backend = Reader(MOSHEZ)
        async with FingerService.open(backend, ServicePolicy(cache_ttl=0)) as service:
            for _ in range(3):
                assert await service.get_user("moshez") == MOSHEZ
        assert backend.calls == {"moshez": 3}

    async def test_that_nobody_is_called_so_holds_as_long(self, autojump_clock: MockClock):
        backend = Reader()
        async with FingerService.open(backend) as service:
            assert await service.get_user("nobody") is None
            assert await service.get_user("nobody") is None
            peeked = service.peek("nobody")
            assert peeked is not None
            assert peeked.value is None
            assert backend.calls == {"nobody": 1}
            backend.users["nobody"] = UserInfo("nobody", "here after all")
            await trio.sleep(1.1)
            assert service.peek("nobody") is None
            assert await service.get_user("nobody") == UserInfo("nobody", "here after all")

    async def test_with_changes_an_answer_holds_until_its_change(self, autojump_clock: MockClock):
        backend = LiveStore(MOSHEZ, ALICE)
        async with FingerService.open(backend) as service:
            await service.get_user("moshez")
            await service.get_user("alice")
            await service.get_users()
            await trio.sleep(80_000)
            assert await service.get_user("moshez") == MOSHEZ
            assert backend.calls == {"moshez": 1, "alice": 1, "*": 1}
            backend.change(GARDEN)
            await wait_all_tasks_blocked()
            assert service.peek("moshez") is None
            assert service.peek_users() is None, "a new user may have come with it"
            assert service.peek("alice") is not None
            assert await service.get_user("moshez") == GARDEN

    async def test_a_user_who_was_unknown_is_known_after_the_change(self, autojump_clock: MockClock):
        backend = LiveStore()
        async with FingerService.open(backend) as service:
            assert await service.get_user("moshez") is None
            backend.change(MOSHEZ)
            await wait_all_tasks_blocked()
            assert await service.get_user("moshez") == MOSHEZ
            peeked = service.peek("moshez")
            assert peeked is not None
            assert peeked.value == MOSHEZ
            assert not service._users._unknown

    async def test_a_change_of_anybody_forgets_everybody(self, autojump_clock: MockClock):
        backend = LiveStore(MOSHEZ)
        async with FingerService.open(backend) as service:
            known, unknown = await service.ask_user("moshez"), await service.ask_user("nobody")
            listed = await service.ask_users()
            backend.tell(None)
            await wait_all_tasks_blocked()
            assert known.expires == unknown.expires == listed.expires == -inf
            assert service.peek("moshez") is service.peek("nobody") is None
            assert service.peek_users() is None

    async def test_whoever_holds_an_answer_sees_that_it_no_longer_does(self, autojump_clock: MockClock):
        """Front ends keep what they rendered of it."""
        backend = LiveStore(MOSHEZ)
        async with FingerService.open(backend) as service:
            answer = await service.ask_user("moshez")
            assert answer.expires == inf
            backend.change(GARDEN)
            await wait_all_tasks_blocked()
            assert answer.expires == -inf

    async def test_a_name_that_is_none_is_never_told_off(self):
        """The one answer for all of them outlives every change."""
        async with FingerService.open(LiveStore()) as service:
            answer = await service.ask_user("-l")
            service._changed(Change(None))
            assert answer.expires == inf

    async def test_the_list_has_names_only(self):
        backend = Store()
        backend.answer = ["moshez", "-l", "../x", "", "alice"]
        async with FingerService.open(backend) as service:
            assert await service.get_users() == ("moshez", "alice")

    async def test_each_change_is_another_epoch(self, autojump_clock: MockClock):
        backend = LiveStore(MOSHEZ)
        async with FingerService.open(backend) as service:
            before = service.epoch
            await service.get_user("moshez")
            assert service.epoch == before
            backend.change(GARDEN)
            await wait_all_tasks_blocked()
            assert service.epoch == before + 1


class TestBounds:
    POLICY = ServicePolicy(cache_size=10)

    async def test_a_flood_of_unknown_names_pushes_out_nobody_who_is_known(self, autojump_clock: MockClock):
        backend = LiveStore(MOSHEZ)
        async with FingerService.open(backend, self.POLICY) as service:
            await service.get_user("moshez")
            await service.get_users()
            for number in range(1000):
                await service.get_user(f"x{number}")
            assert service.peek("moshez") is not None
            assert service.peek_users() is not None
            assert len(service._users._unknown) == 10
            assert len(service._users._known) == 1

    async def test_the_known_are_bounded_too_and_the_oldest_goes(self, autojump_clock: MockClock):
        backend = LiveStore(*(UserInfo(f"user{number}", "x") for number in range(11)))
        async with FingerService.open(backend, self.POLICY) as service:
            for number in range(11):
                await service.get_user(f"user{number}")
            assert len(service._users._known) == 10
            assert service.peek("user0") is None
            assert service.peek("user1") is not None

    @pytest.mark.parametrize("known", [True, False])
    async def test_an_answer_that_is_pushed_out_no_longer_holds(self, known: bool, autojump_clock: MockClock):
        """A front end that rendered it would miss its change, and show it without end."""
        users = [UserInfo(f"user{number}", "x") for number in range(11)] if known else []
        backend = LiveStore(*users)
        async with FingerService.open(backend, self.POLICY) as service:
            answer = await service.ask_user("user0")
            assert answer.expires == inf
            for number in range(1, 11):
                await service.get_user(f"user{number}")
            assert answer.expires == -inf

    async def test_a_cache_that_is_made_smaller_shrinks(self, autojump_clock: MockClock):
        async with FingerService.open(LiveStore(), self.POLICY) as service:
            answers = [await service.ask_user(f"x{number}") for number in range(10)]
            service.adopt(ServicePolicy(cache_size=2))
            await service.get_user("x10")
            assert list(service._users._unknown) == ["x9", "x10"]
            assert [answer.expires for answer in answers] == [-inf] * 9 + [inf]

    async def test_flights_are_forgotten_when_they_land(self):
        backend = Reader()
        async with FingerService.open(backend) as service:
            for number in range(100):
                await service.get_user(f"x{number}")
            assert not service._users.flights


class TestOvertaken:
    """A change arrives while a call is under way that may have looked before it."""

    async def overtaken(self, service: FingerService, backend: LiveStore, change: Change) -> tuple[Asker, Asker]:
        """One who asked before the change and one who asked after it, both answered."""
        async with trio.open_nursery() as nursery:
            backend.hold()
            (before,) = await ask_at_once(nursery, service, 1)
            backend.users["moshez"] = GARDEN
            backend.tell(change.user)
            await wait_all_tasks_blocked()
            (after,) = await ask_at_once(nursery, service, 1)
            assert backend.calls["moshez"] == 2, "a query after the change must not join the call from before it"
            backend.release()
        return before, after

    @pytest.mark.parametrize("user", ["moshez", None])
    async def test_its_answer_is_given_and_not_kept(self, user: str | None):
        backend = LiveStore(MOSHEZ)
        async with FingerService.open(backend) as service:
            before, after = await self.overtaken(service, backend, Change(user))
            assert before.answer in (MOSHEZ, GARDEN)
            assert after.answer == GARDEN
            assert await service.get_user("moshez") == GARDEN
            assert not service._users.flights

    @pytest.mark.parametrize("late", ["the old answer", "the new answer"])
    async def test_in_whichever_order_they_land(self, late: str):
        backend = LiveStore(MOSHEZ)
        async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
            backend.hold()
            old_gate = backend._gate
            await ask_at_once(nursery, service, 1)
            backend.change(GARDEN)
            await wait_all_tasks_blocked()
            backend.hold()
            new_gate = backend._gate
            await ask_at_once(nursery, service, 1)
            for gate in (new_gate, old_gate) if late == "the old answer" else (old_gate, new_gate):
                gate.set()
                await wait_all_tasks_blocked()
            peeked = service.peek("moshez")
            assert peeked is not None
            assert peeked.value == GARDEN

    async def test_who_renders_it_sees_that_it_does_not_hold(self):
        backend = LiveStore(MOSHEZ)
        found = []

        async def ask() -> None:
            found.append(await service.ask_user("moshez"))

        async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
            backend.hold()
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            backend.change(GARDEN)
            await wait_all_tasks_blocked()
            backend.release()
            await wait_all_tasks_blocked()
            assert [answer.expires for answer in found] == [-inf, -inf]

    async def test_a_list_is_overtaken_by_anybody_s_change(self):
        backend = LiveStore(MOSHEZ)
        async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
            backend.hold()
            nursery.start_soon(service.get_users)
            await wait_all_tasks_blocked()
            backend.change(ALICE)
            await wait_all_tasks_blocked()
            backend.release()
            await wait_all_tasks_blocked()
            assert service.peek_users() is None

    async def test_a_change_of_somebody_else_overtakes_nothing(self):
        backend = LiveStore(MOSHEZ, ALICE)
        async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
            backend.hold()
            await ask_at_once(nursery, service, 1)
            backend.tell("alice")
            await wait_all_tasks_blocked()
            await ask_at_once(nursery, service, 1)
            backend.release()
            await wait_all_tasks_blocked()
            assert backend.calls == {"moshez": 1}
            assert service.peek("moshez") is not None

    async def test_a_call_from_before_the_feed_was_heard_is_not_kept_for_ever(self, autojump_clock: MockClock):
        backend = LiveStore(MOSHEZ)
        backend.refuses_feed = ConnectionError("not yet")
        async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
            backend.hold()
            await ask_at_once(nursery, service, 1)
            backend.users["moshez"] = GARDEN  # and no change is emitted
            backend.refuses_feed = None
            await trio.sleep(1)
            assert len(backend.entered) == 2
            backend.release()
            await wait_all_tasks_blocked()
            assert await service.get_user("moshez") == GARDEN


class TestBrokenFeed:
    async def test_nothing_is_kept_from_before_and_answers_hold_for_the_time_only(self, autojump_clock: MockClock):
        backend, observer = LiveStore(MOSHEZ), Observer()
        async with FingerService.open(backend, observer=observer) as service:
            answer = await service.ask_user("moshez")
            backend.refuses_feed = ConnectionError("still gone")
            backend.break_feed()
            await wait_all_tasks_blocked()
            assert answer.expires == -inf
            backend.users["moshez"] = GARDEN
            assert await service.get_user("moshez") == GARDEN
            backend.users["moshez"] = MOSHEZ
            await trio.sleep(1.1)
            assert await service.get_user("moshez") == MOSHEZ
            assert observer.metrics.conditions["change_feed"].essential is False

    async def test_it_is_entered_again_after_pauses_that_grow_to_a_limit(self, autojump_clock: MockClock):
        backend = LiveStore(MOSHEZ)
        async with FingerService.open(backend):
            backend.refuses_feed = ConnectionError("gone")
            backend.break_feed()
            await trio.sleep(120)
            pauses = [later - earlier for earlier, later in zip(backend.entered, backend.entered[1:], strict=False)]
            for pause, expected in zip(pauses, [0.25, 0.5, 1, 2, 2, 2, 2, 2], strict=False):
                assert expected / 2 <= pause <= expected * 1.5
            assert len(pauses) > 8

    async def test_heard_again_answers_hold_until_their_change_again(self, autojump_clock: MockClock):
        backend, observer = LiveStore(MOSHEZ), Observer()
        async with FingerService.open(backend, observer=observer) as service:
            backend.break_feed()
            await wait_all_tasks_blocked()
            answer = await service.ask_user("moshez")
            await trio.sleep(0.4)  # within cache_ttl; changes without a feed were missed
            assert len(backend.entered) == 2
            assert answer.expires == -inf
            await service.get_user("moshez")
            await trio.sleep(100)
            assert service.peek("moshez") is not None
            assert not observer.metrics.conditions

    @pytest.mark.parametrize("ends", [False, True], ids=["breaks", "ends"])
    async def test_one_that_is_entered_and_falls_down_again_is_not_entered_all_the_time(
        self, ends: bool, autojump_clock: MockClock
    ):
        """Each entry empties the cache: acceptable once a second at most, and not four times."""
        backend = LiveStore(MOSHEZ)
        backend.ends_feed = ends
        async with FingerService.open(backend):
            if ends:
                await trio.sleep(120)
            else:
                for _ in range(1200):
                    await trio.sleep(0.1)
                    backend.break_feed()
            assert len(backend.entered) <= 125  # 120 seconds with pauses of one to two, after three short ones

    async def test_a_feed_that_held_for_long_is_entered_again_at_once(self, autojump_clock: MockClock):
        backend = LiveStore(MOSHEZ)
        async with FingerService.open(backend):
            for _ in range(10):
                await trio.sleep(60)
                backend.break_feed()
                broken = trio.current_time()
                await trio.sleep(1)
                assert backend.entered[-1] - broken <= 0.4

    async def test_a_source_that_is_down_at_the_start_delays_nothing(self, autojump_clock: MockClock):
        backend = LiveStore(MOSHEZ)
        backend.refuses_feed = ConnectionError("down")
        async with FingerService.open(backend) as service:
            assert trio.current_time() == 0
            assert await service.get_user("moshez") == MOSHEZ

    async def test_a_source_that_says_nothing_at_the_start_delays_it_by_the_deadline(self, autojump_clock: MockClock):
        backend = LiveStore(MOSHEZ)
        backend.reachable = trio.Event()
        observer = Observer()
        async with FingerService.open(backend, ServicePolicy(deadline=3), observer) as service:
            assert trio.current_time() == pytest.approx(3)
            assert list(observer.metrics.conditions) == ["change_feed"]
            answer = await service.ask_user("moshez")
            assert answer.expires == pytest.approx(4), "no feed reports its change"
            backend.reachable.set()
            await wait_all_tasks_blocked()
            assert (await service.ask_user("moshez")).expires == inf
            assert not observer.metrics.conditions

    async def test_a_failure_inside_comes_out_and_ends_the_following(self, autojump_clock: MockClock):
        backend = LiveStore(MOSHEZ)
        with pytest.raises(ExceptionGroup) as failure:
            async with FingerService.open(backend):
                raise ValueError("inside")
        assert failure.group_contains(ValueError, match="inside")
        assert not backend.hub._feeds


class TestUntil:
    async def test_a_status_is_shown_for_as_long_as_it_holds(self, autojump_clock: MockClock):
        backend = LiveStore(UserInfo("moshez", "At lunch", until=spread(hours=1)), ALICE)
        async with FingerService.open(backend) as service:
            answer = await service.ask_user("moshez")
            assert answer.expires == pytest.approx(3600, abs=1)
            await trio.sleep(3590)
            assert service.peek("moshez") is not None
            await trio.sleep(20)
            assert service.peek("moshez") is None
            backend.users["moshez"] = MOSHEZ
            assert await service.get_user("moshez") == MOSHEZ

    async def test_without_changes_the_shorter_of_both_times_counts(self, autojump_clock: MockClock):
        backend = Reader(
            UserInfo("soon", "x", until=spread(hours=1 / 3600)), UserInfo("later", "x", until=spread(hours=1))
        )
        async with FingerService.open(backend, ServicePolicy(cache_ttl=10)) as service:
            assert (await service.ask_user("soon")).expires == pytest.approx(1, abs=0.5)
            assert (await service.ask_user("later")).expires == pytest.approx(10, abs=0.5)

    async def test_any_zone_will_do(self, autojump_clock: MockClock):
        until = spread(hours=1).astimezone(datetime.strptime("+0530", "%z").tzinfo)
        async with FingerService.open(LiveStore(UserInfo("moshez", "x", until=until))) as service:
            assert (await service.ask_user("moshez")).expires == pytest.approx(3600, abs=1)


class TestSetting:
    @pytest.mark.parametrize("make", [Store, LiveStore])
    async def test_every_path_shows_it_when_the_call_returns(self, make: type[Store]):
        backend = make(MOSHEZ)
        async with FingerService.open(backend) as service, service.changes() as feed:
            await service.get_user("moshez")
            await service.get_user("alice")
            held = await service.ask_users()
            epoch = service.epoch
            assert await service.set_user("moshez", "In the garden", writer=ANYONE) == GARDEN
            await service.set_user("alice", "here", writer=ANYONE)
            assert service.peek("moshez") is service.peek("alice") is None
            assert await service.get_user("moshez") == GARDEN
            assert (await service.ask_user("alice")).value == UserInfo("alice", "here")
            assert held.expires == -inf
            assert await service.get_users() == ("moshez", "alice")
            assert service.epoch > epoch
            assert {(await anext(feed)).user for _ in range(2)} == {"moshez", "alice"}

    async def test_who_asked_before_it_was_set_leaves_nothing_old_behind(self):
        backend = Store(MOSHEZ)
        backend.hold()
        gate = backend._gate
        async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
            (before,) = await ask_at_once(nursery, service, 1)
            backend._gate = trio.Event()
            backend.release()
            await service.set_user("moshez", "In the garden", writer=ANYONE)
            assert await service.get_user("moshez") == GARDEN
            gate.set()
            await wait_all_tasks_blocked()
            assert before.answer == MOSHEZ
            assert await service.get_user("moshez") == GARDEN

    @pytest.mark.parametrize("how", ["fails", "is cancelled", "takes too long"])
    async def test_one_that_failed_may_have_been_carried_out(self, how: str, autojump_clock: MockClock):
        """So what is in memory is looked up anew."""
        backend = LiveStore(MOSHEZ)
        async with FingerService.open(backend) as service:
            await service.get_user("moshez")
            backend.hold()
            if how == "fails":
                backend.failure = OSError("half written")
                backend.release()
            with trio.move_on_after(1 if how == "is cancelled" else 100) as scope:
                with pytest.raises(BackendError) if how != "is cancelled" else pytest.raises(trio.Cancelled):
                    await service.set_user("moshez", "In the garden", writer=ANYONE)
                await trio.lowlevel.checkpoint()
            assert scope.cancelled_caught is (how == "is cancelled")
            assert service.peek("moshez") is None

    @pytest.mark.parametrize("name", ["", "-l", "a b", "x" * (USER_NAME_LIMIT + 1), "p\u0430ypal", "moshez\ufe0f"])
    async def test_a_name_that_nobody_should_have_is_refused(self, name: str):
        backend = Store()
        async with FingerService.open(backend) as service:
            with pytest.raises(ValueError, match="user name"):
                await service.set_user(name, "x", writer=ANYONE)
        assert not backend.calls

    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            ("", "is empty"),
            (" \t\n", "is empty"),
            ("x" * (STATUS_LIMIT + 1), f"longer than {STATUS_LIMIT} bytes"),
            ("\u00e9" * (STATUS_LIMIT // 2 + 1), f"longer than {STATUS_LIMIT} bytes"),
            ("a\ud800b", "not text"),
        ],
        ids=["empty", "blank", "long", "long in bytes", "surrogate"],
    )
    async def test_a_status_that_is_none_is_refused(self, status: str, reason: str):
        backend = Store()
        async with FingerService.open(backend) as service:
            with pytest.raises(ValueError, match=reason):
                await service.set_user("moshez", status, writer=ANYONE)
        assert not backend.calls

    async def test_a_status_of_the_very_limit_is_taken(self):
        async with FingerService.open(Store()) as service:
            await service.set_user("moshez", "\u00e9" * (STATUS_LIMIT // 2), writer=ANYONE)

    async def test_until_reaches_the_backend(self):
        until = spread(hours=1)
        async with FingerService.open(Store()) as service:
            assert (await service.set_user("moshez", "At lunch", until=until, writer=ANYONE)).until == until
            found = await service.get_user("moshez")
            assert found is not None
            assert found.until == until


class TestPeeking:
    async def test_it_finds_what_was_asked_and_asks_nobody(self, autojump_clock: MockClock):
        backend = LiveStore(MOSHEZ)
        async with FingerService.open(backend) as service:
            assert service.peek("moshez") is None
            assert service.peek_users() is None
            asked = await service.ask_user("moshez")
            listed = await service.ask_users()
            assert service.peek("moshez") is asked
            assert service.peek_users() is listed
            assert service.peek("alice") is None
            assert backend.calls == {"moshez": 1, "*": 1}


class TestSubscribers:
    async def test_they_hear_the_backend_s_changes_and_that_the_feed_broke(self, autojump_clock: MockClock):
        backend = LiveStore(MOSHEZ)
        async with FingerService.open(backend) as service, service.changes() as feed:
            backend.tell("moshez")
            assert await anext(feed) == Change("moshez")
            backend.break_feed()
            assert await anext(feed) == Change(None)

    async def test_one_who_does_not_read_delays_nobody(self, autojump_clock: MockClock):
        backend = LiveStore(MOSHEZ)
        async with FingerService.open(backend) as service, service.changes() as idle, service.changes() as feed:
            for _ in range(3):
                await service.set_user("moshez", "x", writer=ANYONE)
                assert (await anext(feed)).user in ("moshez", None)
            assert len(idle._waiting) == 1


class TestCounting:
    async def test_hits_misses_and_joins_are_told_apart(self):
        backend, observer = Reader(MOSHEZ), Observer()
        backend.hold()
        async with FingerService.open(backend, observer=observer) as service:
            async with trio.open_nursery() as nursery:
                await ask_at_once(nursery, service, 3)
                backend.release()
            await service.get_user("moshez")
            service.peek("moshez")
        assert (observer.metrics.cache_misses, observer.metrics.cache_joins, observer.metrics.cache_hits) == (1, 2, 2)
