"""The pages of a snapshot: one for all watchers that are sending it, and none once they have sent it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import trio

from fingertrio.backend import BackendError
from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.web.live_hub import LiveHub
from fingertrio.frontends.web.live_rendering import PAGE
from fingertrio.frontends.web.live_watcher import _Frames
from fingertrio.testing import FakeBackend
from tests.frontends.web.kit import serving
from tests.frontends.web.test_live_hub import following
from tests.frontends.web.watching import watching

USERS = {f"user{number:04}": "x" * 500 for number in range(PAGE)}


async def test_a_page_is_shared_while_it_is_being_sent_and_freed_afterwards():
    async with following(FakeBackend(USERS)) as hub:
        first = await hub.pages.page(tuple(USERS))
        assert await hub.pages.page(tuple(USERS)) is first
        freed = weakref.ref(first)
        del first
        gc.collect()
        assert freed() is None
        assert not hub.pages._pages


async def test_watchers_that_need_a_page_at_the_same_time_get_the_same():
    backend = FakeBackend(USERS)
    backend.hold()
    pages: list[Any] = []
    async with following(backend) as hub:

        async def ask() -> None:
            pages.append(await hub.pages.page(tuple(USERS)))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            backend.release()
        assert len({id(page) for page in pages}) == 1


async def test_a_page_is_made_anew_when_one_of_its_users_changes():
    backend = FakeBackend(USERS)
    async with following(backend) as hub:
        first = await hub.pages.page(tuple(USERS))
        await backend.set_user("user0007", "Dreaming")
        await trio.testing.wait_all_tasks_blocked()
        second = await hub.pages.page(tuple(USERS))
        assert b"Dreaming" not in first.frames
        assert b"Dreaming" in second.frames


async def test_a_page_with_a_user_who_cannot_be_read_is_not_shared():
    backend = FakeBackend(USERS)
    async with following(backend) as hub:
        backend.failure = BackendError()
        first = await hub.pages.page(tuple(USERS))
        assert b"unavailable" in first.frames
        backend.failure = None
        assert b"unavailable" not in (await hub.pages.page(tuple(USERS))).frames


async def test_the_list_of_users_is_one_object_until_it_changes():
    backend = FakeBackend(USERS)
    async with following(backend) as hub:
        first = await hub.list_users()
        await backend.set_user("user0007", "Dreaming")
        await trio.testing.wait_all_tasks_blocked()
        assert await hub.list_users() is first
        await backend.set_user("zoe", "new")
        await trio.testing.wait_all_tasks_blocked()
        assert "zoe" in await hub.list_users()


async def test_small_frames_are_joined_and_large_ones_sent_as_they_are():
    sent: list[bytes] = []

    class Socket:
        async def send(self, frames: bytes) -> None:
            await trio.lowlevel.checkpoint()
            sent.append(frames)

    socket: Any = Socket()
    frames = _Frames(socket)
    large = b"L" * 10_000
    for frame in (b"a", b"b", large, b"c" * 5000, b"d" * 5000, b"e"):
        await frames.add(frame)
    await frames.flush()
    await frames.flush()
    assert sent == [b"ab", large, b"c" * 5000 + b"d" * 5000, b"e"]
    assert sent[1] is large


async def test_slow_watchers_of_a_snapshot_share_its_memory(monkeypatch: pytest.MonkeyPatch):
    """Thirty clients that do not read hold the pages at which they stand, and these are few."""
    hubs: list[LiveHub] = []
    monkeypatch.setattr(LiveHub, "run", _remember(hubs, LiveHub.run))
    backend = MemoryBackend({f"user{number:05}": "x" * 10_000 for number in range(500)})
    async with serving(backend) as site, trio.open_nursery() as nursery:

        async def stall() -> None:
            async with watching(site, "?snapshot=1", buffer=4096) as other:
                await other.message()
                await trio.sleep_forever()

        for _ in range(30):
            nursery.start_soon(stall)
        while site.observer.metrics.connections["watch"] < 30:
            await trio.testing.wait_all_tasks_blocked(0.01)
        await trio.testing.wait_all_tasks_blocked(0.1)
        [hub] = hubs
        assert 1 <= len(hub.pages._pages) <= 8, "the pages of this snapshot are 8"
        nursery.cancel_scope.cancel()


def _remember(hubs: list[LiveHub], run: Any) -> Any:
    async def remember(hub: LiveHub, **options: Any) -> None:
        hubs.append(hub)
        await run(hub, **options)

    return remember
