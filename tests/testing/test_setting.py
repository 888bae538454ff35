from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
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
    """A cancelled call is still carried out, after the next one."""

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


class FoldsCase(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        info = await super().set_user(user.casefold(), status, until=until)
        return replace(info, user=user)

    async def get_user(self, user: str) -> UserInfo | None:
        info = await super().get_user(user.casefold())
        return info and replace(info, user=user)


class CutsNames(MemoryBackend):
    """As a column of 32 characters does."""

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        info = await super().set_user(user[:32], status, until=until)
        return replace(info, user=user)


class AsciiNames(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        user.encode("ascii")
        return await super().set_user(user, status, until=until)


class ListsInLowerCase(MemoryBackend):
    async def get_users(self) -> Sequence[str]:
        return list(dict.fromkeys(user.lower() for user in await super().get_users()))


class ClearsFirst(MemoryBackend):
    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        self._lasting[user] = UserInfo(user, "")
        return await super().set_user(user, status, until=until)


class AnswersFromTwoCopies(MemoryBackend):
    """Writes to one of them first, and is asked of each in turn."""

    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.copies = deque([dict(self._lasting), dict(self._lasting)])

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        info = UserInfo(user, status)
        for copy in tuple(self.copies):
            copy[user] = info
            for _ in range(10):
                await trio.lowlevel.checkpoint()
        self._lasting[user] = info
        return info

    async def get_user(self, user: str) -> UserInfo | None:
        await trio.lowlevel.checkpoint()
        self.copies.rotate()
        return self.copies[0].get(user)


class ListsWhoIsNotBeingSet(MemoryBackend):
    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.busy: set[str] = set()

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        self.busy.add(user)
        info = await super().set_user(user, status, until=until)
        self.busy.remove(user)
        return info

    async def get_users(self) -> Sequence[str]:
        return [user for user in await super().get_users() if user not in self.busy]


BROKEN: list[tuple[str, type, str]] = [
    ("what_is_set_is_answered", SetsNothing, "returned nothing instead of 'Happy and well'"),
    ("what_is_set_is_answered", UpdatesOnly, "returned nothing instead of 'Happy and well'"),
    ("what_is_set_is_answered", ListsOnlyTheFirst, "0 times"),
    ("what_is_set_is_answered", ReturnsSomebodyElse, "set_user('kit-"),
    ("setting_returns_the_answer", ForgetsSince, "then get_user returned UserInfo("),
    ("since_is_when_it_was_set", TakesLocalTimeForUtc, "set at"),
    ("statuses_come_back_as_they_were", Normalizes, "returned '\\xe9 is not \\xe9' instead of 'e\\u0301 is not \\xe9'"),
    ("statuses_come_back_as_they_were", Strips, "returned 'spaces around' instead of '  spaces around  '"),
    ("statuses_come_back_as_they_were", Truncates, "(1532 characters)"),
    ("statuses_come_back_as_they_were", LatinOnly, "returned 'e? is not"),
    ("names_are_kept_apart", FoldsCase, "instead of 'I am kit-"),
    ("names_are_kept_apart", CutsNames, "xxx') returned nothing instead of"),
    ("names_are_kept_apart", AsciiNames, "UnicodeEncodeError"),
    ("names_are_kept_apart", ListsInLowerCase, "get_users() did not give each of these once: ['KIT-"),
    ("the_last_set_wins", KeepsTheFirst, "returned 'one' instead of 'three'"),
    ("a_set_touches_nobody_else", SetsOthersToo, "get_user('moshez') returned 'In the garden' instead of"),
    ("sets_at_once_are_all_kept", LosesUpdates, "returned nothing instead of 'Status "),
    ("sets_at_once_are_all_kept", AnswersInTurn, "in a row"),
    ("a_set_is_never_seen_halfway", ClearsFirst, "returned '' after 'Status "),
    ("a_set_is_never_seen_halfway", AnswersFromTwoCopies, "returned 'Status 0' after 'Status 1'"),
    ("a_set_is_never_seen_halfway", ListsWhoIsNotBeingSet, "during a set"),
    ("a_cancelled_set_is_whole_or_nothing", DeletesFirst, "was cancelled, then get_user returned nothing"),
    ("a_cancelled_set_is_whole_or_nothing", ClaimsToHaveSet, "returned, then get_user returned 'Status 0'"),
    ("a_cancelled_set_is_whole_or_nothing", TurnsCancelledIntoError, "BackendError: Internal error in server"),
    ("a_cancelled_set_is_whole_or_nothing", KeepsItsLock, "BackendError: database is locked"),
    ("a_cancelled_set_is_whole_or_nothing", WritesLate, "returned 'Status 0, cancelled' instead of 'Status 1'"),
    ("a_cancelled_new_user_is_whole_or_nobody", ListsFirst, "returned nothing; listed: True"),
    ("a_cancelled_new_user_is_whole_or_nobody", ClaimsToHaveSet, "returned nothing after its first set_user"),
]


@pytest.mark.parametrize(("clause", "broken", "seen"), BROKEN)
def test_the_kit_notices(notice: Callable[..., str], clause: str, broken: type, seen: str) -> None:
    assert seen in notice(clause, broken)


def test_every_clause_has_a_backend_that_breaks_it() -> None:
    assert {clause for clause, _, _ in BROKEN} == {clause.name for clause in setting.chapter.clauses}
