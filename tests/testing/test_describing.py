from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
import trio

from fingertrio.backend import UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.testing import check_backend, describing

Open = Callable[[], AbstractAsyncContextManager[Any]]


class Merges(MemoryBackend):
    async def set_details(self, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
        _, kept = self._profiles.get(user, (None, {}))
        return await super().set_details(user, name, {**kept, **details})


class ChangesTheTime(MemoryBackend):
    async def set_details(self, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
        await super().set_details(user, name, details)
        if (info := await self.get_user(user)) is None:
            return None
        return await self.set_user(user, info.status)


class ReturnsTheOld(MemoryBackend):
    async def set_details(self, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
        before = await self.get_user(user)
        await super().set_details(user, name, details)
        return before


class ForgetsAtTheNextStatus(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        self._profiles.pop(user, None)
        return await super().set_user(user, status, until=until)


class MakesUsers(MemoryBackend):
    async def set_details(self, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
        await super().set_details(user, name, details)
        self._lasting.setdefault(user, UserInfo(user, "", name))
        return await self.get_user(user)


class ForgetsStrangers(MemoryBackend):
    async def set_details(self, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
        return None if await self.get_user(user) is None else await super().set_details(user, name, details)


class DescribesEveryUser(MemoryBackend):
    async def set_details(self, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
        info = await super().set_details(user, name, details)
        for other, known in self._lasting.items():
            self._lasting[other] = replace(known, name=name)
        return info


class IsSilent(MemoryBackend):
    async def set_details(self, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
        self._profiles[user] = (name, details)
        return await self.get_user(user)


class TakesTwoSteps(MemoryBackend):
    async def set_details(self, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
        _, kept = self._profiles.get(user, (None, {}))
        await super().set_details(user, name, kept)
        await trio.lowlevel.checkpoint()
        return await super().set_details(user, name, details)


BROKEN: list[tuple[str, type, str]] = [
    ("details_come_back_as_they_were", Merges, "after set_details, get_user returned (None, [('project'"),
    ("details_come_back_as_they_were", ChangesTheTime, "changed the status or its time"),
    ("details_come_back_as_they_were", ReturnsTheOld, "then get_user returned"),
    ("details_outlast_statuses", ForgetsAtTheNextStatus, "returned with (None, {})"),
    ("details_wait_for_the_first_status", MakesUsers, "of a user without a status returned UserInfo"),
    ("details_wait_for_the_first_status", ForgetsStrangers, "the first status after set_details was returned with"),
    ("details_are_of_one_user", DescribesEveryUser, "after set_details of another user"),
    ("details_are_a_change", IsSilent, "changes() returned nothing"),
    ("a_cancelled_description_is_whole_or_nothing", TakesTwoSteps, "after set_details was cancelled"),
]


@pytest.mark.parametrize(("clause", "broken", "seen"), BROKEN)
def test_the_kit_notices(notice: Callable[..., str], clause: str, broken: type, seen: str) -> None:
    assert seen in notice(clause, broken)


def test_every_clause_has_a_backend_that_breaks_it() -> None:
    assert {clause for clause, _, _ in BROKEN} == {clause.name for clause in describing.chapter.clauses}


async def test_what_is_right_holds(opening: Callable[[type], Open]) -> None:
    names = await check_backend(opening(MemoryBackend), clauses=describing.chapter.clauses)
    assert names == [clause.name for clause in describing.chapter.clauses]
