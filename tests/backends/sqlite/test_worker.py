from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fingertrio.backend import BackendError
from fingertrio.backends.sqlite.worker import BATCH, Worker


class Work:
    """Work that doubles numbers, in a thread that a test can hold; negative numbers fail."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self._begun = threading.Semaphore(0)

    async def begun(self) -> None:
        """Wait until the next batch has reached the thread."""
        assert await trio.to_thread.run_sync(self._begun.acquire, True, 5)

    def __call__(self, numbers: Sequence[int]) -> list[int | BackendError]:
        self.batches.append(list(numbers))
        self._begun.release()
        assert self.may_go.wait(5)
        return [BackendError(f"no {number}") if number < 0 else 2 * number for number in numbers]


@asynccontextmanager
async def running(worker: Worker[Any, Any]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        yield
        nursery.cancel_scope.cancel()


async def test_requests_that_wait_while_the_thread_works_form_batches_in_order() -> None:
    work = Work()
    worker: Worker[int, int] = Worker("test", work)
    answers: dict[int, int] = {}

    async def ask(number: int) -> None:
        answers[number] = await worker.ask(number)

    async with running(worker):
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


async def test_requests_of_the_same_rounds_of_the_loop_share_a_batch() -> None:
    work = Work()
    worker: Worker[int, int] = Worker("test", work)

    async def ask(number: int) -> None:
        for _ in range(number % 3):
            await trio.lowlevel.checkpoint()
        assert await worker.ask(number) == 2 * number

    async with running(worker):
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(ask, number)
        assert [len(batch) for batch in work.batches] == [30]


async def test_a_stream_of_requests_does_not_delay_the_first_answer() -> None:
    work = Work()
    worker: Worker[int, int] = Worker("test", work)
    answered = trio.Event()

    async def ask_first() -> None:
        await worker.ask(0)
        answered.set()

    async with running(worker), trio.open_nursery() as nursery:
        nursery.start_soon(ask_first)
        for number in range(1, 60):
            nursery.start_soon(worker.ask, number)
            await trio.lowlevel.checkpoint()
        await answered.wait()
    assert len(work.batches[0]) < 20


async def test_one_failure_is_the_failure_of_one_request() -> None:
    work = Work()
    worker: Worker[int, int] = Worker("test", work)
    async with running(worker):
        for number in (1, -1, 2):
            if number < 0:
                with pytest.raises(BackendError, match="no -1"):
                    await worker.ask(number)
            else:
                assert await worker.ask(number) == 2 * number


async def test_a_request_cancelled_before_its_batch_starts_is_never_worked_on() -> None:
    work = Work()
    worker: Worker[int, int] = Worker("test", work, wait_if_started=True)
    async with running(worker):
        work.may_go.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.ask, 1)
            await work.begun()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as going:
                    going.start_soon(worker.ask, 2)
                    await wait_all_tasks_blocked()
                    scope.cancel()
            work.may_go.set()
        assert await worker.ask(3) == 6
    assert work.batches == [[1], [3]]


async def test_with_wait_if_started_a_cancelled_task_still_gets_its_answer() -> None:
    work = Work()
    answered_with: list[tuple[int, object]] = []
    worker: Worker[int, int] = Worker(
        "test", work, wait_if_started=True, on_answer=lambda number, answer: answered_with.append((number, answer))
    )
    async with running(worker):
        work.may_go.clear()
        answer = None
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    nonlocal answer
                    answer = await worker.ask(1)

                nursery.start_soon(ask)
                await work.begun()
                scope.cancel()
                work.may_go.set()
        assert answer == 2
        assert answered_with == [(1, 2)]


async def test_without_it_a_cancelled_task_leaves_at_once_and_others_are_answered() -> None:
    work = Work()
    worker: Worker[int, int] = Worker("test", work)
    async with running(worker):
        work.may_go.clear()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(worker.ask, 1)
                await work.begun()
                scope.cancel()
        assert scope.cancelled_caught
        assert work.batches == [[1]]
        work.may_go.set()
        assert await worker.ask(2) == 4


async def test_work_that_takes_too_long_fails_and_a_late_answer_is_reported_too() -> None:
    work = Work()
    answered_with: list[tuple[int, bool]] = []
    worker: Worker[int, int] = Worker(
        "test",
        work,
        on_answer=lambda number, answer: answered_with.append((number, isinstance(answer, int))),
        patience=0.05,
        wait_if_started=True,
    )
    async with running(worker):
        work.may_go.clear()
        with pytest.raises(BackendError, match="does not answer"):
            await worker.ask(1)
        assert answered_with == [(1, False)]
        work.may_go.set()
        assert await worker.ask(2) == 4
        assert answered_with == [(1, False), (1, True), (2, True)]


async def test_a_bug_in_the_work_fails_the_request_and_the_worker_goes_on() -> None:
    worker: Worker[int, int] = Worker("test", lambda numbers: [1 // number for number in numbers])
    async with running(worker):
        with pytest.raises(BackendError) as caught:
            await worker.ask(0)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert await worker.ask(1) == 1


async def test_a_worker_that_ends_finishes_its_batch_and_refuses_the_rest() -> None:
    work = Work()
    worker: Worker[int, int] = Worker("test", work)
    outcomes: list[str] = []

    async def ask(number: int) -> None:
        try:
            outcomes.append(str(await worker.ask(number)))
        except BackendError as error:
            outcomes.append(error.public_message)

    async with trio.open_nursery() as nursery:
        async with running(worker):
            work.may_go.clear()
            nursery.start_soon(ask, 1)
            await work.begun()
            nursery.start_soon(ask, 2)
            await wait_all_tasks_blocked()
            trio.lowlevel.current_trio_token().run_sync_soon(work.may_go.set)
    assert sorted(outcomes) == ["2", "The database is closed"]
    with pytest.raises(BackendError, match="closed"):
        await worker.ask(3)
