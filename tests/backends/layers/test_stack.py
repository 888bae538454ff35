"""Open layers: which layer answers, which may fail, which is written to, and which changes are emitted."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fingertrio.backend import (
    AnswersAtOnce,
    Backend,
    BackendError,
    Change,
    ClearsStatus,
    EmitsChanges,
    KeepsHistory,
    ListsUsers,
    SetsDetails,
    SetsStatus,
    UserInfo,
)
from fingertrio.backends.layers.open_layer import OpenLayer
from fingertrio.backends.layers.stack import EmittingBackend, LayeredBackend, stack_layers
from fingertrio.backends.memory import MemoryBackend
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend, FakeReader
from tests.helpers import Ageing

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

CAPABILITIES: tuple[type, ...] = (ListsUsers, SetsStatus, ClearsStatus, EmitsChanges, KeepsHistory)


def over(*backends: Backend, skip_after: float | None = None) -> LayeredBackend:
    """The backends as layers; either all may be skipped or none."""
    return stack_layers(
        [OpenLayer(f"layer {number}", backend, skip_after) for number, backend in enumerate(backends, 1)]
    )


async def status_of(backend: Backend | FingerService, user: str) -> str | None:
    info = await backend.get_user(user)
    return None if info is None else info.status


class Historian(FakeReader):
    """Remembers statuses, newest first; the first of them is the present one unless `forgotten`."""

    def __init__(self, *infos: UserInfo, forgotten: bool = False) -> None:
        super().__init__({})
        self.users = {} if forgotten else {info.user: info for info in reversed(infos)}
        self.infos = infos

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        await self._turn("get_history")
        return [info for info in self.infos if before is None or (info.since and info.since < before)][:limit]


class TestCapabilities:
    @pytest.mark.parametrize(
        ("backends", "capabilities"),
        [
            ([FakeReader({})], set()),
            ([MemoryBackend({})], {ListsUsers, SetsStatus, ClearsStatus, EmitsChanges}),
            ([MemoryBackend({}), MemoryBackend({})], {ListsUsers, SetsStatus, ClearsStatus, EmitsChanges}),
            ([MemoryBackend({}), FakeReader({})], {ListsUsers, SetsStatus, ClearsStatus}),
            ([FakeReader({}), MemoryBackend({})], {ListsUsers, SetsStatus, ClearsStatus}),
            ([FakeReader({}), Historian()], {KeepsHistory}),
            ([MemoryBackend({}), Historian()], {ListsUsers, SetsStatus, ClearsStatus, KeepsHistory}),
        ],
    )
    def test_are_those_of_any_layer_but_changes_only_if_every_layer_emits_them(
        self, backends: list[Backend], capabilities: set[type]
    ) -> None:
        backend: object = over(*backends)
        assert isinstance(backend, Backend)
        assert {kind for kind in CAPABILITIES if isinstance(backend, kind)} == capabilities


class TestReading:
    async def test_the_first_layer_that_knows_the_user_answers(self) -> None:
        upper, lower = FakeReader({"moshez": "above"}), FakeReader({"moshez": "below", "alice": "below"})
        backend = over(upper, lower)
        assert await status_of(backend, "moshez") == "above"
        assert lower.calls["get_user"] == 0
        assert await status_of(backend, "alice") == "below"
        assert await status_of(backend, "nobody") is None

    async def test_a_status_that_ends_above_uncovers_the_one_below(self) -> None:
        now = NOON
        upper = MemoryBackend({}, now=lambda: now)
        backend = over(upper, FakeReader({"moshez": "No Plan."}))
        await upper.set_user("moshez", "At lunch", until=NOON + HOUR)
        assert await status_of(backend, "moshez") == "At lunch"
        now += HOUR
        assert await status_of(backend, "moshez") == "No Plan."

    async def test_the_list_has_each_user_once_in_the_order_of_the_layers(self) -> None:
        backend = over(
            MemoryBackend({"moshez": "a", "alice": "b"}),
            FakeReader({"x": ""}),
            MemoryBackend({"bob": "c", "moshez": "d"}),
        )
        assert isinstance(backend, ListsUsers)
        assert await backend.get_users() == ["moshez", "alice", "bob"]


class TestAtOnce:
    def test_only_if_the_first_layer_answers_at_once(self) -> None:
        assert isinstance(over(MemoryBackend({}), FakeReader({})), AnswersAtOnce)
        assert not isinstance(over(FakeReader({}), MemoryBackend({})), AnswersAtOnce)

    def test_down_to_the_first_layer_that_has_to_wait(self) -> None:
        backend = over(MemoryBackend({"moshez": "above"}), MemoryBackend({"alice": "below"}), FakeReader({}))
        assert isinstance(backend, AnswersAtOnce)
        for user, status in (("moshez", "above"), ("alice", "below")):
            info = backend.get_user_now(user)
            assert info is not None
            assert info.status == status
        with pytest.raises(LookupError):
            backend.get_user_now("bob")
        whole = over(MemoryBackend({}), MemoryBackend({}))
        assert isinstance(whole, AnswersAtOnce)
        assert whole.get_user_now("bob") is None

    @pytest.mark.parametrize("skip_after", [None, 1.0])
    def test_a_failure_is_left_to_the_query_that_waits(self, skip_after: float | None) -> None:
        class Broken(MemoryBackend):
            def get_user_now(self, user: str) -> UserInfo | None:
                raise BackendError

        backend = over(Broken({}), MemoryBackend({"moshez": "below"}), skip_after=skip_after)
        assert isinstance(backend, AnswersAtOnce)
        with pytest.raises(LookupError):
            backend.get_user_now("moshez")


class TestFailing:
    async def test_fails_the_request_unless_the_layer_may_be_skipped(self) -> None:
        upper, lower = FakeBackend({}), FakeBackend({"moshez": "below"})
        backend = over(upper, lower)
        assert isinstance(backend, ListsUsers)
        upper.failure = BackendError("Gone fishing")
        with pytest.raises(BackendError, match="Gone fishing"):
            await backend.get_user("moshez")
        with pytest.raises(BackendError, match="Gone fishing"):
            await backend.get_users()
        assert not lower.calls

    async def test_below_the_layer_that_answers_is_not_noticed(self) -> None:
        upper, lower = FakeReader({"moshez": "above"}), FakeReader({})
        lower.failure = BackendError()
        assert await status_of(over(upper, lower), "moshez") == "above"

    @pytest.mark.parametrize("failure", [BackendError("Gone fishing"), OSError("private")])
    async def test_skips_the_layer_if_configured(self, failure: Exception) -> None:
        upper, lower = FakeBackend({"moshez": "above", "ada": "above"}), FakeBackend({"moshez": "below"})
        backend = over(upper, lower, skip_after=1.0)
        assert isinstance(backend, ListsUsers)
        upper.failure = failure
        assert await status_of(backend, "moshez") == "below"
        assert await status_of(backend, "ada") is None
        assert await backend.get_users() == ["moshez"]
        upper.failure = None
        assert await status_of(backend, "moshez") == "above"

    async def test_makes_what_is_answered_stale_until_the_layer_answers_again(self, autojump_clock: MockClock) -> None:
        upper, lower = FakeBackend({}), FakeBackend({"moshez": "below"})
        backend = over(upper, lower, skip_after=1.0)
        assert backend.stale_since() is None
        upper.failure = BackendError()
        before = datetime.now(UTC)
        await backend.get_user("moshez")
        assert backend.stale_since() is None, "it may fail for this one name"
        await trio.sleep(1)
        began = backend.stale_since()
        assert began is not None
        assert before <= began <= datetime.now(UTC)
        await backend.get_user("moshez")
        assert backend.stale_since() == began
        upper.failure = None
        await backend.get_user("moshez")
        assert backend.stale_since() is None

    async def test_the_whole_is_as_stale_as_its_stalest_layer(self) -> None:
        upper, lower = Ageing({}), Ageing({"moshez": "below"})
        backend = over(upper, lower)
        upper.age = NOON
        assert backend.stale_since() == NOON
        lower.age = NOON - HOUR
        assert backend.stale_since() == NOON - HOUR

    async def test_by_not_answering_counts_after_a_while(self, autojump_clock: MockClock) -> None:
        upper, lower = FakeBackend({"moshez": "above"}), FakeBackend({"moshez": "below"})
        backend = over(upper, lower, skip_after=1.0)
        upper.hold()
        started = trio.current_time()
        assert await status_of(backend, "moshez") == "below"
        assert trio.current_time() - started == pytest.approx(1.0)

    async def test_of_every_layer_answers_as_if_they_knew_no_user(self) -> None:
        upper, lower = FakeReader({"moshez": "above"}), FakeReader({"moshez": "below"})
        upper.failure = lower.failure = BackendError()
        assert await over(upper, lower, skip_after=1.0).get_user("moshez") is None

    async def test_does_not_swallow_a_cancellation(self) -> None:
        upper = FakeReader({})
        upper.hold()
        backend = over(upper, skip_after=10.0)
        with trio.move_on_after(0) as scope:
            await backend.get_user("moshez")
        assert scope.cancelled_caught

    async def test_is_logged_once_and_so_is_its_end(
        self, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
    ) -> None:
        upper = FakeReader({})
        backend = over(upper, FakeReader({}), skip_after=0.5)
        upper.failure = BackendError("Gone fishing")
        for _ in range(3):
            await backend.get_user("moshez")
        upper.failure = None
        for _ in range(3):
            await backend.get_user("moshez")
        await trio.sleep(60)
        upper.hold()
        await backend.get_user("moshez")
        assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
            (logging.WARNING, "layer 1 failed and is skipped"),
            (logging.WARNING, "layer 1 answers again"),
            (logging.WARNING, "layer 1 is skipped: no answer within 0.5 seconds"),
        ]
        assert "Gone fishing" in caplog.text

    async def test_for_some_names_only_is_logged_once_a_minute_and_makes_no_other_answer_stale(
        self, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
    ) -> None:
        upper = FakeReader({"good": "above"})
        backend = over(upper, FakeReader({}), skip_after=0.5)
        for _ in range(50):
            upper.failure = BackendError()
            await backend.get_user("bad")
            assert backend.stale_since() is None
            upper.failure = None
            await backend.get_user("good")
            await trio.sleep(0.1)
        assert len(caplog.records) == 2
        upper.failure = BackendError()
        await trio.sleep(60)
        await backend.get_user("bad")
        assert len(caplog.records) == 3

    async def test_by_an_unexpected_exception_is_logged_as_an_error(self, caplog: pytest.LogCaptureFixture) -> None:
        upper = FakeReader({})
        upper.failure = LookupError("a mistake")
        await over(upper, skip_after=1.0).get_user("moshez")
        assert [record.levelno for record in caplog.records] == [logging.ERROR]


class TestSetting:
    async def test_goes_to_the_first_layer_that_can(self) -> None:
        reader, first, second = FakeReader({}), FakeBackend({}), FakeBackend({"moshez": "below"})
        backend = over(reader, first, second)
        assert isinstance(backend, SetsStatus)
        info = await backend.set_user("moshez", "In the garden", until=datetime.now(UTC) + HOUR)
        assert await backend.get_user("moshez") == info
        assert await status_of(first, "moshez") == "In the garden"
        assert second.calls["set_user"] == 0

    async def test_is_refused_where_a_layer_above_would_hide_it(self) -> None:
        upper, lower = FakeReader({"moshez": "above"}), FakeBackend({})
        backend = over(upper, lower)
        assert isinstance(backend, SetsStatus)
        with pytest.raises(BackendError, match="cannot be set here"):
            await backend.set_user("moshez", "In the garden")
        assert await status_of(lower, "moshez") is None
        await backend.set_user("alice", "In the garden")
        assert await status_of(backend, "alice") == "In the garden"

    @pytest.mark.parametrize("skip_after", [None, 1.0])
    async def test_is_never_passed_on_to_a_lower_layer(self, skip_after: float | None) -> None:
        upper, lower = FakeBackend({}), FakeBackend({})
        backend = over(upper, lower, skip_after=skip_after)
        assert isinstance(backend, SetsStatus)
        upper.failure = BackendError("The disk is full")
        with pytest.raises(BackendError, match="The disk is full"):
            await backend.set_user("moshez", "In the garden")
        assert lower.calls["set_user"] == 0

    async def test_asks_a_failing_layer_above_only_where_that_is_fatal(self) -> None:
        upper, lower = FakeReader({}), FakeBackend({})
        upper.failure = BackendError("Gone fishing")
        strict, lenient = over(upper, lower), over(upper, lower, skip_after=1.0)
        assert isinstance(strict, SetsStatus)
        assert isinstance(lenient, SetsStatus)
        with pytest.raises(BackendError, match="Gone fishing"):
            await strict.set_user("moshez", "In the garden")
        await lenient.set_user("moshez", "In the garden")
        assert await status_of(lower, "moshez") == "In the garden"


class TestClearing:
    async def test_is_done_in_the_layer_that_is_set(self) -> None:
        upper = MemoryBackend({"moshez": "above"})
        backend = over(FakeReader({}), upper, MemoryBackend({"moshez": "below"}))
        assert isinstance(backend, ClearsStatus)
        info = await backend.clear_user("moshez")
        assert info is not None
        assert info.status == ""
        assert await backend.get_user("moshez") == info
        assert await backend.clear_user("nobody") is None

    async def test_is_refused_if_the_status_comes_from_another_layer(self) -> None:
        for backend in (
            over(FakeReader({"moshez": "above"}), MemoryBackend({"moshez": "below"})),
            over(MemoryBackend({}), FakeReader({"moshez": "below"})),
        ):
            assert isinstance(backend, ClearsStatus)
            with pytest.raises(BackendError, match="cannot be set here"):
                await backend.clear_user("moshez")

    def test_is_absent_if_the_layer_that_is_set_cannot(self) -> None:
        class SetsOnly(FakeReader):
            async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
                return UserInfo(user, status, until=until)

        backend: object = over(SetsOnly({}), MemoryBackend({}))
        assert isinstance(backend, SetsStatus)
        assert not isinstance(backend, ClearsStatus)


def falling_through(upper: Backend, *lower: Backend) -> LayeredBackend:
    layers = [OpenLayer(f"layer {number}", backend) for number, backend in enumerate(lower, 2)]
    return stack_layers([OpenLayer("layer 1", upper, falls_through=True), *layers])


class TestFallingThrough:
    """A status above a plan, and the plan again when it is taken back."""

    async def test_a_cleared_status_uncovers_the_one_below(self) -> None:
        upper, lower = MemoryBackend({}), FakeReader({"ada": "A plan"})
        backend = falling_through(upper, lower)
        assert isinstance(backend, SetsStatus)
        assert isinstance(backend, ClearsStatus)
        await backend.set_user("ada", "At lunch")
        assert await status_of(backend, "ada") == "At lunch"
        await backend.clear_user("ada")
        assert await status_of(backend, "ada") == "A plan"
        # A user whom nothing below knows stays, without a status.
        await backend.set_user("bob", "At lunch")
        await backend.clear_user("bob")
        assert await status_of(backend, "bob") == ""

    async def test_name_and_details_that_are_missing_come_from_below_and_its_own_count_more(self) -> None:
        lower = FakeReader({})
        lower.users["ada"] = UserInfo(
            "ada", "A plan", name="Ada Lovelace", details={"project": "Notes", "pubkey": "key"}
        )
        upper = MemoryBackend({})
        backend = falling_through(upper, lower)
        info = await upper.set_user("ada", "At lunch")
        found = await backend.get_user("ada")
        assert found is not None
        assert (found.status, found.since, found.name) == ("At lunch", info.since, "Ada Lovelace")
        assert isinstance(backend, SetsDetails)
        await backend.set_details("ada", "Countess", {"project": "Engines"})
        for status in ("At lunch", "A plan"):
            found = await backend.get_user("ada")
            assert found is not None
            assert (found.status, found.name) == (status, "Countess")
            assert found.details == {"project": "Engines", "pubkey": "key"}
            await upper.clear_user("ada")
        # Details can be set without a status, too, once there is a record; a plan alone has none.
        await backend.set_details("ada", None, {})
        lower.users["cy"] = UserInfo("cy", "A plan")
        with pytest.raises(BackendError, match="cannot be set here"):
            await backend.set_details("cy", "Cy", {})

    async def test_a_layer_below_that_is_skipped_is_missing_only(self) -> None:
        upper, lower = MemoryBackend({"ada": "At lunch"}), FakeReader({"ada": "A plan"})
        backend = stack_layers([OpenLayer("upper", upper, falls_through=True), OpenLayer("lower", lower, 1.0)])
        lower.failure = BackendError()
        assert await status_of(backend, "ada") == "At lunch"
        await upper.clear_user("ada")
        assert await status_of(backend, "ada") == ""

    async def test_the_history_is_that_of_what_was_set_above(self) -> None:
        upper = Historian(UserInfo("ada", "", since=NOON), UserInfo("ada", "At lunch", since=NOON - HOUR))
        backend = falling_through(upper, FakeReader({"ada": "A plan"}))
        assert isinstance(backend, KeepsHistory)
        assert [info.status for info in await backend.get_history("ada", 10)] == ["", "At lunch"]
        assert await status_of(backend, "ada") == "A plan"

    def test_what_is_known_above_does_not_leave_at_once(self) -> None:
        backend = falling_through(MemoryBackend({"ada": "At lunch"}), MemoryBackend({"bob": "A plan"}))
        assert isinstance(backend, AnswersAtOnce)
        with pytest.raises(LookupError):
            backend.get_user_now("ada")
        found = backend.get_user_now("bob")
        assert found is not None
        assert found.status == "A plan"


class TestHistory:
    NEW = UserInfo("moshez", "new", since=NOON)
    OLD = UserInfo("moshez", "old", since=NOON - HOUR)

    async def history(self, *layers: Backend, before: datetime | None = None, limit: int = 10) -> list[str]:
        backend = over(*layers, skip_after=1.0)
        assert isinstance(backend, KeepsHistory)
        return [info.status for info in await backend.get_history("moshez", limit, before)]

    async def test_is_that_of_the_layer_that_answers(self) -> None:
        upper, lower = Historian(self.NEW, self.OLD), Historian(UserInfo("moshez", "below", since=NOON))
        assert await self.history(FakeReader({}), upper, lower) == ["new", "old"]
        assert await self.history(upper, before=NOON) == ["old"]
        assert await self.history(upper, limit=1) == ["new"]

    async def test_of_a_layer_that_keeps_none_is_the_present(self) -> None:
        present = FakeReader({})
        present.users["moshez"] = self.NEW
        layers = present, Historian(self.OLD)
        assert await self.history(*layers) == ["new"]
        assert await self.history(*layers, before=NOON) == []
        assert await self.history(*layers, limit=0) == []
        present.users["moshez"] = UserInfo("moshez", "set at an unknown time")
        assert await self.history(*layers) == []

    async def test_without_a_current_status_is_that_of_the_first_layer_that_has_one(self) -> None:
        empty, remembers = Historian(), Historian(self.OLD, forgotten=True)
        assert await self.history(empty, remembers) == ["old"]
        assert await self.history(empty) == []

    async def test_of_a_failing_layer_is_skipped(self) -> None:
        upper, lower = Historian(self.NEW, forgotten=True), Historian(self.OLD, forgotten=True)
        upper.failure = BackendError()
        assert await self.history(upper, lower) == ["old"]


class Feeding(FakeReader):
    """Its feed sends, ends and breaks as a test wants."""

    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.send, self._receive = trio.open_memory_channel[Change](0)
        self.broken: Exception | None = None

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[Change]]:
        if self.broken is not None:
            raise self.broken
        yield self._receive


@asynccontextmanager
async def running(backend: LayeredBackend) -> AsyncIterator[EmittingBackend]:
    assert isinstance(backend, EmittingBackend)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.run)
        yield backend
        nursery.cancel_scope.cancel()


class TestChanges:
    async def test_of_every_layer_are_told(self) -> None:
        upper, lower = MemoryBackend({}), MemoryBackend({})
        async with running(over(upper, lower)) as backend, backend.changes() as feed:
            await lower.set_user("alice", "below")
            assert await anext(feed) == Change("alice")
            await upper.set_user("moshez", "above")
            assert await anext(feed) == Change("moshez")

    async def test_break_if_those_of_a_layer_cannot_be_entered(self) -> None:
        lower = Feeding({})
        lower.broken = BackendError("Gone fishing")
        async with running(over(MemoryBackend({}), lower)) as backend:
            with pytest.RaisesGroup(BackendError, flatten_subgroups=True):
                async with backend.changes():
                    pytest.fail("entered without the lower layer's")

    async def test_break_when_those_of_a_layer_end(self) -> None:
        lower = Feeding({})
        async with running(over(MemoryBackend({}), lower)) as backend:
            with pytest.RaisesGroup(pytest.RaisesExc(Exception, match="the change feed of layer 2 ended")):
                async with backend.changes() as feed:
                    await lower.send.send(Change("moshez"))
                    assert await anext(feed) == Change("moshez")
                    await lower.send.aclose()
                    await anext(feed)

    async def test_announce_an_answer_without_a_layer_soon_afterwards(self, autojump_clock: MockClock) -> None:
        upper, lower = FakeBackend({}), FakeBackend({"moshez": "below"})
        async with running(over(upper, lower, skip_after=1.0)) as backend, backend.changes() as feed:
            upper.failure = BackendError()
            await backend.get_user("moshez")
            started = trio.current_time()
            assert await anext(feed) == Change("moshez")
            assert 0 < trio.current_time() - started <= 1.0
            assert isinstance(backend, ListsUsers)
            await backend.get_users()
            assert await anext(feed) == Change(None)

    async def test_do_not_announce_an_answer_of_all_layers(self, autojump_clock: MockClock) -> None:
        upper, lower = FakeBackend({}), FakeBackend({"moshez": "below"})
        async with running(over(upper, lower, skip_after=1.0)) as backend, backend.changes() as feed:
            await backend.get_user("moshez")
            with trio.move_on_after(60) as silence:
                await anext(feed)
            assert silence.cancelled_caught


class TestNothingStaleIsServedForEver:
    async def test_while_a_layer_is_left_out(self, autojump_clock: MockClock) -> None:
        """Every layer emits changes, so the service keeps answers for ever, except one that lacks a layer."""
        upper, lower = FakeBackend({"moshez": "above"}), FakeBackend({"moshez": "below"})
        async with running(over(upper, lower, skip_after=1.0)) as backend, FingerService.open(backend) as service:
            upper.failure = BackendError()
            assert await status_of(service, "moshez") == "below"
            upper.failure = None
            await trio.sleep(1.5)
            assert await status_of(service, "moshez") == "above"
            await trio.sleep(1.5)  # until the service has noticed that answers are true again
            assert await status_of(service, "moshez") == "above"
            await trio.sleep(3600)
            assert service.peek("moshez") is not None

    async def test_where_a_layer_tells_of_no_changes(self, autojump_clock: MockClock) -> None:
        upper, lower = FakeBackend({}), FakeReader({"moshez": "below"})
        async with FingerService.open(over(upper, lower)) as service:
            assert await status_of(service, "moshez") == "below"
            lower.users["moshez"] = UserInfo("moshez", "changed")
            await trio.sleep(1.5)
            assert await status_of(service, "moshez") == "changed"

    async def test_when_an_upper_layer_gets_a_user_of_a_lower_one(self, autojump_clock: MockClock) -> None:
        upper, lower = FakeBackend({}), FakeBackend({"moshez": "below"})
        async with running(over(upper, lower)) as backend, FingerService.open(backend) as service:
            assert await status_of(service, "moshez") == "below"
            await upper.set_user("moshez", "above")
            await wait_all_tasks_blocked()
            assert await status_of(service, "moshez") == "above"
