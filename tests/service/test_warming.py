"""The cache is warm soon after it was emptied, within bounds, and never with what is out of date."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import trio
import trio.testing
from trio.testing import MockClock

from fingertrio.backend import BackendError, Change, Recency, UserInfo
from fingertrio.changes import ChangeHub
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService, ServicePolicy, warming

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Recent:
    """Lists its users by time and emits changes. A test makes its lists wait or fail."""

    def __init__(self, count: int) -> None:
        infos = [UserInfo(f"user{number}", "Here", since=NOON - timedelta(seconds=number)) for number in range(count)]
        self.users = {info.user: info for info in infos}
        self.asked: list[str] = []
        self.limits: list[int] = []
        self.failure: Exception | None = None
        self.delay = 0.0
        self.hub = ChangeHub()

    async def get_user(self, user: str) -> UserInfo | None:
        self.asked.append(user)
        await trio.lowlevel.checkpoint()
        return self.users.get(user)

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        self.limits.append(limit)
        infos = sorted(self.users.values(), key=Recency.of)
        found = [info for info in infos if before is None or before < Recency.of(info)][:limit]
        await trio.sleep(self.delay)
        if self.failure is not None:
            raise self.failure
        return found

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        return self.hub.changes()


@asynccontextmanager
async def serving(backend: Any, observer: Observer | None = None, **policy: Any) -> AsyncIterator[FingerService]:
    async with FingerService.open(backend, ServicePolicy(**policy), observer) as service:
        await trio.testing.wait_all_tasks_blocked()
        yield service


def cached(service: FingerService, backend: Recent) -> set[str]:
    return {user for user in backend.users if service.cached(user) is not None}


async def test_recent_users_are_in_the_cache_without_having_been_asked_for(autojump_clock: MockClock):
    backend = Recent(250)
    observer = Observer()
    async with serving(backend, observer) as service:
        assert cached(service, backend) == set(backend.users)
        assert backend.limits == [100, 100, 100]
        assert observer.metrics.backend_calls == {("warm_up", "ok"): 3}
        assert await service.get_user("user7") == backend.users["user7"]
        assert backend.asked == []


async def test_the_reading_has_a_bound_in_users(autojump_clock: MockClock):
    backend = Recent(2500)
    async with serving(backend) as service:
        assert cached(service, backend) == {f"user{number}" for number in range(warming.WARM_USERS)}
    async with serving(backend, cache_size=90) as service:
        assert cached(service, backend) == {f"user{number}" for number in range(45)}


async def test_the_reading_has_a_bound_in_seconds_and_delays_nothing(autojump_clock: MockClock):
    backend = Recent(1000)
    backend.delay = 0.9
    begun = trio.current_time()
    async with serving(backend) as service:
        assert trio.current_time() == begun
        await trio.sleep(9)
        assert cached(service, backend) == {f"user{number}" for number in range(200)}


async def test_after_anything_may_have_changed_it_is_warmed_again_but_not_all_the_time(autojump_clock: MockClock):
    backend = Recent(10)
    async with serving(backend) as service:
        for _ in range(20):
            await trio.sleep(1)
            backend.users["user3"] = UserInfo("user3", f"At {trio.current_time()}", since=NOON)
            backend.hub.emit(Change(None))
        assert len(backend.limits) <= 3
        await trio.sleep(11)
        answer = service.cached("user3")
        assert answer is not None
        assert answer.value is backend.users["user3"]


async def test_a_change_during_the_reading_wins(autojump_clock: MockClock):
    backend = Recent(10)
    backend.delay = 1.0
    async with serving(backend) as service:
        backend.users["user3"] = UserInfo("user3", "New", since=NOON)
        backend.hub.emit(Change("user3"))
        await trio.sleep(1.5)
        assert cached(service, backend) == set(backend.users) - {"user3"}
        info = await service.get_user("user3")
        assert info is not None
        assert info.status == "New"


async def test_what_is_read_when_anything_changed_is_dropped(autojump_clock: MockClock):
    backend = Recent(10)
    backend.delay = 1.0
    async with serving(backend) as service:
        backend.hub.emit(Change(None))
        await trio.sleep(1.5)
        assert cached(service, backend) == set()
        await trio.sleep(12)
        assert cached(service, backend) == set(backend.users)


async def test_a_failure_is_a_condition_and_the_service_goes_on(autojump_clock: MockClock):
    backend = Recent(10)
    backend.failure = BackendError()
    observer = Observer()
    async with serving(backend, observer) as service:
        assert "backend" in observer.metrics.conditions
        assert await service.get_user("user1") is not None
        backend.failure = None
        await service.probe()
        assert "backend" not in observer.metrics.conditions


async def test_statuses_expire_as_if_they_had_been_asked_for(autojump_clock: MockClock):
    backend = Recent(1)
    until = datetime.now(UTC) + timedelta(seconds=60)
    backend.users = {"moshez": UserInfo("moshez", "Back soon", since=NOON, until=until)}
    async with serving(backend) as service:
        answer = service.cached("moshez")
        assert answer is not None
        assert 0 < answer.expires - trio.current_time() <= 60


async def test_a_backend_that_answers_at_once_or_emits_no_changes_is_left_alone(autojump_clock: MockClock):
    class AtOnce(Recent):
        def get_user_now(self, user: str) -> UserInfo | None:
            return self.users.get(user)

    class Silent:
        def __init__(self) -> None:
            self.recent = Recent(3)
            self.get_user, self.get_recent = self.recent.get_user, self.recent.get_recent

    at_once, silent = AtOnce(3), Silent()
    for backend in (at_once, silent):
        async with serving(backend):
            await trio.sleep(1)
    assert (at_once.limits, silent.recent.limits) == ([], [])
