from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fingertrio.backend import BackendError
from fingertrio.backends.sqlite.lane import BATCH, Lane


class Work:
    """Doubles numbers, in a thread that can be held; negative ones fail."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self._begun = threading.Semaphore(0)

    async def begun(self) -> None:
        """Wait until a batch has come to the thread, once for each batch."""
        assert await trio.to_thread.run_sync(self._begun.acquire, True, 5)

    def __call__(self, numbers: Sequence[int]) -> list[int | BackendError]:
        self.batches.append(list(numbers))
        self._begun.release()
        assert self.may_go.wait(5)
        return [BackendError(f"no {number}") if number < 0 else 2 * number for number in numbers]


@asynccontextmanager
async def running(lane: Lane[Any, Any]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lane.run)
        yield
        nursery.cancel_scope.cancel()


async def test_what_waits_while_the_thread_is_at_work_is_taken_together_and_in_order() -> None:
    work = Work()
    lane: Lane[int, int] = Lane("test", work)
    answers: dict[int, int] = {}

    async def ask(number: int) -> None:
        answers[number] = await lane.ask(number)

    async with running(lane):
        work.may_go.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, 0)
            await work.begun()
            for number in range(1, BATCH + 3):
                nursery.start_soon(ask, number)
                await wait_all_tasks_blocked()
            work.may_go.set()
    assert [len(batch) for batch in work.batches] == [1, BATCH, 2]
    assert [number for batch in work.batches for number in batch] == list(range(BATCH + 3))
    assert answers == {number: 2 * number for number in range(BATCH + 3)}


async def test_those_who_ask_in_the_same_rounds_of_the_loop_share_a_batch() -> None:
    work = Work()
    lane: Lane[int, int] = Lane("test", work)

    async def ask(number: int) -> None:
        for _ in range(number % 3):
            await trio.lowlevel.checkpoint()
        assert await lane.ask(number) == 2 * number

    async with running(lane):
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(ask, number)
        assert [len(batch) for batch in work.batches] == [30]


async def test_who_keep_coming_do_not_keep_the_first_from_being_answered() -> None:
    work = Work()
    lane: Lane[int, int] = Lane("test", work)
    answered = trio.Event()

    async def ask_first() -> None:
        await lane.ask(0)
        answered.set()

    async with running(lane), trio.open_nursery() as nursery:
        nursery.start_soon(ask_first)
        for number in range(1, 60):
            nursery.start_soon(lane.ask, number)
            await trio.lowlevel.checkpoint()
        await answered.wait()
    assert len(work.batches[0]) < 20


async def test_one_that_fails_fails_alone() -> None:
    work = Work()
    lane: Lane[int, int] = Lane("test", work)
    async with running(lane):
        for number in (1, -1, 2):
            if number < 0:
                with pytest.raises(BackendError, match="no -1"):
                    await lane.ask(number)
            else:
                assert await lane.ask(number) == 2 * number


async def test_who_goes_away_before_the_work_began_is_not_worked_for() -> None:
    work = Work()
    lane: Lane[int, int] = Lane("test", work, stays=True)
    async with running(lane):
        work.may_go.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lane.ask, 1)
            await work.begun()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as going:
                    going.start_soon(lane.ask, 2)
                    await wait_all_tasks_blocked()
                    scope.cancel()
            work.may_go.set()
        assert await lane.ask(3) == 6
    assert work.batches == [[1], [3]]


async def test_who_stays_gets_the_answer_although_cancelled_while_the_work_was_done() -> None:
    work = Work()
    settled: list[tuple[int, object]] = []
    lane: Lane[int, int] = Lane(
        "test", work, stays=True, settled=lambda number, answer: settled.append((number, answer))
    )
    async with running(lane):
        work.may_go.clear()
        answer = None
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    nonlocal answer
                    answer = await lane.ask(1)

                nursery.start_soon(ask)
                await work.begun()
                scope.cancel()
                work.may_go.set()
        assert answer == 2
        assert settled == [(1, 2)]


async def test_who_need_not_stay_goes_at_once_and_the_others_are_answered() -> None:
    work = Work()
    lane: Lane[int, int] = Lane("test", work)
    async with running(lane):
        work.may_go.clear()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lane.ask, 1)
                await work.begun()
                scope.cancel()
        assert scope.cancelled_caught
        assert work.batches == [[1]]
        work.may_go.set()
        assert await lane.ask(2) == 4


async def test_work_that_does_not_end_is_told_as_a_failure_and_what_it_did_after_all_is_settled() -> None:
    work = Work()
    settled: list[tuple[int, bool]] = []
    lane: Lane[int, int] = Lane(
        "test",
        work,
        settled=lambda number, answer: settled.append((number, isinstance(answer, int))),
        patience=0.05,
        stays=True,
    )
    async with running(lane):
        work.may_go.clear()
        with pytest.raises(BackendError, match="does not answer"):
            await lane.ask(1)
        assert settled == [(1, False)]
        work.may_go.set()
        assert await lane.ask(2) == 4
        assert settled == [(1, False), (1, True), (2, True)]


async def test_a_mistake_in_the_work_leaves_nobody_waiting() -> None:
    lane: Lane[int, int] = Lane("test", lambda numbers: [1 // number for number in numbers])
    async with running(lane):
        with pytest.raises(BackendError) as caught:
            await lane.ask(0)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert await lane.ask(1) == 1


async def test_a_lane_that_ended_finishes_what_it_does_and_refuses_the_rest() -> None:
    work = Work()
    lane: Lane[int, int] = Lane("test", work)
    outcomes: list[str] = []

    async def ask(number: int) -> None:
        try:
            outcomes.append(str(await lane.ask(number)))
        except BackendError as error:
            outcomes.append(error.public_message)

    async with trio.open_nursery() as nursery:
        async with running(lane):
            work.may_go.clear()
            nursery.start_soon(ask, 1)
            await work.begun()
            nursery.start_soon(ask, 2)
            await wait_all_tasks_blocked()
            trio.lowlevel.current_trio_token().run_sync_soon(work.may_go.set)
    assert sorted(outcomes) == ["2", "The database is closed"]
    with pytest.raises(BackendError, match="closed"):
        await lane.ask(3)
