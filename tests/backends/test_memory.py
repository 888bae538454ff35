from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trio
from pydantic import ValidationError
from trio.testing import MockClock, wait_all_tasks_blocked

from fingertrio.backend import BackendError, Change, UserInfo
from fingertrio.backends.memory import MemoryBackend, MemoryOptions, open_memory
from fingertrio.testing import CLAUSES, Clause, check_backend

USERS = {"moshez": "Happy and well", "alice": "In the garden"}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("clause", CLAUSES, ids=str)
async def test_the_contract_holds(clause: Clause) -> None:
    applies = await check_backend(lambda: open_memory(MemoryOptions(users=USERS)), known=USERS, clauses=[clause])
    cannot = clause.name in {"what_others_change_is_told", "at_once_is_new_when_others_change", "staleness_is_a_time"}
    assert applies or cannot or clause.name.startswith("history_")


class Calendar:
    """A calendar clock that follows trio's clock, plus an offset that a test sets."""

    def __init__(self) -> None:
        self.offset = timedelta(0)

    def now(self) -> datetime:
        return NOON + timedelta(seconds=trio.current_time()) + self.offset


@asynccontextmanager
async def running(calendar: Calendar) -> AsyncIterator[MemoryBackend]:
    backend = MemoryBackend(USERS, now=calendar.now)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.run)
        yield backend
        nursery.cancel_scope.cancel()


async def status_of(backend: MemoryBackend, user: str) -> str | None:
    info = await backend.get_user(user)
    return None if info is None else info.status


async def test_users_of_the_configuration_keep_their_order_and_have_no_since() -> None:
    async with open_memory(MemoryOptions(users=USERS)) as backend:
        assert await backend.get_users() == ["moshez", "alice"]
        assert await backend.get_user("moshez") == UserInfo("moshez", "Happy and well")


async def test_there_are_no_users_by_default() -> None:
    async with open_memory(MemoryOptions()) as backend:
        assert await backend.get_users() == []


async def test_what_is_set_in_one_opening_does_not_reach_the_options() -> None:
    options = MemoryOptions(users=USERS)
    async with open_memory(options) as backend:
        await backend.set_user("bob", "New here")
    async with open_memory(options) as backend:
        assert await backend.get_users() == ["moshez", "alice"]


@pytest.mark.parametrize("name", ["", "-l", "../x", "a b", "a@b", "x" * 65, "m\u043eshez"])
def test_a_bad_name_is_an_error_that_quotes_it(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MemoryOptions(users={"moshez": "Happy and well", name: "Hello"})
    (error,) = caught.value.errors()
    assert repr(name) in error["msg"]
    assert "user name" in error["msg"]
    assert error["loc"][:2] == ("users", name)


def test_all_bad_names_are_reported_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        MemoryOptions(users={"-l": "Hello", "a b": "Hello"})
    assert caught.value.error_count() == 2


def test_an_empty_status_is_an_error() -> None:
    with pytest.raises(ValidationError, match="the status is empty"):
        MemoryOptions(users={"moshez": " \n"})


def test_unknown_options_are_errors() -> None:
    with pytest.raises(ValidationError, match="user_list"):
        MemoryOptions.model_validate({"user_list": True})


def test_a_multi_line_status_loses_the_line_end_that_toml_leaves() -> None:
    assert MemoryOptions(users={"moshez": "one\ntwo\n"}).users == {"moshez": "one\ntwo"}


async def test_since_is_now_and_until_is_kept(autojump_clock: MockClock) -> None:
    calendar = Calendar()
    async with running(calendar) as backend:
        until = calendar.now() + MINUTE
        info = await backend.set_user("moshez", "Back soon", until=until)
        assert info == UserInfo("moshez", "Back soon", since=calendar.now(), until=until)
        assert await backend.get_user("moshez") == info


async def test_a_status_holds_up_to_its_until_and_not_at_it(autojump_clock: MockClock) -> None:
    calendar = Calendar()
    async with running(calendar) as backend:
        await backend.set_user("moshez", "Back soon", until=calendar.now() + MINUTE)
        calendar.offset += MINUTE - timedelta(microseconds=1)
        assert await status_of(backend, "moshez") == "Back soon"
        calendar.offset += timedelta(microseconds=1)
        assert await status_of(backend, "moshez") == "Happy and well"


async def test_a_user_without_a_lasting_status_is_gone_after_the_until(autojump_clock: MockClock) -> None:
    calendar = Calendar()
    async with running(calendar) as backend:
        await backend.set_user("bob", "Passing by", until=calendar.now() + MINUTE)
        assert await backend.get_users() == ["moshez", "alice", "bob"]
        calendar.offset += MINUTE
        assert await backend.get_user("bob") is None
        assert await backend.get_users() == ["moshez", "alice"]


async def test_a_lasting_status_replaces_the_passing_one(autojump_clock: MockClock) -> None:
    calendar = Calendar()
    async with running(calendar) as backend:
        await backend.set_user("moshez", "Back soon", until=calendar.now() + MINUTE)
        await backend.set_user("moshez", "Back")
        assert await status_of(backend, "moshez") == "Back"
        await trio.sleep(120)
        assert await status_of(backend, "moshez") == "Back"


async def test_a_passing_status_replaces_another(autojump_clock: MockClock) -> None:
    calendar = Calendar()
    async with running(calendar) as backend:
        await backend.set_user("moshez", "Away for long", until=calendar.now() + 5 * MINUTE)
        await backend.set_user("moshez", "Away for short", until=calendar.now() + MINUTE)
        await trio.sleep(61)
        assert await status_of(backend, "moshez") == "Happy and well"


async def test_a_past_until_is_refused_and_changes_nothing(autojump_clock: MockClock) -> None:
    calendar = Calendar()
    async with running(calendar) as backend, backend.changes() as feed:
        for until in (calendar.now(), calendar.now() - MINUTE):
            with pytest.raises(BackendError, match="has passed already"):
                await backend.set_user("moshez", "Gone", until=until)
        assert await status_of(backend, "moshez") == "Happy and well"
        with trio.move_on_after(1) as silence:
            await anext(feed)
        assert silence.cancelled_caught


async def test_the_end_of_a_status_is_emitted_on_time(autojump_clock: MockClock) -> None:
    calendar = Calendar()
    async with running(calendar) as backend:
        await backend.set_user("alice", "Away for long", until=calendar.now() + 5 * MINUTE)
        await wait_all_tasks_blocked()  # `run` sleeps now, and the next set must wake it
        await backend.set_user("moshez", "Back soon", until=calendar.now() + MINUTE)
        async with backend.changes() as feed:
            started = trio.current_time()
            assert await anext(feed) == Change("moshez")
            assert trio.current_time() - started == pytest.approx(60)
            assert await anext(feed) == Change("alice")
            assert trio.current_time() - started == pytest.approx(300)


async def test_the_end_of_a_status_is_emitted_soon_after_the_clock_was_set_forward(autojump_clock: MockClock) -> None:
    calendar = Calendar()
    async with running(calendar) as backend:
        await backend.set_user("moshez", "Back tomorrow", until=calendar.now() + timedelta(days=1))
        await wait_all_tasks_blocked()
        calendar.offset += timedelta(days=2)
        async with backend.changes() as feed:
            with trio.fail_after(61):
                assert await anext(feed) == Change("moshez")


async def test_a_status_that_ended_by_a_wrong_clock_holds_again_when_the_clock_is_right(
    autojump_clock: MockClock,
) -> None:
    calendar = Calendar()
    async with running(calendar) as backend, backend.changes() as feed:
        await backend.set_user("moshez", "Back tomorrow", until=calendar.now() + timedelta(days=1))
        assert await anext(feed) == Change("moshez")
        for jump in (timedelta(days=30_000), -timedelta(days=30_000)):
            calendar.offset += jump
            with trio.fail_after(61):
                assert await anext(feed) == Change("moshez")
        assert await status_of(backend, "moshez") == "Back tomorrow"
        with trio.fail_after(2 * 24 * 3600):
            assert await anext(feed) == Change("moshez"), "its real end is emitted, too"
        assert await status_of(backend, "moshez") == "Happy and well"


async def test_the_end_of_a_replaced_status_is_not_emitted(autojump_clock: MockClock) -> None:
    calendar = Calendar()
    async with running(calendar) as backend:
        await backend.set_user("moshez", "Back soon", until=calendar.now() + MINUTE)
        await backend.set_user("moshez", "Back")
        async with backend.changes() as feed:
            with trio.move_on_after(120) as silence:
                await anext(feed)
            assert silence.cancelled_caught


async def test_a_slow_reader_gets_each_user_once() -> None:
    async with open_memory(MemoryOptions(users=USERS)) as backend, backend.changes() as feed:
        for number in range(1000):
            await backend.set_user("moshez", f"Status {number}")
        await backend.set_user("alice", "Elsewhere")
        assert [await anext(feed), await anext(feed)] == [Change("moshez"), Change("alice")]


async def test_every_call_is_a_checkpoint() -> None:
    async with open_memory(MemoryOptions(users=USERS)) as backend:
        for call in (backend.get_user("moshez"), backend.get_users(), backend.set_user("moshez", "In the garden")):
            with trio.testing.assert_checkpoints():
                await call


async def test_a_cancelled_set_leaves_the_old_status() -> None:
    async with open_memory(MemoryOptions(users=USERS)) as backend:
        with trio.move_on_after(0) as scope:
            await backend.set_user("moshez", "In the garden")
        assert scope.cancelled_caught
        assert await status_of(backend, "moshez") == "Happy and well"
