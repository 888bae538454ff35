"""The recent statuses: asked for once, until something changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import trio
from trio.testing import MockClock

from fingertrio.backend import BackendError, Change, Recency, UserInfo
from fingertrio.service import FingerService
from fingertrio.service.recent import PAGES, RECENT_LIMIT
from fingertrio.testing import FakeBackend, FakeReader
from tests.helpers import ANYONE, Ageing

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Answers(FakeReader):
    """Answers get_recent with what a test says, whatever it is."""

    recent: Sequence[object] = ()

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[object]:
        await self._turn("get_recent")
        return self.recent


async def users(service: FingerService, limit: int = 10, before: Recency | None = None) -> list[str]:
    return [info.user for info in (await service.get_recent(limit, before)).statuses]


async def test_pages_follow_each_other_and_the_last_one_says_so():
    async with FingerService.open(FakeBackend({"ada": "a", "bob": "b", "cy": "c", "dee": "d"})) as service:
        assert service.can_list_recent
        first = await service.get_recent(2)
        assert [info.user for info in first.statuses] == ["ada", "bob"]
        assert first.next == Recency(None, "bob")
        second = await service.get_recent(2, first.next)
        assert [info.user for info in second.statuses] == ["cy", "dee"]
        assert second.next is None


async def test_nothing_is_asked_again_until_something_changes():
    backend = FakeBackend({"ada": "a", "bob": "b"})
    async with FingerService.open(backend) as service:
        answer = await service.ask_recent(10)
        for _ in range(3):
            assert await service.ask_recent(10) is answer
        assert backend.calls["get_recent"] == 1
        epoch = service.epoch
        await service.set_user("bob", "Out", writer=ANYONE)
        assert service.epoch > epoch
        assert answer.expires < trio.current_time()
        assert await users(service) == ["bob", "ada"]
        await service.set_details("ada", name="Ada", details={}, writer=ANYONE)
        assert [info.name for info in (await service.get_recent(10)).statuses] == [None, "Ada"]


async def test_a_change_during_the_call_is_not_missed():
    backend = FakeBackend({"ada": "a"})
    async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
        backend.hold()
        nursery.start_soon(service.get_recent, 10)
        await trio.testing.wait_all_tasks_blocked()
        backend._hub.emit(Change("ada"))
        await trio.testing.wait_all_tasks_blocked()
        backend.release()
        await service.get_recent(10)
        assert backend.calls["get_recent"] == 2


async def test_simultaneous_questions_are_one_call():
    backend = FakeBackend({"ada": "a"})
    async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(service.get_recent, 10)
    assert backend.calls["get_recent"] == 1


async def test_a_page_holds_until_its_first_status_ends():
    backend = Answers({})
    until = datetime.now(UTC) + timedelta(seconds=0.5)
    backend.recent = [UserInfo("ada", "Lunch", since=MOMENT, until=until)]
    async with FingerService.open(backend) as service:
        answer = await service.ask_recent(10)
        assert answer.expires <= trio.current_time() + 0.5


async def test_what_has_ended_is_empty_or_cannot_be_asked_for_is_left_out():
    backend = Answers({})
    backend.recent = [
        UserInfo("ada", "Lunch", since=MOMENT, until=MOMENT),
        UserInfo("bob", "", since=MOMENT),
        UserInfo("no name", "x", since=MOMENT),
        UserInfo("cy", "Here", since=MOMENT),
        UserInfo("dee", "Here", since=MOMENT),
    ]
    async with FingerService.open(backend) as service:
        page = await service.get_recent(4)
        assert [info.user for info in page.statuses] == ["cy"]
        assert page.next == Recency(MOMENT, "cy")  # of the backend's page, so that the next one leaves nothing out


@pytest.mark.parametrize("recent", [[None], ["ada"], [UserInfo("ada", "x", since=datetime(2026, 1, 1))]])  # noqa: DTZ001 -- the mistake
async def test_a_backend_that_breaks_its_contract_fails(recent: list[object]):
    backend = Answers({})
    backend.recent = recent
    async with FingerService.open(backend) as service:
        with pytest.raises(BackendError):
            await service.get_recent(10)


async def test_pages_are_marked_as_stale():
    backend = Ageing({"ada": "a"})
    async with FingerService.open(backend) as service:
        assert (await service.ask_recent(10)).stale_since is None
        backend.age = MOMENT
        service._forget_all()
        assert (await service.ask_recent(10)).stale_since == MOMENT


async def test_a_backend_without_the_capability_says_so():
    async with FingerService.open(FakeReader({"ada": "a"})) as service:
        assert not service.can_list_recent
        with pytest.raises(BackendError, match="not listed by their time"):
            await service.get_recent(10)


@pytest.mark.parametrize("limit", [0, RECENT_LIMIT + 1])
async def test_a_page_has_a_size(limit: int):
    async with FingerService.open(FakeBackend({"ada": "a"})) as service:
        with pytest.raises(ValueError, match="limit"):
            await service.get_recent(limit)


async def test_few_pages_are_kept():
    async with FingerService.open(FakeBackend({"ada": "a"})) as service:
        for number in range(3 * PAGES):
            await service.get_recent(1, Recency(None, f"u{number}"))
        assert len(service._recent._cache._known) == PAGES


async def test_a_backend_that_does_not_answer_is_given_up(autojump_clock: MockClock):
    backend = FakeBackend({"ada": "a"})
    backend.hold()
    async with FingerService.open(backend) as service:
        with pytest.raises(BackendError):
            await service.get_recent(10)
        assert trio.current_time() < 10
