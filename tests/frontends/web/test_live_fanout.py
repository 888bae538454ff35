"""One task sends each change to all watchers that owe nothing, in bounded turns, and wakes the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import trio
import trio.testing
from trio.testing import MockClock

from fingertrio.frontends.web import live_fanout
from fingertrio.frontends.web.live_fanout import FanOut, Subscription
from fingertrio.frontends.web.live_log import ChangeLog
from fingertrio.frontends.web.live_rendering import text


class Feed:
    """A log, frames that are rendered, and the fan-out of both."""

    def __init__(self) -> None:
        self.log = ChangeLog()
        self.frames: dict[tuple[int, str], bytes] = {}
        self.failures: list[Exception] = []
        self.fan_out = FanOut(
            self.log, lambda number, user, _form: self.frames.get((number, user)), self.failures.append
        )

    def change(self, user: str, frame: bytes | None = None) -> None:
        self.log.add(user)
        if frame is not None:
            self.frames[self.log.number, user] = frame
        self.fan_out.announce(user)


class Watcher:
    """Waits as a watcher that owes nothing, and keeps what it was sent."""

    def __init__(self, place: Subscription) -> None:
        self.place = place
        self.sent: list[bytes] = []
        self.takes = True
        self.woken = 0

    def deliver(self, frames: bytes) -> bool:
        if self.takes:
            self.sent.append(frames)
        return self.takes

    async def run(self) -> None:
        while True:
            self.place.pending()
            await self.place.wait(self.deliver)
            self.woken += 1


@asynccontextmanager
async def feeding() -> AsyncIterator[tuple[Feed, ExitStack, trio.Nursery]]:
    feed = Feed()
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.fan_out.run)
            yield feed, stack, nursery
            nursery.cancel_scope.cancel()


async def test_all_watchers_get_the_same_bytes_and_none_is_woken(autojump_clock: MockClock):
    async with feeding() as (feed, stack, nursery):
        watchers = [Watcher(stack.enter_context(feed.fan_out.subscribe(None, text))) for _ in range(3)]
        for watcher in watchers:
            nursery.start_soon(watcher.run)
        await trio.testing.wait_all_tasks_blocked()
        frame = b"moshez in the garden"
        feed.change("moshez", frame)
        await trio.testing.wait_all_tasks_blocked()
        for watcher in watchers:
            assert [each is frame for each in watcher.sent] == [True]
            assert (watcher.woken, watcher.place.number) == (0, 1)


async def test_changes_at_the_same_time_leave_together(autojump_clock: MockClock):
    async with feeding() as (feed, stack, nursery):
        watcher = Watcher(stack.enter_context(feed.fan_out.subscribe(None, text)))
        nursery.start_soon(watcher.run)
        await trio.testing.wait_all_tasks_blocked()
        for user in ("ada", "grace", "ada"):
            feed.change(user, f"[{user} {feed.log.number + 1}]".encode())
        await trio.testing.wait_all_tasks_blocked()
        assert watcher.sent == [b"[grace 2][ada 3]"]
        assert watcher.place.number == 3


async def test_a_watcher_of_some_users_gets_theirs_alone(autojump_clock: MockClock):
    async with feeding() as (feed, stack, nursery):
        watcher = Watcher(stack.enter_context(feed.fan_out.subscribe(["ada", "grace"], text)))
        nursery.start_soon(watcher.run)
        await trio.testing.wait_all_tasks_blocked()
        for user in ("moshez", "grace"):
            feed.change(user, user.encode())
        await trio.testing.wait_all_tasks_blocked()
        assert watcher.sent == [b"grace"]
        assert (watcher.woken, watcher.place.number) == (0, 2)


async def test_who_cannot_be_served_at_once_is_woken_and_keeps_its_place(autojump_clock: MockClock):
    async with feeding() as (feed, stack, nursery):
        full, other, busy = (stack.enter_context(feed.fan_out.subscribe(None, text)) for _ in range(3))
        watchers = [Watcher(full), Watcher(other)]
        watchers[0].takes = False
        for watcher in watchers:
            nursery.start_soon(watcher.run)
        await trio.testing.wait_all_tasks_blocked()
        feed.change("moshez", b"in the garden")
        await trio.testing.wait_all_tasks_blocked()
        assert [watcher.woken for watcher in watchers] == [1, 0]
        assert (full.number, other.number, busy.number) == (0, 1, 0)
        with trio.fail_after(1):
            await busy.wait()
        assert busy.pending() == [(1, "moshez")]


async def test_what_is_not_rendered_or_too_long_is_left_to_the_watchers(autojump_clock: MockClock):
    for frame in (None, b"x" * 100_000):
        async with feeding() as (feed, stack, nursery):
            watcher = Watcher(stack.enter_context(feed.fan_out.subscribe(None, text)))
            nursery.start_soon(watcher.run)
            await trio.testing.wait_all_tasks_blocked()
            feed.change("moshez", frame)
            await trio.testing.wait_all_tasks_blocked()
            assert (watcher.sent, watcher.woken, watcher.place.number) == ([], 1, 0)


async def test_who_has_lost_track_is_woken(autojump_clock: MockClock):
    async with feeding() as (feed, stack, nursery):
        watcher = Watcher(stack.enter_context(feed.fan_out.subscribe(None, text)))
        nursery.start_soon(watcher.run)
        await trio.testing.wait_all_tasks_blocked()
        feed.log.forget()
        feed.change("moshez", b"in the garden")
        await trio.testing.wait_all_tasks_blocked()
        assert (watcher.sent, watcher.woken) == ([], 1)


async def test_other_tasks_run_between_turns_and_a_change_meanwhile_joins(autojump_clock: MockClock):
    async with feeding() as (feed, stack, nursery):
        watchers = [
            Watcher(stack.enter_context(feed.fan_out.subscribe(None, text))) for _ in range(3 * live_fanout._TURN)
        ]
        for watcher in watchers:
            nursery.start_soon(watcher.run)
        await trio.testing.wait_all_tasks_blocked()
        seen: list[int] = []

        async def other() -> None:
            while len(seen) < 4:
                seen.append(sum(bool(watcher.sent) for watcher in watchers))
                if len(seen) == 2:
                    feed.change("grace", b"[grace]")
                await trio.lowlevel.checkpoint()

        feed.change("ada", b"[ada]")
        nursery.start_soon(other)
        await trio.testing.wait_all_tasks_blocked()
        assert any(0 < count < len(watchers) for count in seen)
        together = [watcher for watcher in watchers if watcher.sent == [b"[ada][grace]"]]
        one_by_one = [watcher for watcher in watchers if watcher.sent == [b"[ada]", b"[grace]"]]
        assert len(together) + len(one_by_one) == len(watchers)
        assert together
        assert not any(watcher.woken for watcher in watchers)


async def test_who_leaves_amid_a_turn_is_not_sent_to(autojump_clock: MockClock):
    async with feeding() as (feed, stack, nursery):
        leaving = ExitStack()
        places = [leaving.enter_context(feed.fan_out.subscribe(None, text)) for _ in range(2 * live_fanout._TURN)]
        watchers = [Watcher(place) for place in places]
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                for watcher in watchers:
                    inner.start_soon(watcher.run)
                await trio.testing.wait_all_tasks_blocked()
                feed.change("ada", b"[ada]")
                await trio.lowlevel.checkpoint()
                scope.cancel()
        leaving.close()
        served = sum(len(watcher.sent) for watcher in watchers)
        await trio.testing.wait_all_tasks_blocked()
        assert sum(len(watcher.sent) for watcher in watchers) == served
        assert not feed.fan_out.is_watched("ada")
        assert nursery.child_tasks
        assert stack is not leaving


async def test_a_bug_with_one_watcher_does_not_reach_the_others(autojump_clock: MockClock):
    class Broken(Watcher):
        def deliver(self, frames: bytes) -> bool:
            raise ZeroDivisionError

    async with feeding() as (feed, stack, nursery):
        kinds: tuple[type[Watcher], ...] = (Watcher, Broken, Watcher)
        watchers = [kind(stack.enter_context(feed.fan_out.subscribe(None, text))) for kind in kinds]
        for watcher in watchers:
            nursery.start_soon(watcher.run)
        await trio.testing.wait_all_tasks_blocked()
        feed.change("moshez", b"in the garden")
        await trio.testing.wait_all_tasks_blocked()
        assert [watcher.sent for watcher in watchers] == [[b"in the garden"], [], [b"in the garden"]]
        assert [watcher.woken for watcher in watchers] == [0, 1, 0]
        assert [type(error) for error in feed.failures] == [ZeroDivisionError]
