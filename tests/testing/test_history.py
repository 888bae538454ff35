from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import trio

from fingertrio.backend import BackendError, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.testing import check_backend, history

Open = Callable[[], AbstractAsyncContextManager[Any]]


class Historian(MemoryBackend):
    """The right one; what follows breaks it."""

    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.past: list[UserInfo] = []

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        info = await super().set_user(user, status, until=until)
        self.past.insert(0, info)
        return info

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        await trio.lowlevel.checkpoint()
        return [
            info for info in self.past if info.user == user and (before is None or (info.since and info.since < before))
        ][:limit]


class OldestFirst(Historian):
    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        return list(reversed(await super().get_history(user, limit, before)))


class WithoutThePresent(Historian):
    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        return (await super().get_history(user, limit + 1, before))[1:]


class WithoutTimes(Historian):
    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        return [UserInfo(info.user, info.status) for info in await super().get_history(user, limit, before)]


class WithNaiveTimes(Historian):
    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        return [
            replace(info, since=info.since and info.since.replace(tzinfo=None))
            for info in await super().get_history(user, limit, before)
        ]


class Unlimited(Historian):
    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        return await super().get_history(user, limit + 1, before)


class LimitedFromTheOldest(Historian):
    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        return (await super().get_history(user, 1000, before))[-limit:]


class IgnoresBefore(Historian):
    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        return await super().get_history(user, limit)


class CountsBeforeFiltering(Historian):
    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        infos = await super().get_history(user, limit)
        return [info for info in infos if before is None or (info.since and info.since < before)]


class Everybodys(Historian):
    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        return [UserInfo(user, info.status, since=info.since) for info in self.past][:limit]


class LosesOthers(Historian):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        past = list(self.past)
        info = await super().set_user(user, status, until=until)
        self.past = [info, *past]
        return info


class RemembersWhatItDidNotSet(Historian):
    """Of simultaneous sets the first wins, but the others are in the history too."""

    busy = False

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        if self.busy:
            self.past.insert(0, UserInfo(user, status, since=datetime.now(UTC)))
            return self.past[0]
        self.busy = True
        info = self._lasting[user] = UserInfo(user, status, since=datetime.now(UTC))
        self.past.insert(0, info)
        await trio.lowlevel.checkpoint()
        self.busy = False
        return info


class ForgetsWhatEnded(Historian):
    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        now = datetime.now(UTC)
        return [info for info in await super().get_history(user, limit, before) if not info.until or info.until > now]


class ForgetsWhenItEnded(Historian):
    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        return [replace(info, until=None) for info in await super().get_history(user, limit, before)]


class RemembersFirst(Historian):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        self.past.insert(0, UserInfo(user, status, since=datetime.now(UTC), until=until))
        return await MemoryBackend.set_user(self, user, status, until=until)


class RemembersLater(Historian):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        info = await MemoryBackend.set_user(self, user, status, until=until)
        await trio.lowlevel.checkpoint()
        self.past.insert(0, info)
        return info


class KeepsItsLock(Historian):
    busy = False

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        if self.busy:
            raise BackendError("database is locked")
        self.busy = True
        infos = await super().get_history(user, limit, before)
        self.busy = False
        return infos


BROKEN: list[tuple[str, type, str]] = [
    ("history_is_newest_first", OldestFirst, "get_history returned statuses of ['"),
    ("history_is_newest_first", WithoutThePresent, "returned ['three', 'two', 'one']"),
    ("history_is_newest_first", WithoutTimes, "returned 'four' without its `since`"),
    ("history_is_newest_first", WithNaiveTimes, "is not an aware datetime"),
    ("history_has_a_limit", Unlimited, "limit=1, returned ['four', 'three']"),
    ("history_has_a_limit", LimitedFromTheOldest, "limit=1, returned ['one']"),
    ("history_goes_back", IgnoresBefore, "returned ['four', 'three'] instead of ['three', 'two']"),
    ("history_goes_back", CountsBeforeFiltering, "returned ['three'] instead of ['three', 'two']"),
    ("history_is_of_one_user", Everybodys, "get_history of an unknown user returned ['four'"),
    ("history_has_what_was_set_at_once", LosesOthers, "after 10 were set at once, it returned ['Status"),
    ("history_has_what_was_set_at_once", RemembersWhatItDidNotSet, "instead of 'Status"),
    ("history_keeps_what_ended", ForgetsWhatEnded, "get_history returned []"),
    ("history_keeps_what_ended", ForgetsWhenItEnded, "[('Back soon', None)]"),
    (
        "history_agrees_after_a_cancelled_set",
        RemembersFirst,
        "returned 'Status 0' and get_history ['Status 0, cancelled'",
    ),
    ("history_agrees_after_a_cancelled_set", RemembersLater, ", cancelled' and get_history ['Status 0'],"),
    ("history_can_be_cancelled", KeepsItsLock, "BackendError: database is locked"),
]


@pytest.mark.parametrize(("clause", "broken", "seen"), BROKEN)
def test_the_kit_notices(notice: Callable[..., str], clause: str, broken: type, seen: str) -> None:
    assert seen in notice(clause, broken)


def test_every_clause_has_a_backend_that_breaks_it() -> None:
    assert {clause for clause, _, _ in BROKEN} == {clause.name for clause in history.chapter.clauses}


async def test_what_is_right_holds(opening: Callable[[type], Open]) -> None:
    names = await check_backend(opening(Historian), clauses=history.chapter.clauses)
    assert names == [clause.name for clause in history.chapter.clauses]
