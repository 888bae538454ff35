"""Following the changes of a fake store: a list of changes for each shard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fingertrio.backends.redis.changes import JunkEntry, Position, StoredChange
from fingertrio.backends.redis.follow import ChangeFollower, ChangeSource, RewoundError, SilenceError

WAIT = 1.0
PATIENCE = 2.0


class FakeStore:
    """Two shards of changes, numbered from 1. The id of a change is its number; the first `cut` of them are trimmed.

    A name that begins with "?" is an entry of another program, which takes up an id, but no number.
    """

    def __init__(self) -> None:
        self.users: list[list[str]] = [[], []]
        self.cut = [0, 0]
        self.silent = False
        self.withheld = False  # the stream delivers nothing, as when its ids are used up
        self._news = trio.Event()

    def change(self, shard: int, *users: str) -> None:
        self.users[shard] += users
        self._news.set()

    async def counts(self) -> Sequence[int]:
        if self.silent:
            await trio.sleep_forever()
        return [self._count(users) for users in self.users]

    async def last_change(self, shard: int) -> Position:
        users = self.users[shard]
        return Position(self._count(users), b"%d-0" % len(users)) if users else Position()

    async def last_changes(self) -> Sequence[Position]:
        return [await self.last_change(shard) for shard in range(2)]

    async def next_changes(
        self, positions: Mapping[int, Position], wait: float
    ) -> Mapping[int, Sequence[StoredChange | JunkEntry]]:
        if self.silent:
            await trio.sleep_forever()
        with trio.move_on_after(wait):
            while self.withheld or not (found := self._after(positions)):
                self._news = trio.Event()
                await self._news.wait()
            return found
        return {}

    def _count(self, users: list[str]) -> int:
        return sum(not user.startswith("?") for user in users)

    def _after(self, positions: Mapping[int, Position]) -> dict[int, list[StoredChange | JunkEntry]]:
        found: dict[int, list[StoredChange | JunkEntry]] = {}
        for shard, position in positions.items():
            first = max(int(position.id.split(b"-")[0]), self.cut[shard])
            for place, user in enumerate(self.users[shard][first:], first + 1):
                name = b"%d-0" % place
                entry: StoredChange | JunkEntry = JunkEntry(name, f"key {shard}")
                if not user.startswith("?"):
                    number = self._count(self.users[shard][:place])
                    entry = StoredChange(name, number, user, listed=False, since=None, ahead=None)
                found.setdefault(shard, []).append(entry)
        return found


class Reader:
    """A follower and what it reported: names of users, and "*" for a gap."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.follower = ChangeFollower(
            lambda _shard, change: self.said.append(change.user), lambda: self.said.append("*")
        )

    @asynccontextmanager
    async def reading(self, store: ChangeSource) -> AsyncIterator[None]:
        """Resume, and read for as long as the context lasts."""
        await self.follower.resume(store)
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                await self.follower.read(store, [0, 1], wait=WAIT, patience=PATIENCE)

            nursery.start_soon(read)
            yield
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    def take(self) -> list[str]:
        said, self.said = self.said, []
        return said


async def test_what_was_there_before_the_first_time_is_not_told_and_all_is_unknown() -> None:
    store, reader = FakeStore(), Reader()
    store.change(0, "moshez")
    async with reader.reading(store):
        assert reader.take() == ["*"]
        store.change(0, "alice", "bob")
        store.change(1, "zoe")
    assert reader.take() == ["alice", "bob", "zoe"]


async def test_a_break_in_which_nothing_happened_loses_nothing() -> None:
    store, reader = FakeStore(), Reader()
    async with reader.reading(store):
        store.change(0, "moshez")
    reader.take()
    async with reader.reading(store):
        assert reader.take() == []
        store.change(0, "alice")
    assert reader.take() == ["alice"]


async def test_what_happened_in_a_break_is_told_after_it() -> None:
    store, reader = FakeStore(), Reader()
    async with reader.reading(store):
        store.change(0, "moshez")
    reader.take()
    store.change(0, "alice", "bob")
    async with reader.reading(store):
        pass
    assert reader.take() == ["alice", "bob"]


async def test_what_was_trimmed_in_a_break_is_known_to_be_lost() -> None:
    store, reader = FakeStore(), Reader()
    async with reader.reading(store):
        store.change(0, "moshez")
    reader.take()
    store.change(0, "alice", "bob", "zoe")
    store.cut[0] = 3
    async with reader.reading(store):
        await wait_all_tasks_blocked()
        assert reader.take() == ["*"]
        store.change(0, "moshez")
    assert reader.take() == ["moshez"]


async def test_what_is_trimmed_while_a_slow_reader_reads_is_known_to_be_lost() -> None:
    store, reader = FakeStore(), Reader()
    async with reader.reading(store):
        store.change(0, "moshez")
        await wait_all_tasks_blocked()
        reader.take()
        store.users[0] += ["alice", "bob"]
        store.cut[0] = 3
        store.change(0, "zoe")
        await wait_all_tasks_blocked()
        assert reader.take() == ["*"]
        store.change(0, "moshez")
    assert reader.take() == ["moshez"]


async def test_junk_is_skipped_as_a_gap_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    store, reader = FakeStore(), Reader()
    async with reader.reading(store):
        reader.take()
        store.change(0, "moshez", "?", "alice")
        await wait_all_tasks_blocked()
        assert reader.take() == ["moshez", "*"]
        store.change(0, "bob", "?")
        store.change(1, "zoe")
        await wait_all_tasks_blocked()
        assert sorted(reader.take()) == ["*", "bob", "zoe"]
        store.change(0, "moshez")
    assert reader.take() == ["moshez"]
    (record,) = caplog.records
    assert "the key key 0 has an entry that fingertrio cannot have written, 2-0" in record.getMessage()


async def test_junk_during_a_break_is_a_gap() -> None:
    store, reader = FakeStore(), Reader()
    async with reader.reading(store):
        store.change(0, "moshez")
    reader.take()
    store.change(0, "?")
    async with reader.reading(store):
        assert reader.take() == ["*"]
        store.change(0, "alice")
    assert reader.take() == ["alice"]


async def test_a_stream_that_does_not_deliver_what_is_counted_is_a_gap(autojump_clock: MockClock) -> None:
    """As after its ids were used up, and it was deleted: a reader would wait for an id that never comes."""
    store, reader = FakeStore(), Reader()
    async with reader.reading(store), trio.open_nursery() as nursery:
        reader.take()
        nursery.start_soon(partial(reader.follower.beat, store, wait=WAIT, patience=PATIENCE))
        store.withheld = True
        store.change(0, "moshez")
        await trio.sleep(PATIENCE / 2)
        assert reader.take() == []
        await trio.sleep(PATIENCE + WAIT)
        assert reader.take() == ["*"]
        await trio.sleep(10 * PATIENCE)
        assert reader.take() == []
        store.withheld = False
        store.change(0, "alice")
        await wait_all_tasks_blocked()
        assert reader.take() == ["alice"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("left", [[], ["moshez"], ["moshez", "alice"]])
async def test_a_store_that_came_back_older_has_lost_what_was_told(left: list[str]) -> None:
    store, reader = FakeStore(), Reader()
    async with reader.reading(store):
        store.change(0, "moshez", "alice", "bob")
    reader.take()
    store.users[0] = left
    async with reader.reading(store):
        assert reader.take() == ["*"]
        store.change(0, "zoe")
    assert reader.take() == ["zoe"]


async def test_another_change_in_the_place_of_ours_is_seen() -> None:
    """As after a failover to a replica that lacks our last change."""
    store, reader = FakeStore(), Reader()
    async with reader.reading(store):
        store.change(0, "moshez")
    reader.take()

    class Elsewhere(FakeStore):
        async def last_changes(self) -> Sequence[Position]:
            return [Position(1, b"7-7"), Position()]

    elsewhere = Elsewhere()
    await reader.follower.resume(elsewhere)
    assert reader.take() == ["*"]


async def test_catching_up_ends_when_all_that_had_happened_is_heard() -> None:
    store, reader = FakeStore(), Reader()
    async with reader.reading(store):
        reader.take()
        store.change(0, "moshez")
        store.change(1, "alice")
        await reader.follower.catch_up(store)
        assert sorted(reader.take()) == ["alice", "moshez"]
        await reader.follower.catch_up(store)


async def test_a_silent_store_is_noticed_by_the_reader(autojump_clock: MockClock) -> None:
    store, reader = FakeStore(), Reader()
    await reader.follower.resume(store)
    store.silent = True
    with pytest.raises(SilenceError):
        await reader.follower.read(store, [0, 1], wait=WAIT, patience=PATIENCE)
    assert trio.current_time() == pytest.approx(WAIT + PATIENCE)


async def test_a_store_in_which_nothing_happens_is_not_silent(autojump_clock: MockClock) -> None:
    store, reader = FakeStore(), Reader()
    async with reader.reading(store):
        await trio.sleep(100)
        reader.take()
        store.change(0, "moshez")
    assert reader.take() == ["moshez"]


async def test_a_silent_store_is_noticed_by_the_heartbeat(autojump_clock: MockClock) -> None:
    store, reader = FakeStore(), Reader()
    await reader.follower.resume(store)
    with trio.move_on_after(100) as scope:
        await reader.follower.beat(store, wait=WAIT, patience=PATIENCE)
    assert scope.cancelled_caught
    store.silent = True
    started = trio.current_time()
    with pytest.raises(SilenceError):
        await reader.follower.beat(store, wait=WAIT, patience=PATIENCE)
    assert trio.current_time() - started == pytest.approx(PATIENCE)


async def test_a_store_that_is_emptied_under_us_is_noticed(autojump_clock: MockClock) -> None:
    store, reader = FakeStore(), Reader()
    with pytest.raises(ExceptionGroup) as caught:
        async with reader.reading(store), trio.open_nursery() as nursery:
            store.change(1, "moshez")
            await wait_all_tasks_blocked()

            async def beat() -> None:
                await reader.follower.beat(store, wait=WAIT, patience=PATIENCE)

            nursery.start_soon(beat)
            await wait_all_tasks_blocked()
            store.users[1].clear()
            await trio.sleep(2)
    assert caught.group_contains(RewoundError)
