"""The contract's fourth chapter: what was said before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fingertrio.backend import KeepsHistory, SetsStatus, UserInfo
from fingertrio.testing.kit import Chapter, Historian, Subject, check_form, new_name, require, set_status
from fingertrio.testing.setting import wait_for_the_calendar

chapter = Chapter()

_STATUSES = ("one", "two", "three", "four")


@chapter.clause(KeepsHistory, SetsStatus)
async def history_is_newest_first(_subject: Subject, backend: Historian) -> None:
    """get_history gives what was set, newest first, the present status included, each with its `since`."""
    user = new_name()
    statuses = _statuses(await _set_all(backend, user))
    require(statuses == list(reversed(_STATUSES)), f"after {_STATUSES} were set, get_history gave {statuses}")


@chapter.clause(KeepsHistory, SetsStatus)
async def history_has_a_limit(_subject: Subject, backend: Historian) -> None:
    """get_history gives the newest `limit` statuses, or as many as there are."""
    user = new_name()
    await _set_all(backend, user)
    for limit in (1, 2, 1000):
        statuses = _statuses(await _history(backend, user, limit))
        require(statuses == list(reversed(_STATUSES))[:limit], f"get_history, limit={limit}, gave {statuses}")


@chapter.clause(KeepsHistory, SetsStatus)
async def history_goes_back(_subject: Subject, backend: Historian) -> None:
    """get_history with `before` gives what was set before it, so that asking on from the oldest goes through it all."""
    user = new_name()
    infos = await _set_all(backend, user)
    for number, info in enumerate(infos):
        statuses = _statuses(await _history(backend, user, 2, before=info.since))
        right = _statuses(infos[number + 1 : number + 3])
        require(statuses == right, f"get_history, before {info.status!r}, gave {statuses} instead of {right}")


@chapter.clause(KeepsHistory, SetsStatus)
async def history_is_of_one_user(_subject: Subject, backend: Historian) -> None:
    """get_history of a user gives nobody else's statuses, and none of an unknown user."""
    await _set_all(backend, new_name())
    statuses = _statuses(await _history(backend, new_name(), 10))
    require(not statuses, f"get_history of an unknown user gave {statuses}")


async def _set_all(backend: Historian, user: str) -> list[UserInfo]:
    """The history after `_STATUSES` were set, each at a moment of its own, as far as clocks of milliseconds tell."""
    for status in _STATUSES:
        await set_status(backend, user, status)
        await wait_for_the_calendar(datetime.now(UTC) + timedelta(milliseconds=2))
    return await _history(backend, user, 10)


async def _history(backend: Historian, user: str, limit: int, *, before: datetime | None = None) -> list[UserInfo]:
    infos = list(await backend.get_history(user, limit, before))
    for info in infos:
        check_form(info, user, f"get_history({user!r}, ...)")
        require(info.since is not None, f"get_history gave {info.status!r} without its `since`")
    times = [info.since for info in infos if info.since is not None]
    require(times == sorted(times, reverse=True), f"get_history gave statuses of {[str(time) for time in times]}")
    return infos


def _statuses(infos: list[UserInfo]) -> list[str]:
    return [info.status for info in infos]
