from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import pytest
import trio

from fingertrio.backend import UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.testing import check_backend, lifetime

Open = Callable[[], AbstractAsyncContextManager[Any]]

USERS = {"moshez": "Happy and well", "alice": "In the garden"}


class SetsNothing(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        return UserInfo(user, status, until=until)


class Leaks:
    """What the broken contexts leave behind, so that the test can end it."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def leak_descriptor(self) -> None:
        self.descriptors.append(os.open(os.devnull, os.O_RDONLY))

    def close_descriptor(self) -> None:
        os.close(self.descriptors.pop())

    def start_process(self) -> None:
        self.processes.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))

    def end(self) -> None:
        while self.descriptors:
            self.close_descriptor()
        for process in self.processes:
            process.communicate()  # closes its input, which ends it

    @asynccontextmanager
    async def opens_once(self) -> AsyncIterator[MemoryBackend]:
        if self.descriptors:
            raise RuntimeError("already open")
        self.leak_descriptor()
        yield MemoryBackend(USERS)

    @asynccontextmanager
    async def forgets_when_opened_again(self) -> AsyncIterator[MemoryBackend]:
        self.leak_descriptor()
        yield MemoryBackend(USERS if len(self.descriptors) == 1 else {})

    @asynccontextmanager
    async def is_read_only_when_opened_again(self) -> AsyncIterator[MemoryBackend]:
        self.leak_descriptor()
        yield (MemoryBackend if len(self.descriptors) == 1 else SetsNothing)(USERS)

    @asynccontextmanager
    async def leaves_a_descriptor(self) -> AsyncIterator[MemoryBackend]:
        self.leak_descriptor()
        yield MemoryBackend(USERS)

    @asynccontextmanager
    async def leaves_a_task(self) -> AsyncIterator[MemoryBackend]:
        trio.lowlevel.spawn_system_task(trio.sleep_forever, name="heartbeat")
        yield MemoryBackend(USERS)

    @asynccontextmanager
    async def leaves_a_process(self) -> AsyncIterator[MemoryBackend]:
        self.start_process()
        yield MemoryBackend(USERS)

    @asynccontextmanager
    async def swallows(self) -> AsyncIterator[MemoryBackend]:
        with suppress(Exception):
            yield MemoryBackend(USERS)

    @asynccontextmanager
    async def closes_only_when_all_went_well(self) -> AsyncIterator[MemoryBackend]:
        self.leak_descriptor()
        yield MemoryBackend(USERS)
        self.close_descriptor()

    @asynccontextmanager
    async def closes_only_what_fails(self) -> AsyncIterator[MemoryBackend]:
        self.leak_descriptor()
        try:
            yield MemoryBackend(USERS)
        except Exception:
            self.close_descriptor()
            raise
        self.close_descriptor()

    @asynccontextmanager
    async def closes_with_a_checkpoint_before(self) -> AsyncIterator[MemoryBackend]:
        self.leak_descriptor()
        try:
            yield MemoryBackend(USERS)
        finally:
            await trio.lowlevel.checkpoint()
            self.close_descriptor()

    @asynccontextmanager
    async def swallows_cancellation(self) -> AsyncIterator[MemoryBackend]:
        with suppress(BaseException):
            yield MemoryBackend(USERS)

    @asynccontextmanager
    async def never_ends(self) -> AsyncIterator[MemoryBackend]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield MemoryBackend(USERS)

    @asynccontextmanager
    async def opens_with_a_checkpoint_after(self) -> AsyncIterator[MemoryBackend]:
        self.leak_descriptor()
        await trio.lowlevel.checkpoint()
        try:
            yield MemoryBackend(USERS)
        finally:
            self.close_descriptor()

    @asynccontextmanager
    async def leaves_what_it_opened_for(self, method: str, *, unless_done: bool) -> AsyncIterator[MemoryBackend]:
        """Each call of `method` opens a descriptor, and leaves it open, always or unless it is done."""

        class Leaking(MemoryBackend):
            async def get_history(self, *_: object) -> Sequence[UserInfo]:
                return []

        backend = Leaking(USERS)
        right = getattr(backend, method)

        async def call(*arguments: object, **options: object) -> object:
            self.leak_descriptor()
            result = await right(*arguments, **options)
            if unless_done:
                self.close_descriptor()
            return result

        @asynccontextmanager
        async def enter() -> AsyncIterator[object]:
            self.leak_descriptor()
            async with right() as feed:
                yield feed
            if unless_done:
                self.close_descriptor()

        setattr(backend, method, enter if method == "changes" else call)
        yield backend


BROKEN: list[tuple[str, str, str]] = [
    ("it_opens_again", "opens_once", "RuntimeError: already open"),
    ("it_opens_again", "forgets_when_opened_again", "get_user('moshez') returned nothing"),
    ("it_opens_again", "is_read_only_when_opened_again", "returned nothing instead of 'Happy and well'"),
    ("nothing_is_left", "leaves_a_descriptor", "open on /dev/null"),
    ("nothing_is_left", "leaves_a_task", "a task of heartbeat"),
    ("nothing_is_left", "leaves_a_process", "process "),
    ("nothing_is_left", "never_ends", "did not end"),
    ("an_error_passes_through", "swallows", "it was swallowed"),
    ("an_error_passes_through", "closes_only_when_all_went_well", "after an exception ended the context"),
    ("cancelling_closes_it", "closes_only_what_fails", "after the context was cancelled"),
    ("cancelling_closes_it", "closes_with_a_checkpoint_before", "after the context was cancelled"),
    ("cancelling_closes_it", "swallows_cancellation", "swallowed"),
    ("opening_can_be_cancelled", "opens_with_a_checkpoint_after", "after opening was cancelled"),
]


@pytest.mark.parametrize(("clause", "broken", "seen"), BROKEN)
def test_the_kit_notices(
    notice: Callable[..., str], monkeypatch: pytest.MonkeyPatch, clause: str, broken: str, seen: str
) -> None:
    monkeypatch.setattr(lifetime, "_SETTLING", 0.05)
    leaks = Leaks()
    try:
        assert seen in notice(clause, open_backend=getattr(leaks, broken))
    finally:
        leaks.end()


@pytest.mark.parametrize(
    ("clause", "method"),
    [
        *(("nothing_is_left", method) for method in ("get_user", "get_users", "set_user", "get_history", "changes")),
        *(("cancelling_closes_it", method) for method in ("get_user", "get_users", "set_user", "changes")),
    ],
)
def test_the_kit_notices_what_a_call_left(
    notice: Callable[..., str], monkeypatch: pytest.MonkeyPatch, clause: str, method: str
) -> None:
    monkeypatch.setattr(lifetime, "_SETTLING", 0.05)
    leaks = Leaks()
    unless_done = clause == "cancelling_closes_it"
    try:
        seen = notice(clause, open_backend=lambda: leaks.leaves_what_it_opened_for(method, unless_done=unless_done))
        assert "open on /dev/null" in seen
    finally:
        leaks.end()


def test_every_clause_has_a_backend_that_breaks_it() -> None:
    assert {clause for clause, _, _ in BROKEN} == {clause.name for clause in lifetime.chapter.clauses}


class Immediate:
    """Never lets others run, which the contract does not forbid."""

    async def get_user(self, user: str) -> UserInfo | None:
        return UserInfo(user, USERS[user]) if user in USERS else None


async def test_a_backend_without_checkpoints_passes(opening: Callable[[Callable[[object], object]], Open]) -> None:
    await check_backend(opening(lambda _: Immediate()), known=USERS)


async def test_what_a_thread_closes_a_moment_later_is_no_leak() -> None:
    leaks = Leaks()

    @asynccontextmanager
    async def open_backend() -> AsyncIterator[MemoryBackend]:
        leaks.leak_descriptor()
        try:
            yield MemoryBackend(USERS)
        finally:
            trio.lowlevel.spawn_system_task(close_in_a_thread)

    async def close_in_a_thread() -> None:
        await trio.to_thread.run_sync(leaks.close_descriptor)

    names = await check_backend(open_backend, known=USERS, clauses=lifetime.chapter.clauses)
    assert names == [clause.name for clause in lifetime.chapter.clauses]
