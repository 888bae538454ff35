"""The fifth chapter of the contract: answers without waiting, which must be as new as those that are waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from inspect import iscoroutine
from math import inf
from typing import Protocol

import trio

from fingertrio.backend import AnswersAtOnce, Backend, BackendError, Change, ClearsStatus, EmitsChanges, SetsStatus
from fingertrio.testing.changing import hear
from fingertrio.testing.expiring import soon, wait_for_the_calendar
from fingertrio.testing.kit import (
    BrokenClauseError,
    Chapter,
    Emitter,
    Setter,
    SettingEmitter,
    SkippedClauseError,
    Subject,
    ask,
    check_form,
    new_name,
    require,
    set_status,
    shown,
)

chapter = Chapter()


class Ready(Backend, AnswersAtOnce, Protocol):
    """What a clause that needs AnswersAtOnce is given."""


class ReadySetter(Setter, AnswersAtOnce, Protocol):
    """What a clause that needs AnswersAtOnce and SetsStatus is given."""


class ReadyEmitter(Emitter, AnswersAtOnce, Protocol):
    """What a clause that needs AnswersAtOnce and EmitsChanges is given."""


class ReadySettingEmitter(SettingEmitter, AnswersAtOnce, Protocol):
    """What a clause that needs AnswersAtOnce, SetsStatus and EmitsChanges is given."""


@chapter.clause(AnswersAtOnce)
async def at_once_is_what_get_user_returns(subject: Subject, backend: Ready) -> None:
    """get_user_now, a plain function, returns what get_user returns, or raises LookupError and nothing else."""
    for user in (*await subject.people(backend), new_name(), "0", "x" * 64, "\u5f20\u4e09"):
        for asked_before in (False, True):
            info = await ask(backend, user) if asked_before else None
            try:
                now: object = backend.get_user_now(user)
            except LookupError:
                continue
            if iscoroutine(now):
                now.close()
            if now is not None:
                check_form(now, user, f"get_user_now({user!r})")
            info = info or await ask(backend, user)
            require(now == info, f"get_user_now({user!r}) returned {now!r}, and get_user {info!r}")


@chapter.clause(AnswersAtOnce, SetsStatus)
async def at_once_is_new_after_a_set(_subject: Subject, backend: ReadySetter) -> None:
    """After set_user or clear_user, get_user_now returns the new status, or raises LookupError."""
    user = new_name()
    for status in ("Happy and well", "In the garden"):
        await ask(backend, user)  # what the backend keeps from this answer is old after the set
        await set_status(backend, user, status)
        _expect_at_once(backend, user, status)
    if isinstance(backend, ClearsStatus):
        await ask(backend, user)
        await backend.clear_user(user)
        _expect_at_once(backend, user, "")


@chapter.clause(AnswersAtOnce, EmitsChanges, SetsStatus)
async def at_once_is_new_when_told(subject: Subject, backend: ReadySettingEmitter) -> None:
    """get_user_now is never behind what changes() has yielded, like get_user."""
    user = new_name()
    async with backend.changes() as feed, trio.open_nursery() as nursery:
        for number in range(5):
            await ask(backend, user)
            nursery.start_soon(set_status, backend, user, f"Status {number}")
            await _hear_until_answered_at_once(feed, backend, user, f"Status {number}", subject.patience)


@chapter.clause(AnswersAtOnce, EmitsChanges)
async def at_once_is_new_when_others_change(subject: Subject, backend: ReadyEmitter) -> None:
    """After a change that another program makes has been yielded, get_user_now returns it, or raises LookupError."""
    if subject.alter is None:
        raise SkippedClauseError
    user = new_name()
    async with backend.changes() as feed:
        for status in ("Happy and well", "In the garden"):
            await ask(backend, user)
            await subject.alter(user, status)
            await _hear_until_answered_at_once(feed, backend, user, status, subject.patience)


@chapter.clause(AnswersAtOnce, SetsStatus)
async def at_once_respects_until(_subject: Subject, backend: ReadySetter) -> None:
    """A status that was set with `until` is not returned by get_user_now afterwards."""
    user = new_name()
    until = soon()
    try:
        await set_status(backend, user, "Back soon", until=until)
    except BackendError:
        raise SkippedClauseError from None
    await ask(backend, user)
    await wait_for_the_calendar(until)
    _expect_at_once(backend, user, None)


def _expect_at_once(backend: AnswersAtOnce, user: str, status: str | None) -> None:
    is_right, seen = _try(backend, user, status)
    require(is_right, f"get_user_now({user!r}) returned {seen} instead of {shown(status)}")


async def _hear_until_answered_at_once(
    feed: AsyncIterator[Change], backend: AnswersAtOnce, user: str, status: str, seconds: float
) -> None:
    """Require that get_user_now returns `status` after the last change. Repeated changes are allowed."""
    await hear(feed, user, seconds)
    is_right, seen = _try(backend, user, status)
    with trio.move_on_after(seconds):
        while not is_right:
            await hear(feed, user, inf)
            is_right, seen = _try(backend, user, status)
        return
    raise BrokenClauseError(f"after the change of {user!r}, get_user_now returned {seen} instead of {shown(status)}")


def _try(backend: AnswersAtOnce, user: str, status: str | None) -> tuple[bool, str]:
    """Whether get_user_now returns `status`, or has no answer; and what it returned."""
    try:
        info = backend.get_user_now(user)
    except LookupError:
        return True, ""
    seen = info and info.status
    return seen == status, shown(seen)
