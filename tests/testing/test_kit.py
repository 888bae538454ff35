from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fingertrio.backend import UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.testing import CLAUSES, Clause, FakeReader, check_backend
from fingertrio.testing.kit import Attempt, BrokenClauseError, Chapter, Subject, cancel_everywhere

Open = Callable[[], AbstractAsyncContextManager[Any]]

KNOWN = {"moshez": "Happy and well"}


async def test_only_what_the_backend_can_do_is_checked(opening: Callable[[type], Open]) -> None:
    names = await check_backend(opening(FakeReader), known={"moshez": "Happy and well", "alice": "In the garden"})
    assert "known_users_are_answered" in names
    assert "nothing_is_left" in names
    assert not {"the_list_is_of_the_users", "what_is_set_is_answered", "a_set_is_told"} & set(names)


async def test_a_backend_that_cannot_set_needs_known_users(opening: Callable[[type], Open]) -> None:
    with pytest.raises(ValueError, match="known"):
        await check_backend(opening(FakeReader))


async def test_a_backend_that_can_set_needs_none() -> None:
    @asynccontextmanager
    async def open_empty() -> AsyncIterator[MemoryBackend]:
        backend = MemoryBackend({})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.run)
            yield backend
            nursery.cancel_scope.cancel()

    names = await check_backend(open_empty)
    assert set(names) == {
        clause.name
        for clause in CLAUSES
        if clause.name not in {"what_others_change_is_told", "at_once_is_new_when_others_change", "staleness_is_a_time"}
        and not clause.name.startswith("history_")
    }


async def test_the_first_broken_clause_is_told_with_its_cause(opening: Callable[[type], Open]) -> None:
    class Fails(MemoryBackend):
        async def get_user(self, user: str) -> UserInfo | None:
            raise LookupError(f"no row for {user}")

    with pytest.raises(AssertionError) as caught:
        await check_backend(opening(Fails), known=KNOWN)
    assert str(caught.value) == (
        "known_users_are_answered: get_user of a known user returns a UserInfo with that login name, a status, aware "
        "times, and no past `until`.\nwhat was seen: LookupError: no row for moshez"
    )
    assert isinstance(caught.value.__cause__, LookupError)


async def test_a_backend_whose_nursery_wraps_what_failed_is_told_of_the_same_way() -> None:
    @asynccontextmanager
    async def open_in_nursery() -> AsyncIterator[MemoryBackend]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield MemoryBackend({"moshez": "Sad"})
            nursery.cancel_scope.cancel()

    with pytest.raises(AssertionError, match="returned 'Sad' instead of 'Happy and well'"):
        await check_backend(open_in_nursery, known=KNOWN)


async def test_a_context_that_swallows_does_not_hide_what_failed() -> None:
    @asynccontextmanager
    async def swallow() -> AsyncIterator[MemoryBackend]:
        with suppress(Exception):
            yield MemoryBackend({"moshez": "Sad"})

    with pytest.raises(AssertionError, match=r"known_users_are_answered(.|\n)*swallowed"):
        await check_backend(swallow, known=KNOWN)


async def test_a_hanging_backend_is_told_of(opening: Callable[[type], Open], autojump_clock: MockClock) -> None:
    class Hangs(MemoryBackend):
        async def get_user(self, user: str) -> UserInfo | None:
            await trio.sleep_forever()

    with pytest.raises(AssertionError, match="did not end within 3 seconds"):
        await check_backend(opening(Hangs), known=KNOWN, seconds=3)


async def test_long_statuses_are_cut_in_messages(opening: Callable[[type], Open]) -> None:
    class Long(MemoryBackend):
        async def get_user(self, user: str) -> UserInfo | None:
            return UserInfo(user, "x" * 10_000)

    with pytest.raises(AssertionError) as caught:
        await check_backend(opening(Long), known=KNOWN)
    assert len(str(caught.value)) < 500


async def test_cancel_everywhere_cancels_at_each_step_until_the_call_ends_first() -> None:
    reached: list[int] = []
    attempts: list[Attempt] = []

    async def operation() -> None:
        reached.append(0)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            reached[-1] += 1

    async def afterwards(attempt: Attempt) -> None:
        attempts.append(attempt)

    await cancel_everywhere(operation, afterwards)
    assert reached == [0, 1, 2, 3]
    assert [attempt.cancelled for attempt in attempts] == [True, True, True, False]
    assert [attempt.returned for attempt in attempts] == [False, False, False, True]


async def test_cancel_everywhere_ends_for_a_call_that_always_goes_on() -> None:
    attempts: list[Attempt] = []

    async def operation() -> None:
        for _ in range(1000):
            await trio.lowlevel.checkpoint()

    async def afterwards(attempt: Attempt) -> None:
        attempts.append(attempt)

    await cancel_everywhere(operation, afterwards)
    assert len(attempts) == 100


async def test_a_chapter_keeps_its_clauses_in_order(opening: Callable[[type], Open]) -> None:
    chapter = Chapter()

    @chapter.clause()
    async def first(_subject: Subject, _backend: object) -> None:
        """The first sentence.

        And what only the code's reader needs.
        """

    @chapter.lifetime_clause
    async def second(_subject: Subject) -> bool:
        """The second sentence."""
        raise BrokenClauseError("something else")

    assert [str(clause) for clause in chapter.clauses] == ["first", "second"]
    assert [clause.sentence for clause in chapter.clauses] == ["The first sentence.", "The second sentence."]
    with pytest.raises(AssertionError, match=r"second: The second sentence.\nwhat was seen: something else"):
        await check_backend(opening(FakeReader), known=KNOWN, clauses=chapter.clauses)


@pytest.mark.parametrize("clause", CLAUSES, ids=str)
def test_each_clause_is_a_sentence_with_a_name_of_its_own(clause: Clause) -> None:
    assert clause.sentence.endswith(".")
    assert "\n" not in clause.sentence
    assert [other.name for other in CLAUSES].count(clause.name) == 1
