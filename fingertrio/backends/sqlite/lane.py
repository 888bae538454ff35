"""Many who ask, one thread that works: what waits while it is at work is taken together when it comes back.

For sets this is the group commit: however many wait, the disk is waited for once. For questions it shares the way into
a thread and back (some 50 us of CPU, 100 to 400 us of time) among those who ask at the same moment, which is when it
matters; and it keeps the loop off the disk. A read from a cold disk or a dying one, done right in the loop, would be
cheaper alone (7 us) and would stop every door while it lasts.

Knows trio and nothing of databases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import trio

from fingertrio.backend import BackendError

Q = TypeVar("Q")
A = TypeVar("A")

# Questions in one batch. What is taken together fails and waits together, too; and past some dozens each one's share
# of the disk's time is small already.
BATCH = 64

# Seconds that a batch may be at work before those who wait are told that it failed. A lock is waited for 2 s; what
# takes longer than this is a disk that does not answer. The service gives up after 5 s.
PATIENCE = 4.0


class _Asked(Generic[Q, A]):
    """One question that waits, and its answer."""

    __slots__ = ("answer", "question", "taken", "task")

    def __init__(self, question: Q) -> None:
        self.question = question
        self.task: trio.lowlevel.Task | None = trio.lowlevel.current_task()  # None: nobody waits any more
        self.taken = False
        self.answer: A | BackendError | None = None


class Lane(Generic[Q, A]):
    """Takes questions to a thread, in batches, one batch at a time and in the order in which they came.

    Args:
        work: answers a batch, one answer or BackendError for each question, in order; called in a thread.
        settled: told each answered question before whoever asked it goes on, also where nobody waits any more.
        stays: who is cancelled while the work is under way still gets the answer, since it is being carried out. False:
            goes away at once.
        patience: seconds for one batch.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Q]], Sequence[A | BackendError]],
        *,
        settled: Callable[[Q, A | BackendError], None] | None = None,
        stays: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        self._work = work
        self._settled = settled
        self._stays = stays
        self._patience = patience
        self._waiting: list[_Asked[Q, A]] = []
        self._arrived = trio.Event()
        self._thread = trio.CapacityLimiter(1)
        self._closed = False

    async def ask(self, question: Q) -> A:
        """The answer. Cancelled before the work has begun, it is never done.

        Raises:
            BackendError: the work's, or it took too long, and whether it was done is not known.
        """
        if self._closed:
            raise BackendError("The database is closed")
        asked: _Asked[Q, A] = _Asked(question)
        self._waiting.append(asked)
        self._arrived.set()

        def cancelled(_raise: object) -> trio.lowlevel.Abort:
            if asked.taken and self._stays:
                return trio.lowlevel.Abort.FAILED
            if not asked.taken:
                self._waiting.remove(asked)
            asked.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(cancelled)
        if isinstance(asked.answer, BackendError):
            raise asked.answer
        return asked.answer  # type: ignore[return-value]  # it has been given one

    async def run(self) -> None:
        """Work. Returns when cancelled: a batch that is under way is finished first, who still waits is refused."""
        try:
            while True:
                await self._arrived.wait()
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                if not self._waiting:
                    self._arrived = trio.Event()
                if batch:  # else all have gone away
                    await self._carry(batch)
        finally:
            self._closed = True
            self._answer(self._waiting, [BackendError("The database is closed") for _ in self._waiting])

    async def _carry(self, batch: Sequence[_Asked[Q, A]]) -> None:
        answers: Sequence[A | BackendError] = ()

        def work() -> None:
            nonlocal answers
            try:
                answers = self._work([asked.question for asked in batch])
            except Exception as error:  # noqa: BLE001 -- a mistake in it must not leave anybody waiting for ever
                answers = [_failed(error) for _ in batch]

        for asked in batch:
            asked.taken = True
        with trio.move_on_after(self._patience, shield=True) as patience:
            await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._thread)
        if patience.cancelled_caught:
            self._answer(batch, [BackendError("The database does not answer") for _ in batch])
            await self._thread.acquire_on_behalf_of(self)  # it is given back when the thread has come back
            self._thread.release_on_behalf_of(self)
        self._answer(batch, answers)

    def _answer(self, batch: Sequence[_Asked[Q, A]], answers: Sequence[A | BackendError]) -> None:
        for asked, answer in zip(batch, answers, strict=True):
            if self._settled is not None:
                self._settled(asked.question, answer)
            if asked.task is not None:
                asked.answer = answer
                trio.lowlevel.reschedule(asked.task)
                asked.task = None


def _failed(error: Exception) -> BackendError:
    told = BackendError()
    told.__cause__ = error
    return told
