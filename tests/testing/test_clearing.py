from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

import pytest

from fingertrio.backend import BackendError, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.testing import check_backend, clearing

Open = Callable[[], AbstractAsyncContextManager[Any]]


class RemovesTheUser(MemoryBackend):
    async def clear_user(self, user: str) -> UserInfo | None:
        info = await super().clear_user(user)
        self._lasting.pop(user, None)
        return info


class ReturnsTheOldStatus(MemoryBackend):
    async def clear_user(self, user: str) -> UserInfo | None:
        before = await self.get_user(user)
        await super().clear_user(user)
        return before


class ClearsThePassingStatusOnly(MemoryBackend):
    async def clear_user(self, user: str) -> UserInfo | None:
        if user not in self._passing:
            return await super().clear_user(user)
        del self._passing[user]
        return await self.get_user(user)


class ClearsOnce(MemoryBackend):
    async def clear_user(self, user: str) -> UserInfo | None:
        info = await self.get_user(user)
        return None if info is not None and not info.status else await super().clear_user(user)


class StaysCleared(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        before = await self.get_user(user)
        cleared = before is not None and not before.status
        return await super().set_user(user, "" if cleared else status, until=until)


class MakesUsers(MemoryBackend):
    async def clear_user(self, user: str) -> UserInfo | None:
        if await self.get_user(user) is None:
            await self.set_user(user, "")
            return None
        return await super().clear_user(user)


BROKEN = [
    ("clearing_leaves_an_empty_status", RemovesTheUser, "after clear_user"),
    ("clearing_leaves_an_empty_status", ReturnsTheOldStatus, "clear_user returned"),
    ("clearing_reaches_what_lies_beneath", ClearsThePassingStatusOnly, "did not return an empty status"),
    ("a_cleared_status_can_be_set_again", ClearsOnce, "a second clear_user"),
    ("a_cleared_status_can_be_set_again", StaysCleared, "is not there"),
    ("clearing_a_missing_user_changes_nothing", MakesUsers, "clear_user made the user"),
]


@pytest.mark.parametrize(("clause", "broken", "seen"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_the_kit_notices(clause: str, broken: type, seen: str, notice: Callable[..., str]):
    assert seen in notice(clause, broken)


def test_each_clause_has_a_backend_that_breaks_it():
    assert {clause for clause, _, _ in BROKEN} == {clause.name for clause in clearing.chapter.clauses}


async def test_memory_keeps_the_chapter(opening: Callable[..., Open]):
    names = await check_backend(opening(MemoryBackend), clauses=clearing.chapter.clauses)
    assert names == [clause.name for clause in clearing.chapter.clauses]


class TakesNoEnds(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        if until is not None:
            raise BackendError("no ends here")
        return await super().set_user(user, status)


async def test_a_backend_without_ends_has_nothing_beneath(opening: Callable[..., Open]):
    names = await check_backend(opening(TakesNoEnds), clauses=clearing.chapter.clauses)
    assert {clause.name for clause in clearing.chapter.clauses} - set(names) == {"clearing_reaches_what_lies_beneath"}
