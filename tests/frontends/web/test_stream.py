"""The pages of the stream: complete, in order, and of this moment."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, Literal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fingertrio.backend import BackendError, Change, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.web import stream_index
from fingertrio.frontends.web.stream import PAGE, Stream, StreamPage
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend, FakeReader
from tests.helpers import ANYONE, Ageing

MANY = {f"user{number:03}": f"Status {number}" for number in range(2 * PAGE + 20)}


class Names(FakeReader):
    """Lists its users, and nothing else."""

    async def get_users(self) -> Sequence[str]:
        await self._turn("get_users")
        return list(self.users)


@asynccontextmanager
async def streaming(backend: Any, *, runs: bool = True) -> AsyncIterator[tuple[Stream, FingerService]]:
    async with FingerService.open(backend) as service, trio.open_nursery() as nursery:
        stream = Stream(service, Observer())
        if runs:
            await nursery.start(stream.run)
        yield stream, service
        nursery.cancel_scope.cancel()


async def settled(stream: Stream) -> None:
    """Look, and wait until the index is loaded."""
    stream._index.look()
    await wait_all_tasks_blocked()
    assert stream._index.look()


def users(page: StreamPage) -> list[str]:
    return [row.user for row in page.rows]


async def walk(stream: Stream, **arguments: Any) -> list[StreamPage]:
    """All pages forwards; and backwards they are the same."""
    pages = [await stream.page(**arguments)]
    while (at := pages[-1].next) is not None:
        pages.append(await stream.page(at=at, **arguments))
    assert pages[0].previous is None
    back = pages[-1]
    for expected in reversed(pages[:-1]):
        assert back.previous is not None
        back = await stream.page(at=back.previous, **arguments)
        assert users(back) == users(expected)
    return pages


@pytest.mark.parametrize("by", ["recent", "name"])
async def test_pages_have_everybody_once_forwards_and_backwards(by: Literal["recent", "name"]):
    async with streaming(MemoryBackend(MANY)) as (stream, service):
        await service.set_user("user007", "New", writer=ANYONE)
        await settled(stream)
        pages = await walk(stream, by=by)
        assert [len(page.rows) for page in pages] == [PAGE, PAGE, 20]
        assert {page.total for page in pages} == {len(MANY)}
        assert [page.first for page in pages] == [1, PAGE + 1, 2 * PAGE + 1]
        found = [user for page in pages for user in users(page)]
        rest = sorted(MANY.keys() - {"user007"})
        assert found == (["user007", *rest] if by == "recent" else sorted(MANY))
        assert pages[0].rows[0].line == ("New" if by == "recent" else "Status 0")


async def test_the_first_page_does_not_wait_for_the_index():
    async with streaming(MemoryBackend(MANY), runs=False) as (stream, _service):
        first = await stream.page()
        assert (len(first.rows), first.first, first.total, first.version) == (PAGE, 1, None, None)
        second = await stream.page(at=first.next)
        assert users(second)[0] == f"user{PAGE:03}"
        assert (second.previous, second.first) == ("", None)


async def test_what_is_set_is_on_the_next_page_that_is_asked_for():
    async with streaming(MemoryBackend(MANY)) as (stream, service):
        await settled(stream)
        for number in range(5):
            await service.set_user(f"user{number:03}", "New", writer=ANYONE)
            assert users(await stream.page())[0] == f"user{number:03}"
        await wait_all_tasks_blocked()
        page = await stream.page()
        assert page.version is not None
        assert users(page)[:5] == [f"user{number:03}" for number in range(4, -1, -1)]


async def test_cleared_and_removed_users_leave_and_new_ones_come():
    backend = MemoryBackend(MANY)
    async with streaming(backend) as (stream, service):
        await settled(stream)
        await service.clear_user("user000", writer=ANYONE)
        backend._lasting.pop("user001")
        backend._changed("user001")
        await service.set_user("zed", "New", writer=ANYONE)
        await wait_all_tasks_blocked()
        page = await stream.page()
        assert users(page)[:2] == ["zed", "user002"]
        assert page.total == len(MANY) - 1
        by_name = await stream.page(by="name")
        assert users(by_name)[:2] == ["user000", "user002"]  # whoever exists
        assert by_name.rows[0].line == ""


async def test_when_anything_may_have_changed_it_is_loaded_again(autojump_clock: MockClock):
    backend = MemoryBackend(MANY)
    async with streaming(backend) as (stream, _service):
        await settled(stream)
        del backend._lasting["user000"]
        backend._place("user000")
        backend._hub.emit(Change(None))
        await wait_all_tasks_blocked()
        assert users(await stream.page())[0] == "user001"
        await trio.sleep(2)
        page = await stream.page()
        assert (users(page)[0], page.total) == ("user001", len(MANY) - 1)


async def test_a_change_while_it_is_loaded_is_not_lost():
    backend = FakeBackend(MANY)
    async with streaming(backend) as (stream, _service):
        backend.hold()
        stream._index.look()
        await wait_all_tasks_blocked()
        MemoryBackend.__dict__["_place"]  # the memory backend answers from its own state
        await MemoryBackend.set_user(backend, "user100", "New")
        backend.release()
        await wait_all_tasks_blocked()
        assert users(await stream.page())[0] == "user100"
        assert stream._index.total == len(MANY)


async def test_a_search_finds_names_full_names_and_first_lines():
    backend = MemoryBackend({**MANY, "zo\u00eb": "\u2615 at the B\u00e4cker\nsecond line"})
    async with streaming(backend) as (stream, service):
        await service.set_details("user003", name="Moshe Zadka", details={}, writer=ANYONE)
        for query, found in {
            "USER00": [f"user{number:03}" for number in range(10)],
            "zadka moshe": ["user003"],
            "status 119": ["user119"],
            "b\u00c4CKER": ["zo\u00eb"],
            "\u2615": ["zo\u00eb"],
            "second": [],
            "nobody": [],
        }.items():
            page = await stream.page(query=query)
            assert users(page) == found, query
            assert (page.total, page.first, page.query) == (len(found), bool(found), query)
        pages = await walk(stream, query="status")
        assert sum(len(page.rows) for page in pages) == len(MANY)
        by_name = await stream.page(by="name", query="user00")
        assert (len(by_name.rows), by_name.finds_names_only) == (10, True)


async def test_a_search_is_kept_until_something_changes():
    async with streaming(MemoryBackend(MANY)) as (stream, service):
        await settled(stream)
        first = await stream._index.search("user00")
        assert await stream._index.search(" USER00 ") is first
        await service.set_user("user000", "New", writer=ANYONE)
        await wait_all_tasks_blocked()
        assert (await stream._index.search("user00"))[0][1] == "user000"
        for number in range(50):
            await stream._index.search(f"{number}")
        assert len(stream._index._found) <= 8


@pytest.mark.parametrize("at", ["", ">", "<", "x", ">12", "<x.ada", ">99999999999999999.a", "<" + "9" * 5000])
async def test_a_cursor_that_means_nothing_is_the_first_page(at: str):
    async with streaming(MemoryBackend(MANY)) as (stream, _service):
        await settled(stream)
        assert users(await stream.page(at=at))[0] == "user000"
        if not at.startswith("<x"):  # a name
            assert users(await stream.page(by="name", at=at))[0] == "user000"


async def test_a_cursor_outlives_its_status():
    async with streaming(MemoryBackend(MANY)) as (stream, service):
        await settled(stream)
        first = await stream.page()
        await service.set_user(users(first)[-1], "New", writer=ANYONE)
        await wait_all_tasks_blocked()
        assert users(await stream.page(at=first.next))[0] == f"user{PAGE:03}"


async def test_other_backends_list_everybody_by_name():
    backend = Names({"Zed": "z", "ada": "a", "\xc9mile": "e", "bob": ""})
    async with streaming(backend) as (stream, _service):
        page = await stream.page()
        assert (users(page), page.by, page.total) == (["ada", "bob", "Zed", "\xc9mile"], "name", 4)
        assert users(await stream.page(query="Z")) == ["Zed"]
        assert backend.calls == {"get_users": 1, "get_user": 4} or backend.calls["get_user"] <= 5


async def test_who_is_hidden_is_on_no_page_whatever_a_list_says():
    """A hidden user is one for whom the backend answers None."""
    backend = Names({"ada": "a", "ghost": "boo", "zed": "z"})
    del backend.users["ghost"]
    backend.get_users = _list_of("ada", "ghost", "zed")  # type: ignore[method-assign]  # a list may be older than an answer
    async with streaming(backend) as (stream, _service):
        for arguments in ({}, {"by": "name"}, {"query": "ghost"}):
            assert "ghost" not in users(await stream.page(**arguments))  # type: ignore[arg-type]  # both are of this type


def _list_of(*names: str) -> Any:
    async def get_users() -> Sequence[str]:
        return names

    return get_users


async def test_only_the_users_of_the_page_are_asked_for():
    backend = Names(MANY)
    async with streaming(backend) as (stream, _service):
        await stream.page()
        assert backend.calls["get_user"] == PAGE


async def test_one_user_who_cannot_be_read_does_not_cost_the_page():
    class Broken(Names):
        async def get_user(self, user: str) -> UserInfo | None:
            if user == "bob":
                raise BackendError("no")
            return await super().get_user(user)

    async with streaming(Broken({"ada": "a", "bob": "b"})) as (stream, _service):
        assert [(row.user, row.line) for row in (await stream.page()).rows] == [("ada", "a"), ("bob", "")]


async def test_a_backend_that_fails_is_a_failure():
    backend = FakeBackend(MANY)
    async with streaming(backend) as (stream, _service):
        backend.failure = BackendError("The disk is gone")
        with pytest.raises(BackendError, match="disk"):
            await stream.page()
        with pytest.raises(BackendError, match="disk"):
            await stream.page(by="name")


async def test_a_search_does_not_wait_for_ever(autojump_clock: MockClock):
    backend = FakeBackend(MANY)
    backend.hold()
    async with streaming(backend) as (stream, _service):
        with pytest.raises(BackendError, match="not ready"):
            await stream.page(query="x")


async def test_there_is_no_stream_where_nothing_is_listed():
    async with streaming(FakeReader({"ada": "a"})) as (stream, _service):
        assert not stream.exists
        with pytest.raises(BackendError):
            await stream.page()


async def test_pages_are_marked_as_stale():
    backend = Ageing(MANY)
    async with streaming(backend) as (stream, service):
        backend.age = datetime(2026, 1, 1, tzinfo=UTC)
        service.staleness._take(backend.age)
        assert (await stream.page()).stale_since == backend.age
        await settled(stream)
        assert (await stream.page()).stale_since == backend.age


async def test_a_status_that_has_ended_is_not_shown():
    class Silent(MemoryBackend):
        """Does not say when a status ends: its `run` does not run."""

    backend = Silent({"ada": "a"})
    async with streaming(backend) as (stream, service):
        await service.set_user("bob", "Lunch", until=datetime.now(UTC) + timedelta(milliseconds=100), writer=ANYONE)
        await settled(stream)
        assert users(await stream.page()) == ["bob", "ada"]
        await trio.sleep(0.11)
        assert users(await stream.page()) == ["ada"]


async def test_where_changes_are_not_heard_it_is_loaded_again_after_a_while(autojump_clock: MockClock):
    class Deaf:
        def __init__(self) -> None:
            self.backend = FakeBackend({"ada": "a"})
            self.get_user, self.get_recent = self.backend.get_user, self.backend.get_recent

    backend = Deaf()
    async with streaming(backend) as (stream, _service):
        await settled(stream)
        await MemoryBackend.set_user(backend.backend, "bob", "b")
        await trio.sleep(stream_index._TTL + 1)
        assert users(await stream.page()) == ["bob", "ada"]
        await settled(stream)
        assert users(await stream.page()) == ["bob", "ada"]


async def test_nothing_is_loaded_for_nobody(autojump_clock: MockClock):
    backend = FakeBackend(MANY)
    async with streaming(backend) as (stream, service):
        await trio.sleep(3600)
        assert backend.calls["get_recent"] == 0
        await settled(stream)
        assert backend.calls["get_recent"] == 2
        await trio.sleep(3600)
        await service.set_user("ada", "New", writer=ANYONE)
        backend._hub.emit(Change(None))
        await trio.sleep(3600)
        assert backend.calls["get_recent"] == 2
        assert not stream._index.entries()
        assert users(await stream.page())[0] == "ada"


async def test_a_store_that_writes_all_the_time_does_not_keep_it_loading(autojump_clock: MockClock):
    backend = FakeBackend(MANY)
    async with streaming(backend) as (stream, _service):
        await settled(stream)
        before = backend.calls["get_recent"]
        for _ in range(100):
            backend._hub.emit(Change(None))
            await trio.sleep(0.1)
        assert 2 * 5 < backend.calls["get_recent"] - before <= 2 * 12  # two pages, once in a second


async def test_more_users_than_fit_are_reached_page_by_page():
    async with streaming(MemoryBackend(MANY)) as (stream, service):
        stream._index._limit = PAGE + 10
        await settled(stream)
        await service.set_user("zed", "New", writer=ANYONE)
        await wait_all_tasks_blocked()
        page = await stream.page()
        assert (users(page)[0], page.total) == ("zed", None)
        found = [user for page in await forwards(stream) for user in users(page)]
        assert sorted(found) == sorted([*MANY, "zed"])


async def forwards(stream: Stream) -> list[StreamPage]:
    pages = [await stream.page()]
    while (at := pages[-1].next) is not None:
        pages.append(await stream.page(at=at))
    return pages


async def test_no_turn_takes_long_with_ten_thousand_users():
    """Loading, a search, and the list by name leave the loop within a few milliseconds: counted in CPU time."""
    backend = MemoryBackend(
        {f"user{(number * 7919) % 10_007:05}": "\u2615 " + "word " * 20 for number in range(10_000)}
    )
    turns: list[float] = []

    class Turns(trio.abc.Instrument):
        began = inf

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.began = time.thread_time()

        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            turns.append(time.thread_time() - self.began)

    gc.disable()  # a collection of everything that earlier tests have left takes longer than what is measured
    try:
        async with streaming(backend) as (stream, _service):
            trio.lowlevel.add_instrument(instrument := Turns())
            await settled(stream)
            assert len((await stream.page(query="word user")).rows) == PAGE
            await stream.page(by="name")
            trio.lowlevel.remove_instrument(instrument)
    finally:
        gc.enable()
    assert len(turns) > 100
    assert max(turns) < 0.03  # measured: 3 ms
