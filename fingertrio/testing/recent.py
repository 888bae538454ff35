"""The contract's chapter on recent statuses: the newest first, page after page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import trio

from fingertrio.backend import (
    Backend,
    BackendError,
    ClearsStatus,
    ListsRecent,
    ListsUsers,
    Recency,
    SetsStatus,
    UserInfo,
)
from fingertrio.testing.expiring import soon, wait_for_the_calendar
from fingertrio.testing.kit import (
    Attempt,
    Chapter,
    SkippedClauseError,
    Subject,
    ask,
    cancel_everywhere,
    check_form,
    listed,
    new_name,
    require,
    set_status,
)

chapter = Chapter()

# Statuses of one page while all are read: few enough for several pages, and enough for a store that was checked before.
_PAGE = 3


class _Recent(Backend, ListsRecent, Protocol):
    """What a clause that needs ListsRecent is given."""


class _SettingRecent(_Recent, SetsStatus, Protocol):
    """What a clause that needs ListsRecent and SetsStatus is given."""


class _ClearingRecent(_SettingRecent, ClearsStatus, Protocol):
    """What a clause that needs ClearsStatus as well is given."""


@chapter.clause(ListsRecent)
async def recent_statuses_are_those_of_the_users(subject: Subject, backend: _Recent) -> None:
    """get_recent has each user with a status once, each as get_user returns it, and no other user."""
    people = await subject.people(backend)
    infos = await _all(backend)
    users = [info.user for info in infos]
    require(len(set(users)) == len(users), f"get_recent returned {_twice(users)} twice")
    missing = [user for user in people if user not in users]
    require(not missing, f"get_recent was without {missing}")
    for info in infos:
        answered = await ask(backend, info.user)
        require(info == answered, f"get_recent returned {info!r}, get_user {answered!r}")
    if isinstance(backend, ListsUsers):
        known = await listed(backend)
        unknown = [user for user in users if user not in known]
        require(not unknown, f"get_recent returned {unknown}, who are not in get_users()")


@chapter.clause(ListsRecent)
async def recent_statuses_have_a_limit(subject: Subject, backend: _Recent) -> None:
    """get_recent returns `limit` statuses, or all if there are fewer; the first of a longer list come first."""
    await subject.people(backend)
    infos = await _all(backend)
    for limit in (1, 2, len(infos), len(infos) + 1):
        seen = _users(await _recent(backend, limit))
        right = _users(infos[:limit])
        require(seen == right, f"get_recent, limit={limit}, returned {seen} instead of {right}")


@chapter.clause(ListsRecent)
async def recent_statuses_are_paged_exactly(subject: Subject, backend: _Recent) -> None:
    """get_recent after the place of any status has those after it, none twice and none left out."""
    await subject.people(backend)
    infos = await _all(backend)
    for number, info in enumerate(infos[:20], 1):
        seen = _users(await _recent(backend, 2, Recency.of(info)))
        right = _users(infos[number : number + 2])
        require(seen == right, f"get_recent, after {info.user!r}, returned {seen} instead of {right}")


@chapter.clause(ListsRecent, SetsStatus)
async def recent_places_need_no_status(_subject: Subject, backend: _SettingRecent) -> None:
    """A place stays valid when its status has been replaced, and a place that never had a status is valid too."""
    users = sorted(new_name() for _ in range(3))
    infos = [await _set(backend, user) for user in users]
    if infos[0].since is None:
        raise SkippedClauseError
    await _set(backend, users[1])
    seen = _users(await _recent(backend, 1, Recency.of(infos[1])))
    require(seen == [users[0]], f"after the place of a replaced status, get_recent returned {seen}")
    seen = _users(await _recent(backend, 1, Recency(infos[0].since, users[0][:-1])))
    require(seen == [users[0]], f"after a place without a status, get_recent returned {seen}")


@chapter.clause(ListsRecent, SetsStatus)
async def recent_statuses_are_newest_first(_subject: Subject, backend: _SettingRecent) -> None:
    """What is set is first, and the user's earlier status is no longer there."""
    users = [new_name() for _ in range(3)]
    for user in (*users, users[0]):
        info = await _set(backend, user)
        seen = _users(await _recent(backend, 1))
        require(info.since is None or seen == [user], f"after {user!r} was set, get_recent, limit=1, returned {seen}")
    mine = [user for user in _users(await _recent(backend, 10)) if user in users]
    right = [users[0], users[2], users[1]]
    require(info.since is None or mine == right, f"after {users[0]!r} was set again, get_recent returned {mine}")


@chapter.clause(ListsRecent, SetsStatus, ClearsStatus)
async def cleared_statuses_are_not_recent(_subject: Subject, backend: _ClearingRecent) -> None:
    """A cleared status leaves get_recent, and the next one that is set is there again."""
    user = new_name()
    await _set(backend, user)
    await backend.clear_user(user)
    require(user not in _users(await _all(backend)), f"get_recent returned {user!r}, whose status was cleared")
    await _set(backend, user)
    require(user in _users(await _all(backend)), f"get_recent was without {user!r} after clear_user and set_user")


@chapter.clause(ListsRecent, SetsStatus)
async def ended_statuses_are_not_recent(_subject: Subject, backend: _SettingRecent) -> None:
    """When a status ends, the user leaves get_recent, or stands where the earlier status belongs that holds again."""
    lasting, between, passing = (new_name() for _ in range(3))
    before = await _set(backend, lasting)
    await _set(backend, between)
    until = soon()
    try:
        await set_status(backend, lasting, "Back soon", until=until)
        await set_status(backend, passing, "Back soon", until=until)
    except BackendError:
        raise SkippedClauseError from None
    if before.since is not None:
        seen = [user for user in _users(await _recent(backend, 10)) if user in (lasting, between, passing)]
        require(seen == [passing, lasting, between], f"before the end, get_recent returned {seen}")
    await wait_for_the_calendar(until)
    infos = await _all(backend)
    seen = [info.user for info in infos if info.user in (lasting, between, passing)]
    if (await ask(backend, lasting)) is None:
        require(lasting not in seen, f"after {until}, get_recent returned {seen}, and get_user nothing")
    elif before.since is not None:
        require(seen == [between, lasting], f"after {until}, get_recent returned {seen} of these")
        info = next(info for info in infos if info.user == lasting)
        require(info == before, f"after {until}, get_recent returned {info!r} instead of {before!r}")


@chapter.clause(ListsRecent, SetsStatus)
async def recent_agrees_after_a_cancelled_set(_subject: Subject, backend: _SettingRecent) -> None:
    """A status whose set_user was cancelled at any checkpoint is in get_recent exactly if get_user returns it."""
    user = new_name()

    async def afterwards(_attempt: Attempt) -> None:
        nonlocal user
        answered = await ask(backend, user)
        found = [info for info in await _recent(backend, _PAGE) if info.user == user]
        right = [] if answered is None else [answered]
        require(found == right, f"after a cancelled set_user, get_user returned {answered!r}, get_recent {found!r}")
        user = new_name()

    await cancel_everywhere(lambda: set_status(backend, user, "New here"), afterwards)


@chapter.clause(ListsRecent)
async def recent_can_be_cancelled(subject: Subject, backend: _Recent) -> None:
    """get_recent, cancelled at any checkpoint, raises Cancelled or returns, and the backend answers as before."""
    people = await subject.people(backend)
    right = await _all(backend)

    async def afterwards(_attempt: Attempt) -> None:
        seen = await _recent(backend, len(right) + 1)
        require(seen == right, f"get_recent returned {_users(seen)} instead of {_users(right)}")
        for user, status in people.items():
            info = await ask(backend, user)
            require(info is not None and info.status == status, f"get_user({user!r}) returned {info!r}")

    await cancel_everywhere(lambda: _recent(backend, 10), afterwards)


async def _set(backend: SetsStatus, user: str) -> UserInfo:
    """Set a status in a millisecond of its own."""
    await wait_for_the_calendar(datetime.now(UTC) + timedelta(milliseconds=2))
    return await set_status(backend, user, f"This is {user}")


async def _all(backend: ListsRecent) -> list[UserInfo]:
    """All of them, page by page."""
    infos: list[UserInfo] = []
    before = None
    while True:
        page = await _recent(backend, _PAGE, before)
        infos += page
        if len(page) < _PAGE:
            return infos
        before = Recency.of(page[-1])
        await trio.lowlevel.checkpoint()


async def _recent(backend: ListsRecent, limit: int, before: Recency | None = None) -> list[UserInfo]:
    """The result of get_recent, validated."""
    found: Any = await backend.get_recent(limit, before)
    require(isinstance(found, Sequence) and not isinstance(found, str), f"get_recent returned {found!r}")
    for info in found:
        require(isinstance(info, UserInfo), f"get_recent returned {info!r}, which is not a UserInfo")
        check_form(info, info.user, "get_recent")
        require(info.status, f"get_recent returned {info.user!r} with an empty status")
    require(len(found) <= limit, f"get_recent, limit={limit}, returned {len(found)} statuses")
    places = [Recency.of(info) for info in found]
    wrong = [place for last, place in zip([before, *places], places, strict=False) if last and not last < place]
    require(not wrong, f"get_recent, before={before}, returned {wrong[:1]} out of order, of {_users(found)}")
    return list(found)


def _users(infos: Sequence[UserInfo]) -> list[str]:
    return [info.user for info in infos]


def _twice(users: Sequence[str]) -> list[str]:
    return sorted({user for user in users if users.count(user) > 1})
