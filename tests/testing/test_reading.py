from __future__ import annotations

from collections import Counter
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
    """Answers whatever a test says for a known user."""

    answer: Any = None

    async def get_user(self, user: str) -> UserInfo | None:
        info = await super().get_user(user)
        return info and self.answer


def answering(answer: object) -> type[Answers]:
    return type("Answering", (Answers,), {"answer": answer})


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


class TakesOthersAlong(MemoryBackend):
    """Single flight in which those who wait get whatever became of the first."""

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


BROKEN: list[tuple[str, type]] = [
    ("what_opens_is_a_backend", NoBackend),
    ("known_users_are_answered", answering(None)),
    ("known_users_are_answered", answering("Happy and well")),
    ("known_users_are_answered", answering(UserInfo("moshe", "Happy and well"))),
    ("known_users_are_answered", answering(UserInfo("moshez", "Happy and sad"))),
    ("known_users_are_answered", answering(UserInfo("moshez", b"Happy and well"))),  # type: ignore[arg-type]
    ("known_users_are_answered", answering(UserInfo("moshez", "Happy and well\n"))),
    ("known_users_are_answered", answering(UserInfo("moshez", "Happy\r\nand well"))),
    ("known_users_are_answered", answering(UserInfo("moshez", "Happy and well", name=7))),  # type: ignore[arg-type]
    ("known_users_are_answered", answering(UserInfo("moshez", "Happy and well", since=PAST.replace(tzinfo=None)))),
    ("known_users_are_answered", answering(UserInfo("moshez", "Happy and well", since=0))),  # type: ignore[arg-type]
    ("known_users_are_answered", answering(UserInfo("moshez", "Happy and well", until=PAST))),
    ("known_users_are_answered", answering(UserInfo("moshez", "Happy and well", details={"x": 1}))),  # type: ignore[dict-item]
    ("unknown_users_are_none", InBand),
    ("unknown_users_are_none", RaisesKeyError),
    ("unknown_users_are_none", AskedIsCreated),
    ("odd_names_are_names", AsciiOnly),
    ("odd_names_are_names", ByNumber),
    ("names_match_exactly", ByPrefix),
    ("names_match_exactly", ByPattern),
    ("the_list_is_of_the_users", ListsTwice),
    ("the_list_is_of_the_users", ListsNot),
    ("the_list_is_of_the_users", ListsGhosts),
    ("the_list_is_of_the_users", ListsBytes),
    ("the_list_is_of_the_users", ListsLines),
    ("the_list_is_of_the_users", ListsASet),
    ("questions_at_once_are_answered", SharesItsQuestion),
    ("questions_at_once_are_answered", ListsOneAtATime),
    ("a_cancelled_question_harms_nothing", KeepsItsLock),
    ("a_cancelled_question_harms_nothing", TurnsCancelledIntoNone),
    ("a_cancelled_question_harms_no_other", TakesOthersAlong),
    ("a_cancelled_list_harms_nothing", KeepsItsLock),
]


@pytest.mark.parametrize(("clause", "broken"), BROKEN)
def test_the_kit_notices(notice: Callable[..., str], clause: str, broken: type) -> None:
    notice(clause, broken)


def test_every_clause_has_a_backend_that_breaks_it() -> None:
    assert Counter(clause for clause, _ in BROKEN).keys() == {clause.name for clause in reading.chapter.clauses}


def test_the_message_says_what_was_seen(notice: Callable[..., str]) -> None:
    assert notice("unknown_users_are_none", RaisesKeyError).startswith("KeyError: 'kit-")
    assert notice("known_users_are_answered", BROKEN[4][1]) == (
        "get_user('moshez') gave 'Happy and sad' instead of 'Happy and well'"
    )
    assert notice("the_list_is_of_the_users", ListsGhosts) == (
        "get_users() gave 'ghost', of whom get_user knows nothing"
    )
    assert notice("a_cancelled_list_harms_nothing", KeepsItsLock) == "no end of it within 1 seconds"
