from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from fingertrio.backend import BackendError, Change, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.testing import at_once


class Waits(MemoryBackend):
    async def get_user_now(self, user: str) -> Any:  # type: ignore[override]  # the mistake that is noticed
        return await self.get_user(user)


class FailsInAnotherWay(MemoryBackend):
    def get_user_now(self, user: str) -> UserInfo | None:
        raise BackendError


class KnowsFewer(MemoryBackend):
    def get_user_now(self, user: str) -> UserInfo | None:
        return None if user == "alice" else super().get_user_now(user)


class LeavesOut(MemoryBackend):
    def get_user_now(self, user: str) -> UserInfo | None:
        info = super().get_user_now(user)
        return info and UserInfo(user, f"{info.status}\n")


class Keeps(MemoryBackend):
    """Answers at once from what `get_user` returned before."""

    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.kept: dict[str, UserInfo | None] = {}

    async def get_user(self, user: str) -> UserInfo | None:
        info = self.kept[user] = await super().get_user(user)
        return info

    def get_user_now(self, user: str) -> UserInfo | None:
        return self.kept[user]


class ForgetsItsOwn(Keeps):
    """Drops what it kept with each set of its own, and not with those of others."""

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        self.kept.pop(user, None)
        return await super().set_user(user, status, until=until)


BROKEN: list[tuple[str, type, str]] = [
    ("at_once_is_what_get_user_returns", Waits, "which is not a UserInfo"),
    ("at_once_is_what_get_user_returns", FailsInAnotherWay, "BackendError"),
    ("at_once_is_what_get_user_returns", KnowsFewer, "get_user_now('alice') returned None, and get_user UserInfo"),
    ("at_once_is_what_get_user_returns", LeavesOut, "ends in LF"),
    ("at_once_is_new_after_a_set", Keeps, "returned nothing instead of 'Happy and well'"),
    ("at_once_is_new_after_a_set", ForgetsItsOwn, "returned 'In the garden' instead of ''"),
    ("at_once_is_new_when_told", Keeps, "get_user_now returned nothing instead of 'Status 0'"),
    ("at_once_respects_until", ForgetsItsOwn, "returned 'Back soon' instead of nothing"),
]


@pytest.mark.parametrize(("clause", "broken", "seen"), BROKEN)
def test_the_kit_notices(notice: Callable[..., str], clause: str, broken: type, seen: str) -> None:
    assert seen in notice(clause, broken)


def test_the_kit_notices_what_others_change(notice: Callable[..., str], opening: Callable[..., Any]) -> None:
    opened: list[ForgetsItsOwn] = []

    def make(users: dict[str, str]) -> ForgetsItsOwn:
        opened.append(ForgetsItsOwn(users))
        return opened[-1]

    async def alter(user: str, status: str) -> None:
        opened[-1]._lasting[user] = UserInfo(user, status)
        opened[-1]._hub.emit(Change(user))

    seen = notice("at_once_is_new_when_others_change", open_backend=opening(make), alter=alter)
    assert "get_user_now returned nothing instead of 'Happy and well'" in seen


def test_every_clause_has_a_backend_that_breaks_it() -> None:
    names = {clause for clause, _, _ in BROKEN} | {"at_once_is_new_when_others_change"}
    assert names == {clause.name for clause in at_once.chapter.clauses}
