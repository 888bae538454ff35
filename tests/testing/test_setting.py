from __future__ import annotations

import unicodedata
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


class ForgetsToHide(MemoryBackend):
    """Expires, and answers a status without its `until` from then on."""

    async def get_user(self, user: str) -> UserInfo | None:
        if user in self._passing:
            until, info = self._passing[user]
            return info if until > datetime.now(UTC) else UserInfo(user, info.status)
        return await super().get_user(user)


class ExpiresAtOnce(MemoryBackend):
    async def get_user(self, user: str) -> UserInfo | None:
        return self._lasting.get(user)


class ListsTheExpired(MemoryBackend):
    async def get_users(self) -> Sequence[str]:
        return [*self._lasting, *(user for user in self._passing if user not in self._lasting)]


BROKEN: list[tuple[str, type]] = [
    ("what_is_set_is_answered", SetsNothing),
    ("what_is_set_is_answered", UpdatesOnly),
    ("what_is_set_is_answered", ListsOnlyTheFirst),
    ("setting_returns_the_answer", ForgetsSince),
    ("since_is_when_it_was_set", TakesLocalTimeForUtc),
    ("statuses_come_back_as_they_were", Normalizes),
    ("statuses_come_back_as_they_were", Strips),
    ("statuses_come_back_as_they_were", Truncates),
    ("statuses_come_back_as_they_were", LatinOnly),
    ("the_last_set_wins", KeepsTheFirst),
    ("a_set_touches_nobody_else", SetsOthersToo),
    ("sets_at_once_are_all_kept", LosesUpdates),
    ("a_cancelled_set_is_whole_or_nothing", DeletesFirst),
    ("a_cancelled_set_is_whole_or_nothing", ClaimsToHaveSet),
    ("a_cancelled_set_is_whole_or_nothing", TurnsCancelledIntoError),
    ("a_cancelled_set_is_whole_or_nothing", KeepsItsLock),
    ("a_cancelled_set_is_whole_or_nothing", WritesLate),
    ("a_cancelled_new_user_is_whole_or_nobody", ListsFirst),
    ("a_cancelled_new_user_is_whole_or_nobody", ClaimsToHaveSet),
    ("what_has_passed_is_not_answered", IgnoresUntil),
    ("what_has_passed_is_not_answered", NeverExpires),
    ("until_ends_a_status", IgnoresUntil),
    ("until_ends_a_status", NeverExpires),
    ("until_ends_a_status", ForgetsToHide),
    ("until_ends_a_status", ExpiresAtOnce),
    ("until_ends_a_status", ListsTheExpired),
]


@pytest.mark.parametrize(("clause", "broken"), BROKEN)
def test_the_kit_notices(notice: Callable[..., str], clause: str, broken: type) -> None:
    notice(clause, broken)


def test_every_clause_has_a_backend_that_breaks_it() -> None:
    assert {clause for clause, _ in BROKEN} == {clause.name for clause in setting.chapter.clauses}
