from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import pytest
import trio

from fingertrio.backend import UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.testing import reading

PAST = datetime.now(UTC) - timedelta(days=1)


class NoBackend:
    def __init__(self, users: object) -> None: ...


class Answers(MemoryBackend):
    """Answers whatever a test says for moshez."""

    answer: Any = None

    async def get_user(self, user: str) -> UserInfo | None:
        answer = await super().get_user(user)
        return self.answer if user == "moshez" else answer


class InBand(MemoryBackend):
    async def get_user(self, user: str) -> UserInfo | None:
        return await super().get_user(user) or UserInfo(user, "No such user")


class RaisesKeyError(MemoryBackend):
    async def get_user(self, user: str) -> UserInfo | None:
        return self._lasting[user]


class AskedIsCreated(MemoryBackend):
    async def get_user(self, user: str) -> UserInfo | None:
        info = await super().get_user(user)
        self._lasting.setdefault(user, UserInfo(user, ""))
        return info


class AsciiOnly(MemoryBackend):
    async def get_user(self, user: str) -> UserInfo | None:
        user.encode("ascii")
        return await super().get_user(user)


class ByNumber(MemoryBackend):
    async def get_user(self, user: str) -> UserInfo | None:
        if user.isdecimal() and int(user) < len(self._lasting):
            return UserInfo(user, list(self._lasting.values())[int(user)].status)
        return await super().get_user(user)


class ByPrefix(MemoryBackend):
    async def get_user(self, user: str) -> UserInfo | None:
        found = [info for name, info in self._lasting.items() if name.startswith(user)]
        return UserInfo(user, found[0].status) if found else None


class ByPattern(MemoryBackend):
    async def get_user(self, user: str) -> UserInfo | None:
        pattern = user.replace("_", "?")  # as LIKE of SQL has it
        found = [info for name, info in self._lasting.items() if fnmatchcase(name, pattern)]
        return UserInfo(user, found[0].status) if found else None


def ageing(since: object) -> type[MemoryBackend]:
    return type("Ageing", (MemoryBackend,), {"stale_since": lambda _self: since})


class ListsTwice(MemoryBackend):
    async def get_users(self) -> Sequence[str]:
        return [*await super().get_users(), "moshez"]


class ListsNot(MemoryBackend):
    async def get_users(self) -> Sequence[str]:
        return (await super().get_users())[1:]


class ListsGhosts(MemoryBackend):
    async def get_users(self) -> Sequence[str]:
        return [*await super().get_users(), "ghost"]


class ListsBytes(MemoryBackend):
    async def get_users(self) -> Sequence[Any]:
        return [user.encode() for user in await super().get_users()]


class ListsLines(MemoryBackend):
    async def get_users(self) -> Sequence[str]:
        return "\n".join(await super().get_users())


class ListsASet(MemoryBackend):
    async def get_users(self) -> Any:
        return set(await super().get_users())


class SharesItsQuestion(MemoryBackend):
    asked = ""

    async def get_user(self, user: str) -> UserInfo | None:
        self.asked = user
        await trio.lowlevel.checkpoint()
        info = await super().get_user(self.asked)
        return info and UserInfo(user, info.status)


class ListsOneAtATime(MemoryBackend):
    busy = False

    async def get_users(self) -> Sequence[str]:
        if self.busy:
            return []
        self.busy = True
        try:
            return await super().get_users()
        finally:
            self.busy = False


class KeepsItsLock(MemoryBackend):
    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.lock = trio.Semaphore(1)

    async def get_user(self, user: str) -> UserInfo | None:
        await self.lock.acquire()
        info = await super().get_user(user)
        self.lock.release()
        return info

    async def get_users(self) -> Sequence[str]:
        await self.lock.acquire()
        users = await super().get_users()
        self.lock.release()
        return users


class TurnsCancelledIntoNone(MemoryBackend):
    async def get_user(self, user: str) -> UserInfo | None:
        try:
            return await super().get_user(user)
        except trio.Cancelled:
            return None


class AnswersOutOfStep(MemoryBackend):
    """One connection for all: a cancelled query leaves its answer to the next one."""

    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.connection: deque[UserInfo | None] = deque()

    async def get_user(self, user: str) -> UserInfo | None:
        self.connection.append(self._lasting.get(user))
        await trio.lowlevel.checkpoint()
        return self.connection.popleft()


class ForgetsTheCancelled(MemoryBackend):
    async def get_user(self, user: str) -> UserInfo | None:
        info = self._lasting.pop(user, None)
        await trio.lowlevel.checkpoint()
        if info is not None:
            self._lasting[user] = info
        return info


class TakesOthersAlong(MemoryBackend):
    """Single flight in which the waiting queries get the outcome of the first, also its cancellation."""

    def __init__(self, users: dict[str, str]) -> None:
        super().__init__(users)
        self.flights: dict[str, tuple[trio.Event, list[UserInfo | None]]] = {}

    async def get_user(self, user: str) -> UserInfo | None:
        if user in self.flights:
            landed, outcome = self.flights[user]
            await landed.wait()
            return outcome[0] if outcome else None
        landed, outcome = self.flights[user] = trio.Event(), []
        try:
            outcome.append(await super().get_user(user))
            return outcome[0]
        finally:
            del self.flights[user]
            landed.set()


def answering(answer: object) -> type[Answers]:
    return type("Answering", (Answers,), {"answer": answer})


def info(status: Any = "Happy and well", *, user: str = "moshez", **attributes: Any) -> UserInfo:
    return UserInfo(user, status, **attributes)


BROKEN: list[tuple[str, type, str]] = [
    ("what_opens_is_a_backend", NoBackend, "it returned <"),
    ("known_users_are_answered", answering(None), "returned nothing instead of 'Happy and well'"),
    ("known_users_are_answered", answering("Happy and well"), "'Happy and well', which is not a UserInfo"),
    ("known_users_are_answered", answering(info(user="moshe")), "the UserInfo of 'moshe'"),
    ("known_users_are_answered", answering(info("Sad")), "returned 'Sad' instead of 'Happy and well'"),
    ("known_users_are_answered", answering(info(b"Happy and well")), "status b'Happy and well', which is not text"),
    ("known_users_are_answered", answering(info("Happy and well\n")), "ends in LF"),
    ("known_users_are_answered", answering(info("Happy\r\nand well")), "CR in it"),
    ("known_users_are_answered", answering(info(name=7)), "the name 7, which is not text"),
    ("known_users_are_answered", answering(info(since=PAST.replace(tzinfo=None))), "is not an aware datetime"),
    ("known_users_are_answered", answering(info(since=0)), "since=0, which is not an aware datetime"),
    ("known_users_are_answered", answering(info(until=PAST)), "a status that had expired at"),
    ("known_users_are_answered", answering(info(details={"x": 1})), "not a mapping of text to text"),
    ("known_users_are_answered", answering(info(details="x: 1")), "not a mapping of text to text"),
    ("unknown_users_are_none", InBand, "returned 'No such user' instead of nothing"),
    ("unknown_users_are_none", RaisesKeyError, "KeyError: 'kit-"),
    ("unknown_users_are_none", AskedIsCreated, "returned '' instead of nothing"),
    ("odd_names_are_names", AsciiOnly, "UnicodeEncodeError"),
    ("odd_names_are_names", ByNumber, "get_user('0') returned 'Happy and well' instead of nothing"),
    ("names_match_exactly", ByPrefix, "get_user('moshe') returned"),
    ("names_match_exactly", ByPattern, "get_user('moshe_') returned"),
    ("the_list_is_of_the_users", ListsTwice, "returned ['moshez'] more than once"),
    ("the_list_is_of_the_users", ListsNot, "and ['moshez'] not at all"),
    ("the_list_is_of_the_users", ListsGhosts, "returned 'ghost', but get_user does not know that user"),
    ("the_list_is_of_the_users", ListsBytes, "returned b'moshez' among the names"),
    ("the_list_is_of_the_users", ListsLines, "not a sequence"),
    ("the_list_is_of_the_users", ListsASet, "not a sequence"),
    ("staleness_is_a_time", ageing(PAST.replace(tzinfo=None)), "without a time zone"),
    ("staleness_is_a_time", ageing(12.5), "stale_since() was 12.5"),
    ("staleness_is_a_time", ageing(datetime.now(UTC) + timedelta(days=1)), "in the future"),
    ("questions_at_once_are_answered", SharesItsQuestion, " instead of "),
    ("questions_at_once_are_answered", ListsOneAtATime, "returned [] without ['alice', 'moshez']"),
    ("a_cancelled_question_harms_nothing", KeepsItsLock, "did not end within 1 seconds"),
    ("a_cancelled_question_harms_nothing", TurnsCancelledIntoNone, "returned nothing instead of 'Happy and well'"),
    ("a_cancelled_question_harms_nothing", AnswersOutOfStep, "returned the UserInfo of 'moshez'"),
    ("a_cancelled_question_harms_nothing", ForgetsTheCancelled, "returned nothing instead of 'Happy and well'"),
    ("a_cancelled_question_harms_no_other", TakesOthersAlong, "returned nothing instead of 'Happy and well'"),
    ("a_cancelled_list_harms_nothing", KeepsItsLock, "did not end within 1 seconds"),
]


@pytest.mark.parametrize(("clause", "broken", "seen"), BROKEN)
def test_the_kit_notices(notice: Callable[..., str], clause: str, broken: type, seen: str) -> None:
    assert seen in notice(clause, broken)


def test_every_clause_has_a_backend_that_breaks_it() -> None:
    assert {clause for clause, _, _ in BROKEN} == {clause.name for clause in reading.chapter.clauses}
