"""The sixth chapter of the contract: earlier statuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import trio

from fingertrio.backend import BackendError, KeepsHistory, SetsStatus, UserInfo
from fingertrio.testing.expiring import soon, wait_for_the_calendar
from fingertrio.testing.kit import (
    Attempt,
    Chapter,
    Historian,
    SkippedClauseError,
    Subject,
    ask,
    cancel_everywhere,
    check_form,
    expect,
    new_name,
    require,
    set_status,
    shown,
)

chapter = Chapter()

_STATUSES = ("one", "two", "three", "four")


@chapter.clause(KeepsHistory, SetsStatus)
async def history_is_newest_first(_subject: Subject, backend: Historian) -> None:
    """get_history returns the statuses, newest first, the current one included, each with its `since`."""
    user = new_name()
    statuses = _statuses(await _set_all(backend, user))
    require(statuses == list(reversed(_STATUSES)), f"after {_STATUSES} were set, get_history returned {statuses}")


@chapter.clause(KeepsHistory, SetsStatus)
async def history_has_a_limit(_subject: Subject, backend: Historian) -> None:
    """get_history returns the newest `limit` statuses, or all if there are fewer."""
    user = new_name()
    await _set_all(backend, user)
    for limit in (1, 2, 1000):
        statuses = _statuses(await _history(backend, user, limit))
        require(statuses == list(reversed(_STATUSES))[:limit], f"get_history, limit={limit}, returned {statuses}")


@chapter.clause(KeepsHistory, SetsStatus)
async def history_goes_back(_subject: Subject, backend: Historian) -> None:
    """get_history with `before` returns statuses set earlier, so that paging by the oldest `since` reaches all."""
    user = new_name()
    infos = await _set_all(backend, user)
    for number, info in enumerate(infos):
        statuses = _statuses(await _history(backend, user, 2, before=info.since))
        right = _statuses(infos[number + 1 : number + 3])
        require(statuses == right, f"get_history, before {info.status!r}, returned {statuses} instead of {right}")


@chapter.clause(KeepsHistory, SetsStatus)
async def history_is_of_one_user(_subject: Subject, backend: Historian) -> None:
    """get_history returns no other user's statuses, and none for an unknown user."""
    await _set_all(backend, new_name())
    statuses = _statuses(await _history(backend, new_name(), 10))
    require(not statuses, f"get_history of an unknown user returned {statuses}")


@chapter.clause(KeepsHistory, SetsStatus)
async def history_has_what_was_set_at_once(_subject: Subject, backend: Historian) -> None:
    """Of simultaneous sets for one user, get_history has each once, first the one that get_user returns."""
    user = new_name()
    statuses = {f"Status {number}" for number in range(10)}
    async with trio.open_nursery() as nursery:
        for status in statuses:
            nursery.start_soon(set_status, backend, user, status)
    remembered = _statuses(await _history(backend, user, 100))
    require(sorted(remembered) == sorted(statuses), f"after {len(statuses)} were set at once, it returned {remembered}")
    await expect(backend, user, remembered[0])


@chapter.clause(KeepsHistory, SetsStatus)
async def history_keeps_what_ended(_subject: Subject, backend: Historian) -> None:
    """An expired status stays in get_history, with its `until`."""
    user = new_name()
    until = soon()
    try:
        await set_status(backend, user, "Back soon", until=until)
    except BackendError:
        raise SkippedClauseError from None
    await wait_for_the_calendar(until)
    history = [(info.status, info.until) for info in await _history(backend, user, 10)]
    require(history == [("Back soon", until)], f"after {until}, get_history returned {history}")


@chapter.clause(KeepsHistory, SetsStatus)
async def history_agrees_after_a_cancelled_set(_subject: Subject, backend: Historian) -> None:
    """A status whose set_user was cancelled at any checkpoint is in get_history exactly if get_user returns it."""
    user = new_name()
    await set_status(backend, user, "Status 0")
    made = ["Status 0"]
    rounds = 0

    async def afterwards(_attempt: Attempt) -> None:
        nonlocal rounds
        info = await ask(backend, user)
        seen = info and info.status
        if seen == f"Status {rounds}, cancelled":
            made.insert(0, seen)
        remembered = _statuses(await _history(backend, user, 5))
        require(
            remembered == made[:5], f"get_user returned {shown(seen)} and get_history {remembered}, set were {made[:5]}"
        )
        rounds += 1

    await cancel_everywhere(lambda: set_status(backend, user, f"Status {rounds}, cancelled"), afterwards)


@chapter.clause(KeepsHistory, SetsStatus)
async def history_can_be_cancelled(_subject: Subject, backend: Historian) -> None:
    """get_history, cancelled at any checkpoint, raises Cancelled or returns, and the backend answers as before."""
    user = new_name()
    right = await _set_all(backend, user)

    async def afterwards(_attempt: Attempt) -> None:
        seen = await _history(backend, user, 10)
        require(seen == right, f"get_history returned {_statuses(seen)} instead of {_statuses(right)}")
        await expect(backend, user, right[0].status)

    await cancel_everywhere(lambda: _history(backend, user, 10), afterwards)


async def _set_all(backend: Historian, user: str) -> list[UserInfo]:
    """The history after `_STATUSES` were set, each in a millisecond of its own."""
    for status in _STATUSES:
        await set_status(backend, user, status)
        await wait_for_the_calendar(datetime.now(UTC) + timedelta(milliseconds=2))
    return await _history(backend, user, 10)


async def _history(backend: Historian, user: str, limit: int, *, before: datetime | None = None) -> list[UserInfo]:
    infos = list(await backend.get_history(user, limit, before))
    for info in infos:
        check_form(info, user, f"get_history({user!r}, ...)")
        require(info.since is not None, f"get_history returned {info.status!r} without its `since`")
    times = [info.since for info in infos if info.since is not None]
    require(times == sorted(times, reverse=True), f"get_history returned statuses of {[str(time) for time in times]}")
    return infos


def _statuses(infos: list[UserInfo]) -> list[str]:
    return [info.status for info in infos]
