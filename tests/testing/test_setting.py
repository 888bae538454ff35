from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
import trio

from fingertrio.backend import BackendError, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.testing import setting


class SetsNothing(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        return UserInfo(user, status)


class UpdatesOnly(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        if user not in self._lasting:
            return UserInfo(user, status)
        return await super().set_user(user, status, until=until)


class ListsOnlyTheFirst(MemoryBackend):
    async def get_users(self) -> Sequence[str]:
        return (await super().get_users())[:2]


class ReturnsSomebodyElse(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        await super().set_user(user, status, until=until)
        return UserInfo("somebody", status)


class ForgetsSince(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        await super().set_user(user, status, until=until)
        return UserInfo(user, status)


class TakesLocalTimeForUtc(MemoryBackend):
    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users, now=lambda: datetime.now(UTC) + timedelta(hours=2))


class Normalizes(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        return await super().set_user(user, unicodedata.normalize("NFC", status), until=until)


class Strips(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        return await super().set_user(user, status.strip(), until=until)


class Truncates(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        return await super().set_user(user, status[:255], until=until)


class LatinOnly(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        return await super().set_user(user, status.encode("latin-1", "replace").decode("latin-1"), until=until)


class KeepsTheFirst(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        before = await self.get_user(user)
        return before or await super().set_user(user, status, until=until)


class SetsOthersToo(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        self._lasting = {other: UserInfo(other, status) for other in self._lasting}
        return await super().set_user(user, status, until=until)


class LosesUpdates(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        lasting = dict(self._lasting)
        info = await super().set_user(user, status, until=until)
        self._lasting = {**lasting, user: info}
        return info


class AnswersInTurn(MemoryBackend):
    """Several replicas, each with the status that reached it last."""

    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.replicas: dict[str, deque[UserInfo]] = {}

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        info = await super().set_user(user, status, until=until)
        self.replicas.setdefault(user, deque(maxlen=2)).append(info)
        return info

    async def get_user(self, user: str) -> UserInfo | None:
        if replicas := self.replicas.get(user):
            replicas.rotate()
            return replicas[0]
        return await super().get_user(user)


class DeletesFirst(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        self._lasting.pop(user, None)
        return await super().set_user(user, status, until=until)


class ClaimsToHaveSet(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        try:
            return await super().set_user(user, status, until=until)
        except trio.Cancelled:
            return UserInfo(user, status)


class TurnsCancelledIntoError(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        try:
            return await super().set_user(user, status, until=until)
        except BaseException as error:
            raise BackendError from error


class KeepsItsLock(MemoryBackend):
    busy = False

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        if self.busy:
            raise BackendError("database is locked")
        self.busy = True
        info = await super().set_user(user, status, until=until)
        self.busy = False
        return info


class WritesLate(MemoryBackend):
    """A cancelled call is carried out nevertheless, after the one that follows it."""

    late: tuple[str, str] | None = None

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        try:
            info = await super().set_user(user, status, until=until)
        except trio.Cancelled:
            self.late = (user, status)
            raise
        if self.late is not None:
            self._lasting[self.late[0]] = UserInfo(*self.late)
        return info


class ListsFirst(MemoryBackend):
    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.names = list(users)

    async def get_users(self) -> Sequence[str]:
        return self.names

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        if user not in self.names:
            self.names.append(user)
        return await super().set_user(user, status, until=until)


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


BROKEN: list[tuple[str, type, str]] = [
    ("what_is_set_is_answered", SetsNothing, "gave nothing instead of 'Happy and well'"),
    ("what_is_set_is_answered", UpdatesOnly, "gave nothing instead of 'Happy and well'"),
    ("what_is_set_is_answered", ListsOnlyTheFirst, "0 times"),
    ("what_is_set_is_answered", ReturnsSomebodyElse, "set_user('kit-"),
    ("setting_returns_the_answer", ForgetsSince, "then get_user gave UserInfo("),
    ("since_is_when_it_was_set", TakesLocalTimeForUtc, "set at"),
    ("statuses_come_back_as_they_were", Normalizes, "gave '\\xe9 is not \\xe9' instead of 'e\\u0301 is not \\xe9'"),
    ("statuses_come_back_as_they_were", Strips, "gave 'spaces around' instead of '  spaces around  '"),
    ("statuses_come_back_as_they_were", Truncates, "(1532 characters)"),
    ("statuses_come_back_as_they_were", LatinOnly, "gave 'e? is not"),
    ("the_last_set_wins", KeepsTheFirst, "gave 'one' instead of 'three'"),
    ("a_set_touches_nobody_else", SetsOthersToo, "get_user('moshez') gave 'In the garden' instead of"),
    ("sets_at_once_are_all_kept", LosesUpdates, "gave nothing instead of 'Status "),
    ("sets_at_once_are_all_kept", AnswersInTurn, "in a row"),
    ("a_cancelled_set_is_whole_or_nothing", DeletesFirst, "was cancelled, then get_user gave nothing"),
    ("a_cancelled_set_is_whole_or_nothing", ClaimsToHaveSet, "returned, then get_user gave 'Status 0'"),
    ("a_cancelled_set_is_whole_or_nothing", TurnsCancelledIntoError, "BackendError: Internal error in server"),
    ("a_cancelled_set_is_whole_or_nothing", KeepsItsLock, "BackendError: database is locked"),
    ("a_cancelled_set_is_whole_or_nothing", WritesLate, "gave 'Status 0, cancelled' instead of 'Status 1'"),
    ("a_cancelled_new_user_is_whole_or_nobody", ListsFirst, "gave nothing; listed: True"),
    ("a_cancelled_new_user_is_whole_or_nobody", ClaimsToHaveSet, "gave nothing after its first set_user"),
    ("what_has_passed_is_not_answered", IgnoresUntil, "gave 'Gone already' instead of nothing"),
    ("what_has_passed_is_not_answered", NeverExpires, "a status that held until"),
    ("until_ends_a_status", IgnoresUntil, "set_user returned until=None instead of"),
    ("until_ends_a_status", NeverExpires, "a status that held until"),
    ("until_ends_a_status", ForgetsToHide, "status='Back soon'"),
    ("until_ends_a_status", ExpiresAtOnce, "gave UserInfo(user='kit-"),
    ("until_ends_a_status", ListsTheExpired, "gave None; listed: True"),
]


@pytest.mark.parametrize(("clause", "broken", "seen"), BROKEN)
def test_the_kit_notices(notice: Callable[..., str], clause: str, broken: type, seen: str) -> None:
    assert seen in notice(clause, broken)


def test_every_clause_has_a_backend_that_breaks_it() -> None:
    assert {clause for clause, _, _ in BROKEN} == {clause.name for clause in setting.chapter.clauses}
