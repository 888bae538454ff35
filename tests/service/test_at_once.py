"""A backend that answers at once is asked without a task, and everything else about its answers stays the same."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import trio
from trio.testing import MockClock

from fingertrio.backend import AnswersAtOnce, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService, ServicePolicy

USERS = {"moshez": "Happy and well", "Ada": "Weaving"}


class Ready(MemoryBackend):
    """Counts how it is asked. A test can make it wait."""

    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.at_once: list[str] = []
        self.awaited: list[str] = []
        self.must_wait = False
        self.since: datetime | None = None

    def get_user_now(self, user: str) -> UserInfo | None:
        self.at_once.append(user)
        if self.must_wait:
            raise LookupError(user)
        return super().get_user_now(user)

    async def get_user(self, user: str) -> UserInfo | None:
        self.awaited.append(user)
        return await super().get_user(user)

    def stale_since(self) -> datetime | None:
        return self.since


@asynccontextmanager
async def serving(backend: Any, observer: Observer | None = None, **policy: Any) -> AsyncIterator[FingerService]:
    async with FingerService.open(backend, ServicePolicy(**policy), observer or Observer()) as service:
        await trio.testing.wait_all_tasks_blocked()
        yield service


async def test_a_first_query_is_answered_without_a_task_and_kept(autojump_clock: MockClock):
    backend = Ready(USERS)
    async with serving(backend) as service:
        answer = service.peek("moshez")
        assert answer is not None
        assert answer.value == UserInfo("moshez", "Happy and well")
        assert service.peek("moshez") is answer
        assert await service.ask_user("moshez") is answer
        assert (backend.at_once, backend.awaited) == (["moshez"], [])


async def test_a_change_ends_the_answer(autojump_clock: MockClock):
    backend = Ready(USERS)
    async with serving(backend) as service:
        answer = service.peek("moshez")
        assert answer is not None
        epoch = service.epoch
        await backend.set_user("moshez", "In the garden")
        await trio.testing.wait_all_tasks_blocked()
        assert answer.expires < trio.current_time()
        assert service.epoch > epoch
        new = service.peek("moshez")
        assert new is not None
        assert new.value is not None
        assert new.value.status == "In the garden"


async def test_it_is_counted_like_every_call(autojump_clock: MockClock):
    counted = []
    for must_wait in (False, True):
        observer = Observer()
        backend = Ready(USERS)
        backend.must_wait = must_wait
        async with serving(backend, observer) as service:
            for user in ("moshez", "moshez", "Ada", "nobody", "a/b"):
                await service.ask_user(user)
            metrics = observer.metrics
            calls = {call: count for call, count in metrics.backend_calls.items() if call[0] == "get_user"}
            counted.append((metrics.cache_hits, metrics.cache_misses - metrics.backend_calls["get_users", "ok"], calls))
    assert counted[0] == counted[1]


async def test_a_backend_that_would_have_to_wait_is_awaited(autojump_clock: MockClock):
    backend = Ready(USERS)
    backend.must_wait = True
    async with serving(backend) as service:
        assert service.peek("moshez") is None
        assert backend.awaited == []
        info = await service.get_user("moshez")
        assert info is not None
        assert backend.awaited == ["moshez"]


async def test_a_query_joins_the_call_under_way(autojump_clock: MockClock):
    backend = Ready(USERS)
    backend.must_wait = True
    async with serving(backend) as service, trio.open_nursery() as nursery:
        nursery.start_soon(service.ask_user, "moshez")
        await trio.testing.wait_all_tasks_blocked(0)
        backend.must_wait = False
    assert backend.awaited == ["moshez"]

    class Slow(Ready):
        async def get_user(self, user: str) -> UserInfo | None:
            await trio.sleep(1)
            return await super().get_user(user)

    slow = Slow(USERS)
    slow.must_wait = True
    async with serving(slow) as service, trio.open_nursery() as nursery:
        nursery.start_soon(service.ask_user, "moshez")
        await trio.testing.wait_all_tasks_blocked()
        slow.must_wait = False
        assert service.peek("moshez") is None
        await service.ask_user("moshez")
        assert slow.awaited == ["moshez"]


async def test_text_that_is_no_name_never_reaches_the_backend(autojump_clock: MockClock):
    backend = Ready(USERS)
    async with serving(backend) as service:
        for text in ("", "-l", "../x", "a b", "a@b", "x" * 65):
            answer = service.peek(text)
            assert answer is not None
            assert answer.value is None
        assert backend.at_once == []


async def test_names_are_asked_for_in_one_form(autojump_clock: MockClock):
    backend = Ready({"\u00e9va": "Here"})
    async with serving(backend) as service:
        answer = service.peek("e\u0301va")
        assert answer is not None
        assert answer.value is not None
        assert backend.at_once == ["\u00e9va"]


async def test_another_spelling_is_found_and_unknown_names_are_answered_at_once_after_that(autojump_clock: MockClock):
    backend = Ready(USERS)
    async with serving(backend) as service:
        assert service.peek("ada") is None  # the list of names must be read first
        info = await service.get_user("ada")
        assert info is not None
        assert info.user == "Ada"
        for number in range(20):
            answer = service.peek(f"nobody{number}")
            assert answer is not None
            assert answer.value is None
        assert [user for user in backend.awaited if user.startswith("nobody")] == []


async def test_a_bug_is_logged_once_and_the_backend_is_awaited_from_then_on(autojump_clock: MockClock):
    class Broken(Ready):
        def get_user_now(self, user: str) -> UserInfo | None:
            raise RuntimeError("never mind")

    log = io.StringIO()
    async with serving(Broken(USERS), Observer(log)) as service:
        for _ in range(3):
            assert service.peek("moshez") is None
        assert await service.get_user("moshez") is not None
        lines = [json.loads(line) for line in log.getvalue().splitlines()]
        assert [line["user"] for line in lines if line["event"] == "get_user_now_failed"] == ["moshez"]


async def test_an_answer_against_the_contract_is_no_answer(autojump_clock: MockClock):
    class Broken(Ready):
        def get_user_now(self, user: str) -> Any:
            return user

    async with serving(Broken(USERS)) as service:
        assert service.peek("moshez") is None
        assert await service.get_user("moshez") is not None


async def test_it_expires_with_the_status_and_shows_the_staleness(autojump_clock: MockClock):
    backend = Ready(USERS)
    backend.since = datetime.now(UTC) - timedelta(hours=1)
    async with serving(backend) as service:
        await backend.set_user("moshez", "Back soon", until=datetime.now(UTC) + timedelta(seconds=30))
        await trio.testing.wait_all_tasks_blocked()
        answer = service.peek("moshez")
        assert answer is not None
        assert 0 < answer.expires - trio.current_time() <= 30
        assert answer.stale_since == backend.since


async def test_without_changes_it_holds_for_the_ttl(autojump_clock: MockClock):
    class Reader:
        def __init__(self) -> None:
            self.at_once = 0

        async def get_user(self, user: str) -> UserInfo | None:
            raise AssertionError(user)

        def get_user_now(self, user: str) -> UserInfo | None:
            self.at_once += 1
            return UserInfo(user, "Here")

    backend = Reader()
    assert isinstance(backend, AnswersAtOnce)
    async with serving(backend, cache_ttl=5.0) as service:
        await service.get_user("moshez")
        await trio.sleep(4)
        await service.get_user("moshez")
        assert backend.at_once == 1
        await trio.sleep(2)
        await service.get_user("moshez")
        assert backend.at_once == 2


async def test_thousands_of_answers_leave_turns_to_other_tasks(autojump_clock: MockClock):
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with serving(Ready({f"user{number}": "Here" for number in range(320)})) as service:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for number in range(320):
                await service.ask_user(f"user{number}")
            nursery.cancel_scope.cancel()
        assert turns >= 8


async def test_a_lost_feed_limits_how_long_it_holds(autojump_clock: MockClock):
    class Deaf(Ready):
        def changes(self) -> Any:
            raise OSError("no feed")

    async with serving(Deaf(USERS), cache_ttl=3.0) as service:
        answer = service.peek("moshez")
        assert answer is not None
        assert answer.expires - trio.current_time() <= 3.0
