from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fingertrio.backend import Recency, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.testing import check_backend, recent

Open = Callable[[], AbstractAsyncContextManager[Any]]


class LeavesOut(MemoryBackend):
    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        return [info for info in await super().get_recent(limit + 1, before) if info.user != "alice"][:limit]


class ForgetsNames(MemoryBackend):
    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        return [replace(info, name="?") for info in await super().get_recent(limit, before)]


class ShowsUnlisted(MemoryBackend):
    async def get_users(self) -> Sequence[str]:
        return [user for user in await super().get_users() if user != "alice"]


class OldestFirst(MemoryBackend):
    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        return (await super().get_recent(limit, before))[::-1]


class LimitedFromTheEnd(MemoryBackend):
    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        return (await super().get_recent(1000, before))[-limit:]


class CountsFromTime(MemoryBackend):
    """Pages by the time alone: of equal times, all but those of the first page are lost."""

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        infos = await super().get_recent(1000)
        return [info for info in infos if before is None or info.since != before.since][:limit]


class IncludesThePlace(MemoryBackend):
    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        return [info for info in await super().get_recent(1000) if before is None or not Recency.of(info) < before][
            :limit
        ]


class NeedsTheStatus(MemoryBackend):
    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        infos = await super().get_recent(1000)
        places = [Recency.of(info) for info in infos]
        start = 0 if before is None else places.index(before) + 1 if before in places else len(places)
        return infos[start : start + limit]


class KeepsThePlace(MemoryBackend):
    """A second status does not move its user."""

    def _place(self, user: str) -> None:
        if user not in self._order:
            super()._place(user)


class ShowsTheCleared(MemoryBackend):
    async def clear_user(self, user: str) -> UserInfo | None:
        info = await self.get_user(user)
        await super().clear_user(user)
        return info

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        cleared = [info for info in self._lasting.values() if not info.status] if before is None else []
        return [*cleared, *await super().get_recent(limit, before)][:limit]


class KeepsTheEnded(MemoryBackend):
    """A status that has ended stays until something else changes its user."""

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        self._places_until = None
        return await super().get_recent(limit, before)


class PlacesBeforeItSets(MemoryBackend):
    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.begun: dict[str, UserInfo] = {}

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        self.begun[user] = UserInfo(user, status, since=datetime.now(UTC))
        info = await super().set_user(user, status, until=until)
        del self.begun[user]
        return info

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        return [*self.begun.values(), *await super().get_recent(limit, before)][:limit]


class LosesItsPlace(MemoryBackend):
    at_work = False

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        if self.at_work:
            return []
        self.at_work = True
        infos = await super().get_recent(limit, before)
        self.at_work = False
        return infos


BROKEN: list[tuple[str, type, str]] = [
    ("recent_statuses_are_those_of_the_users", LeavesOut, "without ['alice']"),
    ("recent_statuses_are_those_of_the_users", ForgetsNames, "get_user UserInfo"),
    ("recent_statuses_are_those_of_the_users", ShowsUnlisted, "['alice'], who are not in get_users()"),
    ("recent_statuses_are_those_of_the_users", OldestFirst, "out of order"),
    ("recent_statuses_have_a_limit", LimitedFromTheEnd, "limit=1, returned ['moshez'] instead of ['alice']"),
    ("recent_statuses_are_paged_exactly", CountsFromTime, "after 'alice', returned [] instead of ['moshez']"),
    ("recent_statuses_are_paged_exactly", IncludesThePlace, "out of order"),
    ("recent_places_need_no_status", NeedsTheStatus, "after the place of a replaced status, get_recent returned []"),
    ("recent_statuses_are_newest_first", KeepsThePlace, "was set, get_recent, limit=1, returned ['kit-"),
    ("cleared_statuses_are_not_recent", ShowsTheCleared, "with an empty status"),
    ("ended_statuses_are_not_recent", KeepsTheEnded, "out of order"),
    ("recent_agrees_after_a_cancelled_set", PlacesBeforeItSets, "after a cancelled set_user, get_user returned"),
    ("recent_can_be_cancelled", LosesItsPlace, "instead of ['alice', 'moshez']"),
]


@pytest.mark.parametrize(("clause", "broken", "seen"), BROKEN)
def test_the_kit_notices(notice: Callable[..., str], clause: str, broken: type, seen: str) -> None:
    assert seen in notice(clause, broken)


def test_every_clause_has_a_backend_that_breaks_it() -> None:
    assert {clause for clause, _, _ in BROKEN} == {clause.name for clause in recent.chapter.clauses}


async def test_what_is_right_holds(opening: Callable[[type], Open]) -> None:
    names = await check_backend(opening(MemoryBackend), clauses=recent.chapter.clauses)
    assert names == [clause.name for clause in recent.chapter.clauses]
