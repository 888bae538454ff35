from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from datetime import datetime
from math import inf
from typing import Any

import pytest
import trio

from fingertrio.backend import Change, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.testing import changing, check_backend

Open = Callable[[], AbstractAsyncContextManager[Any]]


class Silent(MemoryBackend):
    @asynccontextmanager
    async def _changes(self) -> AsyncIterator[AsyncIterator[Change]]:
        send, receive = trio.open_memory_channel[Change](0)
        async with send, receive:
            yield receive

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        return self._changes()


class EndsAtOnce(MemoryBackend):
    @asynccontextmanager
    async def _changes(self) -> AsyncIterator[AsyncIterator[Change]]:
        send, receive = trio.open_memory_channel[Change](0)
        await send.aclose()
        yield receive

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        return self._changes()


class TellsOfSomebodyElse(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        hub, self._hub = self._hub, type(self._hub)()
        info = await super().set_user(user, status, until=until)
        self._hub = hub
        hub.emit(Change("moshez"))
        return info


class TellsNames(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        info = await super().set_user(user, status, until=until)
        self._hub.emit(Change(user))
        return info

    def changes(self) -> Any:
        return self._names()

    @asynccontextmanager
    async def _names(self) -> AsyncIterator[Any]:
        async with super().changes() as feed:
            yield (change.user async for change in feed)


class Channels(MemoryBackend):
    """Gives every reader a channel, and a set waits until each has room."""

    buffer: float = 0

    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.readers: list[trio.MemorySendChannel[Change]] = []

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        info = await super().set_user(user, status, until=until)
        for reader in self.readers:
            await reader.send(Change(user))
        return info

    @asynccontextmanager
    async def _changes(self) -> AsyncIterator[AsyncIterator[Change]]:
        send, receive = trio.open_memory_channel[Change](self.buffer)
        self.readers.append(send)
        yield receive

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        return self._changes()


class Buffered(Channels):
    buffer = 64


class DropsWhatIsTooMuch(Channels):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        info = await MemoryBackend.set_user(self, user, status, until=until)
        for reader in self.readers:
            with suppress(trio.WouldBlock):
                reader.send_nowait(Change(user))
        return info

    buffer = 2


class TellsThePast(Channels):
    """One channel that is never replaced: a new reader gets old, unread changes."""

    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        send, self.receive = trio.open_memory_channel[Change](inf)
        self.readers = [send]

    @asynccontextmanager
    async def _changes(self) -> AsyncIterator[AsyncIterator[Change]]:
        yield self.receive


class TellsOne(TellsThePast):
    """The same: of two who read, each change reaches one."""


class OneLeavesAllLeave(MemoryBackend):
    @asynccontextmanager
    async def _changes(self) -> AsyncIterator[AsyncIterator[Change]]:
        async with self._hub.changes() as feed:
            yield feed
        self._hub._feeds.clear()

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        return self._changes()


class TellsFirst(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        hub, self._hub = self._hub, type(self._hub)()
        hub.emit(Change(user))
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        info = await super().set_user(user, status, until=until)
        self._hub = hub
        return info


class EntersWithACheckpoint(Channels):
    """Who is cancelled at it stays among the readers, and never reads."""

    @asynccontextmanager
    async def _changes(self) -> AsyncIterator[AsyncIterator[Change]]:
        send, receive = trio.open_memory_channel[Change](2)
        self.readers.append(send)
        await trio.lowlevel.checkpoint()
        try:
            yield receive
        finally:
            self.readers.remove(send)


class TakesBeforeItWaits(MemoryBackend):
    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        return self._changes()

    @asynccontextmanager
    async def _changes(self) -> AsyncIterator[AsyncIterator[Change]]:
        async with super().changes() as feed:
            yield TakenBefore(feed)


class TakenBefore:
    def __init__(self, feed: AsyncIterator[Change]) -> None:
        self.feed = feed

    def __aiter__(self) -> TakenBefore:
        return self

    async def __anext__(self) -> Change:
        change = await anext(self.feed)
        await trio.lowlevel.checkpoint()
        return change


BROKEN: list[tuple[str, type, str]] = [
    ("a_set_is_told", Silent, "changes() returned nothing within"),
    ("a_set_is_told", EndsAtOnce, "changes() ended, after nothing, before it yielded 'kit-"),
    ("a_set_is_told", TellsOfSomebodyElse, "changes() returned {'moshez'} within"),
    ("a_set_is_told", TellsNames, "which is not a Change"),
    ("the_past_is_not_told", TellsThePast, "which was set before its context was entered"),
    ("every_reader_is_told", TellsOne, "changes() returned nothing within"),
    ("every_reader_is_told", OneLeavesAllLeave, "changes() returned nothing within"),
    ("the_answer_is_new_when_told", TellsFirst, "returned nothing instead of 'Status 0'"),
    ("a_slow_reader_holds_nobody_up", Channels, "with a reader that did not read, did not end"),
    ("a_slow_reader_holds_nobody_up", Buffered, "with a reader that did not read, did not end"),
    ("a_slow_reader_holds_nobody_up", DropsWhatIsTooMuch, "or None"),
    ("a_cancelled_entering_harms_nobody", EntersWithACheckpoint, "did not end within 1 seconds"),
    ("a_cancelled_read_loses_nothing", TakesBeforeItWaits, "neither it nor a later one yielded"),
    (
        "an_expiry_is_told",
        MemoryBackend,
        "changes() returned nothing within",
    ),  # its `run`, which emits expiries, is not running
]


@pytest.mark.parametrize(("clause", "broken", "seen"), BROKEN)
def test_the_kit_notices(notice: Callable[..., str], clause: str, broken: type, seen: str) -> None:
    assert seen in notice(clause, broken)


class Source(MemoryBackend):
    """What others change in it is stored, listed and told, and nothing else is touched."""

    def alter(self, user: str, status: str) -> None:
        self._lasting[user] = UserInfo(user, status)
        self._hub.emit(Change(user))


class TellsNothing(Source):
    def alter(self, user: str, status: str) -> None:
        self._lasting[user] = UserInfo(user, status)


class TellsOnly(Source):
    def alter(self, user: str, status: str) -> None:
        self._hub.emit(Change(user))


class ListsOnlyItsOwn(Source):
    async def get_users(self) -> Sequence[str]:
        return ["moshez"]


class LosesItsOwn(Source):
    def alter(self, user: str, status: str) -> None:
        super().alter(user, status)
        self._lasting.pop("moshez", None)


@pytest.mark.parametrize(
    ("broken", "seen"),
    [
        (TellsNothing, "changes() returned nothing"),
        (TellsOnly, "get_user returned nothing instead of 'Happy and well'"),
        (ListsOnlyItsOwn, "0 times"),
        (LosesItsOwn, "get_user('moshez') returned nothing instead of 'Happy and well'"),
    ],
)
def test_the_kit_notices_what_others_changed(notice: Callable[..., str], broken: type[Source], seen: str) -> None:
    backend: Source | None = None

    @asynccontextmanager
    async def open_source() -> AsyncIterator[Source]:
        nonlocal backend
        backend = broken({"moshez": "Happy and well", "alice": "In the garden"})
        yield backend

    async def alter(user: str, status: str) -> None:
        assert backend is not None
        backend.alter(user, status)

    assert seen in notice("what_others_change_is_told", open_backend=open_source, alter=alter)


def test_every_clause_has_a_backend_that_breaks_it() -> None:
    names = {clause for clause, _, _ in BROKEN} | {"what_others_change_is_told"}
    assert names == {clause.name for clause in changing.chapter.clauses}


async def test_a_feed_may_end_when_its_read_is_cancelled(opening: Callable[[type], Open]) -> None:
    """As a generator does. Who then finds it ended knows that he has to ask for everything anew."""

    class Generates(MemoryBackend):
        def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
            return self._changes()

        @asynccontextmanager
        async def _changes(self) -> AsyncIterator[AsyncIterator[Change]]:
            async def generate() -> AsyncGenerator[Change, None]:
                async for change in feed:
                    await trio.lowlevel.checkpoint()
                    yield change

            async with super().changes() as feed, aclosing(generate()) as generated:
                yield generated

    clauses = [clause for clause in changing.chapter.clauses if clause.name == "a_cancelled_read_loses_nothing"]
    assert await check_backend(opening(Generates), clauses=clauses)
