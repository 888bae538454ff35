"""The fourth chapter of the contract: the feed of changes, on which every cache of answers relies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from math import inf

import trio

from fingertrio.backend import BackendError, Change, EmitsChanges, ListsUsers, SetsStatus
from fingertrio.testing.expiring import soon, wait_for_the_calendar
from fingertrio.testing.kit import (
    Attempt,
    BrokenClauseError,
    Chapter,
    Emitter,
    SettingEmitter,
    SkippedClauseError,
    Subject,
    ask,
    cancel_everywhere,
    expect,
    listed,
    new_name,
    require,
    set_status,
    shown,
)

chapter = Chapter()

_MANY = 200  # changes that a reader does not read: more than any usual buffer between tasks


@chapter.clause(EmitsChanges, SetsStatus)
async def a_set_is_told(subject: Subject, backend: SettingEmitter) -> None:
    """After each set_user, also of a new user, changes() yields Change(user) or Change(None)."""
    user = new_name()
    async with backend.changes() as feed:
        for status in ("Happy and well", "In the garden"):
            await set_status(backend, user, status)
            await hear(feed, user, subject.patience)


@chapter.clause(EmitsChanges, SetsStatus)
async def the_past_is_not_told(subject: Subject, backend: SettingEmitter) -> None:
    """changes() yields changes made after its context was entered, and no earlier ones."""
    past, present = new_name(), new_name()
    await set_status(backend, past, "Before")
    async with backend.changes() as feed:
        await set_status(backend, present, "After")
        heard = await hear(feed, present, subject.patience)
    require(past not in heard, f"changes() returned Change({past!r}), which was set before its context was entered")


@chapter.clause(EmitsChanges, SetsStatus)
async def every_reader_is_told(subject: Subject, backend: SettingEmitter) -> None:
    """Each of several readers of changes() gets each change, also after another reader has left."""
    user = new_name()
    async with backend.changes() as first:
        async with backend.changes() as second:
            await set_status(backend, user, "one")
            for feed in (first, second):
                await hear(feed, user, subject.patience)
        await set_status(backend, user, "two")
        await hear(first, user, subject.patience)


@chapter.clause(EmitsChanges, SetsStatus)
async def the_answer_is_new_when_told(subject: Subject, backend: SettingEmitter) -> None:
    """A query after a change returns the new status: get_user is never behind what changes() has yielded."""
    user = new_name()
    async with backend.changes() as feed, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(set_status, backend, user, f"Status {number}")
            await _hear_until_answered(feed, backend, user, f"Status {number}", subject.patience)


@chapter.clause(EmitsChanges, SetsStatus)
async def a_slow_reader_holds_nobody_up(subject: Subject, backend: SettingEmitter) -> None:
    """A reader that enters changes() and does not read delays no set_user, and later still gets every changed user."""
    users = [new_name() for _ in range(4)]
    async with backend.changes() as feed:
        with trio.move_on_after(subject.patience) as waiting:
            for number in range(_MANY):
                await set_status(backend, users[number % 4], f"Status {number}")
        require(not waiting.cancelled_caught, f"{_MANY} set_user, with a reader that did not read, did not end")
        unheard = set(users)
        while unheard:
            heard = await hear(feed, next(iter(unheard)), subject.patience)
            unheard = set() if None in heard else unheard - heard


@chapter.clause(EmitsChanges, SetsStatus)
async def a_cancelled_entering_harms_nobody(subject: Subject, backend: SettingEmitter) -> None:
    """Entering and leaving changes(), cancelled at any checkpoint, delays neither sets nor other readers."""
    user = new_name()

    async def enter() -> None:
        async with backend.changes():
            await trio.lowlevel.checkpoint()

    async with backend.changes() as feed:

        async def afterwards(_attempt: Attempt) -> None:
            await set_status(backend, user, "In the garden")
            await hear(feed, user, subject.patience)

        await cancel_everywhere(enter, afterwards)


@chapter.clause(EmitsChanges, SetsStatus)
async def a_cancelled_read_loses_nothing(subject: Subject, backend: SettingEmitter) -> None:
    """A read of changes(), cancelled at any checkpoint, loses no change: the next read yields it, or the feed ends."""
    user = new_name()
    heard: set[str | None] = set()
    ended = False

    async def read() -> None:
        nonlocal ended
        try:
            heard.add((await anext(feed)).user)
        except StopAsyncIteration:
            ended = True

    async def afterwards(attempt: Attempt) -> None:
        nonlocal user
        with trio.move_on_after(subject.patience):
            while not ended and not {user, None} & heard:
                await read()
        lost = not ended and not {user, None} & heard
        require(not lost, f"a read was cancelled, and neither it nor a later one yielded Change({user!r})")
        if attempt.cancelled and not ended:
            heard.clear()
            user = new_name()
            await set_status(backend, user, "In the garden")

    async with backend.changes() as feed:
        await set_status(backend, user, "In the garden")
        await cancel_everywhere(read, afterwards)


@chapter.clause(EmitsChanges, SetsStatus)
async def an_expiry_is_told(subject: Subject, backend: SettingEmitter) -> None:
    """When a status ends by its `until`, changes() tells, as of every change: the list of users is kept by it too."""
    user = new_name()
    async with backend.changes() as feed:
        until = soon()
        try:
            await set_status(backend, user, "Back soon", until=until)
        except BackendError:
            raise SkippedClauseError from None
        await hear(feed, user, subject.patience)
        await wait_for_the_calendar(until)
        await _hear_until_answered(feed, backend, user, None, subject.patience)


@chapter.clause(EmitsChanges)
async def what_others_change_is_told(subject: Subject, backend: Emitter) -> None:
    """A change that another program makes in the source is emitted, and then returned by get_user, like our own."""
    if subject.alter is None:
        raise SkippedClauseError
    user = new_name()
    async with backend.changes() as feed:
        for status in ("Happy and well", "In the garden"):
            await subject.alter(user, status)
            await _hear_until_answered(feed, backend, user, status, subject.patience)
        if isinstance(backend, ListsUsers):
            users = await listed(backend)
            require(users.count(user) == 1, f"get_users() returned {user!r} {users.count(user)} times")
    for known, status in subject.known.items():
        await expect(backend, known, status)


async def hear(feed: AsyncIterator[Change], user: str, seconds: float) -> set[str | None]:
    """Read until the feed reports a change of `user`; returns every name that it reported, None for all users."""
    heard: set[str | None] = set()
    with trio.move_on_after(seconds):
        async for change in feed:
            require(isinstance(change, Change), f"changes() returned {change!r}, which is not a Change")
            heard.add(change.user)
            if change.user in (user, None):
                return heard
        raise BrokenClauseError(f"changes() ended, after {heard or 'nothing'}, before it yielded {user!r}")
    raise BrokenClauseError(
        f"changes() returned {heard or 'nothing'} within {seconds:.3g} seconds, instead of {user!r} or None"
    )


async def _hear_until_answered(
    feed: AsyncIterator[Change], backend: Emitter, user: str, status: str | None, seconds: float
) -> None:
    """Require that get_user returns `status` after the last change. Repeated changes are allowed."""
    await hear(feed, user, seconds)
    info = await ask(backend, user)
    with trio.move_on_after(seconds):
        while (info and info.status) != status:
            await hear(feed, user, inf)
            info = await ask(backend, user)
        return
    raise BrokenClauseError(
        f"after the change of {user!r}, get_user returned {shown(info and info.status)} instead of {shown(status)}"
    )
