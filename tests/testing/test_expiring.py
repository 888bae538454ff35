from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from fingertrio.backend import UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.testing import expiring


class IgnoresUntil(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        return await super().set_user(user, status)


class NeverExpires(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        info = self._lasting[user] = UserInfo(user, status, until=until)
        return info


class ListsTheExpired(MemoryBackend):
    async def get_users(self) -> Sequence[str]:
        return [*self._lasting, *(user for user in self._passing if user not in self._lasting)]


class ForgetsToHide(ListsTheExpired):
    """Expires, and answers a status without its `until` from then on."""

    async def get_user(self, user: str) -> UserInfo | None:
        if user in self._passing:
            until, info = self._passing[user]
            return info if until > datetime.now(UTC) else UserInfo(user, info.status)
        return await super().get_user(user)


class ExpiresAtOnce(MemoryBackend):
    async def get_user(self, user: str) -> UserInfo | None:
        return self._lasting.get(user)


class ExpiresTheUser(MemoryBackend):
    """Its timers end whatever the user has by then."""

    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.timers: dict[str, datetime] = {}

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        if until is not None:
            self.timers.setdefault(user, until)
        return await super().set_user(user, status, until=until)

    async def get_user(self, user: str) -> UserInfo | None:
        if user in self.timers and self.timers[user] <= datetime.now(UTC):
            return None
        return await super().get_user(user)


class KeepsTheFirstUntil(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        if until is not None and user in self._passing:
            return UserInfo(user, status, until=until)
        return await super().set_user(user, status, until=until)


BROKEN: list[tuple[str, type, str]] = [
    ("what_has_passed_is_not_answered", IgnoresUntil, "returned 'Gone already' instead of nothing"),
    ("what_has_passed_is_not_answered", NeverExpires, "a status that had expired at"),
    ("until_ends_a_status", IgnoresUntil, "set_user returned until=None instead of"),
    ("until_ends_a_status", NeverExpires, "a status that had expired at"),
    ("until_ends_a_status", ForgetsToHide, "status='Back soon'"),
    ("until_ends_a_status", ExpiresAtOnce, "returned UserInfo(user='kit-"),
    ("until_ends_a_status", ListsTheExpired, "returned None; listed: True"),
    ("an_old_until_ends_nothing_else", ExpiresTheUser, "returned nothing instead of 'Back'"),
    ("an_old_until_ends_nothing_else", KeepsTheFirstUntil, "returned nothing instead of 'Back later'"),
]


@pytest.mark.parametrize(("clause", "broken", "seen"), BROKEN)
def test_the_kit_notices(notice: Callable[..., str], clause: str, broken: type, seen: str) -> None:
    assert seen in notice(clause, broken)


def test_every_clause_has_a_backend_that_breaks_it() -> None:
    assert {clause for clause, _, _ in BROKEN} == {clause.name for clause in expiring.chapter.clauses}
