"""What all watchers share: the numbering of changes, and one call to the backend for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from fingertrio.backend import BackendError, Change, UserInfo
from fingertrio.frontends.web import live_hub
from fingertrio.frontends.web.live_fanout import Subscription
from fingertrio.frontends.web.live_hub import LiveHub
from fingertrio.frontends.web.live_log import ChangeLog
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend

USERS = {"ada": "Weaving", "grace": "Looking for a bug"}


def test_the_log_has_each_name_once_by_its_latest_change():
    log = ChangeLog()
    for user in ("ada", "grace", "ada"):
        log.add(user)
    assert log.number == 3
    assert log.since(0) == [(2, "grace"), (3, "ada")]
    assert log.since(2) == [(3, "ada")]
    assert log.since(3) == []
    assert log.since(0, ["ada", "nobody"]) == [(3, "ada")]
    assert log.since(3, ["ada"]) == []


def test_what_the_log_has_forgotten_nobody_knows():
    log = ChangeLog(limit=2)
    for user in ("ada", "grace", "linus"):
        log.add(user)
    assert log.since(0) is None
    assert log.since(0, ["linus"]) is None
    assert log.since(1) == [(2, "grace"), (3, "linus")]
    log.forget()
    assert log.since(3) is None
    assert log.since(4) == []


def test_the_log_knows_nothing_of_the_future():
    assert ChangeLog().since(1) is None


@given(
    limit=st.integers(1, 4),
    changes=st.lists(st.sampled_from(["a", "b", "c", "d", "e", None]), max_size=30),
    data=st.data(),
)
def test_whoever_the_log_names_are_all_who_changed(limit: int, changes: list[str | None], data: st.DataObject):
    log = ChangeLog(limit)
    for user in changes:
        log.forget() if user is None else log.add(user)
    number = data.draw(st.integers(0, len(changes)))
    found = log.since(number)
    missed = changes[number:]
    if found is None:
        assert None in missed or len(set(changes)) > limit
    else:
        assert [user for _, user in found] == sorted(set(missed), key=changes[::-1].index)[::-1]
        assert all(changes[at - 1] == user for at, user in found)


class ExternalWrite:
    """Sets a status although the fake fails or hangs, as another program would."""

    @staticmethod
    async def set(backend: FakeBackend, user: str, status: str, *, until: datetime | None = None) -> None:
        await super(FakeBackend, backend).set_user(user, status, until=until)


@asynccontextmanager
async def following(backend: FakeBackend, observer: Observer | None = None) -> AsyncIterator[LiveHub]:
    observer = observer or Observer()
    async with FingerService.open(backend, observer=observer) as service, trio.open_nursery() as nursery:
        hub = LiveHub(service, observer)
        await nursery.start(hub.run)
        yield hub
        nursery.cancel_scope.cancel()


async def pending_users(feed: Subscription) -> list[str]:
    """Who is pending, once somebody is."""
    while not (pending := feed.pending()):
        assert pending is not None, "it lost track"
        await feed.wait()
    feed.number = pending[-1][0]
    return [user for _, user in pending]


async def test_a_change_is_told_to_whom_it_concerns():
    backend = FakeBackend(USERS)
    async with following(backend) as hub:
        with hub.subscribe(None) as all_users, hub.subscribe(["grace"]) as one:
            await backend.set_user("ada", "Dreaming")
            assert await pending_users(all_users) == ["ada"]
            assert one.pending() == []
            await backend.set_user("grace", "Found a moth")
            assert await pending_users(one) == ["grace"]
            assert await pending_users(all_users) == ["grace"]
        assert not hub._fan_out._of_all
        assert not hub._fan_out._of_user


async def test_one_call_to_the_backend_and_one_rendering_serve_everybody():
    backend = FakeBackend(USERS)
    async with following(backend) as hub:
        with hub.subscribe(None) as feed:
            await backend.set_user("ada", "Dreaming")
            await pending_users(feed)
            assert backend.calls["get_user"] == 1
            first, second = [(await hub.render(["ada"]))["ada"] for _ in range(2)]
            assert backend.calls["get_user"] == 1
            assert first.change(hub.id(1)) is second.change(hub.id(1))


async def test_askers_at_the_same_time_share_the_rendering_too():
    backend = FakeBackend(USERS)
    backend.hold()
    found = []
    async with following(backend) as hub:

        async def ask() -> None:
            found.append(await hub.render(["ada", "grace"]))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            backend.release()
        assert backend.calls["get_user"] == 2
        assert {id(each["ada"]) for each in found} == {id(found[0]["ada"])}


async def test_while_nobody_watches_nothing_is_asked_and_nothing_forgotten():
    backend = FakeBackend(USERS)
    async with following(backend) as hub:
        with hub.subscribe(["grace"]):
            await backend.set_user("ada", "Dreaming")
            await trio.testing.wait_all_tasks_blocked()
        assert not backend.calls["get_user"]
        assert hub.log.since(0) == [(1, "ada")]


async def test_one_slow_user_does_not_delay_the_others(autojump_clock: MockClock):
    class Slow(FakeBackend):
        async def get_user(self, user: str) -> UserInfo | None:
            if user == "ada":
                await trio.sleep(4)
            return await super().get_user(user)

    backend = Slow(USERS)
    async with following(backend) as hub:
        with hub.subscribe(None) as feed:
            await backend.set_user("ada", "Dreaming")
            await backend.set_user("grace", "Found a moth")
            assert await pending_users(feed) == ["grace"]
            assert trio.current_time() < 1
            assert await pending_users(feed) == ["ada"]


async def test_a_user_who_cannot_be_read_is_told_as_soon_as_that_is_possible(autojump_clock: MockClock):
    backend = FakeBackend(USERS)
    async with following(backend) as hub:
        with hub.subscribe(None) as feed:
            backend.failure = BackendError()
            await ExternalWrite.set(backend, "ada", "Dreaming")
            with trio.move_on_after(10):
                await pending_users(feed)
            assert 3 <= backend.calls["get_user"] <= 10
            backend.failure = None
            assert await pending_users(feed) == ["ada"]
            assert trio.current_time() < 45


async def test_a_user_whom_a_watcher_could_not_be_told_of_is_told_later(autojump_clock: MockClock):
    backend = FakeBackend(USERS)
    async with following(backend) as hub:
        with hub.subscribe(["ada"]) as feed:
            backend.failure = BackendError()
            assert await hub.render(["ada"]) == {}
            backend.failure = None
            assert await pending_users(feed) == ["ada"]


async def test_what_nobody_foresaw_about_one_user_ends_nobodys_feed(autojump_clock: MockClock):
    observer = Observer()
    backend = FakeBackend(USERS)
    async with following(backend, observer) as hub:
        with hub.subscribe(None) as feed:
            not_a_time: Any = "yesterday"
            backend._lasting["ada"] = UserInfo("ada", "Weaving", since=not_a_time)
            backend._hub.emit(Change("ada"))
            await trio.sleep(1)
            await backend.set_user("grace", "Found a moth")
            assert await pending_users(feed) == ["grace"]
            assert observer.metrics.events["error"]


async def test_a_change_during_the_asking_is_told_with_what_it_led_to(autojump_clock: MockClock):
    class Slow(FakeBackend):
        async def get_user(self, user: str) -> UserInfo | None:
            answer = self._answer(user)
            await self._turn("get_user")
            return answer

    backend = Slow(USERS)
    async with following(backend) as hub:
        with hub.subscribe(None) as feed:
            backend.hold()
            await ExternalWrite.set(backend, "ada", "one")
            await trio.testing.wait_all_tasks_blocked()
            await ExternalWrite.set(backend, "ada", "two")
            await trio.testing.wait_all_tasks_blocked()
            backend.release()
            part = b""
            while b'"two"' not in part:
                with trio.fail_after(1):
                    await pending_users(feed)
                part = hub._rendered["ada"].part
            assert not hub._preparing


async def test_when_anything_may_have_changed_everybody_is_woken_and_knows_nothing():
    backend = FakeBackend(USERS)
    async with following(backend) as hub:
        with hub.subscribe(None) as all_users, hub.subscribe(["ada"]) as one:
            backend._hub.emit(Change(None))
            for feed in (all_users, one):
                await feed.wait()
                assert feed.pending() is None


async def test_more_changes_than_can_be_prepared_are_no_tasks_without_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_hub, "_PREPARED", 10)
    backend = FakeBackend(USERS)
    async with following(backend) as hub:
        with hub.subscribe(None) as feed:
            backend.hold()
            for number in range(11):
                await ExternalWrite.set(backend, f"user{number}", "x")
            await feed.wait()
            assert feed.pending() is None
            assert len(hub._preparing) == 10


async def test_what_is_kept_has_a_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_hub, "_KEPT_BYTES", 4000)
    backend = FakeBackend({f"user{number}": "x" * 500 for number in range(20)})
    async with following(backend) as hub:
        for user in list(backend._lasting) * 2:
            await hub.render([user])
        assert len(hub._rendered) == 3
        assert hub._rendered_bytes == sum(len(rendered.part) for rendered in hub._rendered.values())


@pytest.mark.parametrize(
    "text",
    ["", ":", "1", ":1", "x:1"]
    + ["{epoch}" + end for end in ("", ":", ":x", ":-1", ":1:2", ":\u0661", ":\u00b2", ":" + "9" * 5000)],
)
async def test_what_is_no_id_of_ours_is_none(text: str):
    async with following(FakeBackend({})) as hub:
        assert hub.number(hub.id(7)) == 7
        assert hub.number(text.format(epoch=hub.epoch)) is None


async def test_what_could_not_be_a_user_is_told_to_nobody():
    backend = FakeBackend(USERS)
    async with following(backend) as hub:
        with hub.subscribe(None) as feed:
            for name in ("-l", "a\nb", "\ud800", ""):
                backend._hub.emit(Change(name))
            await backend.set_user("ada", "Dreaming")
            assert await pending_users(feed) == ["ada"]
