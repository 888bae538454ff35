"""Many who ask, one thread that works: what waits while it is at work is taken together when it is done.

For sets this is the group commit: however many wait, the disk is waited for once. For questions it shares the way into
a thread and back among those who ask at the same moment, which is when it matters; and it keeps the loop off the disk.
A read from a cold disk or a dying one, done right in the loop, would be cheaper alone (7 us) and would stop every door
while it lasts.

The thread is the lane's own: `trio.to_thread.run_sync` would take 54 us of CPU for each batch, and three more rounds
of the loop from one batch's end to the next one's beginning.

Knows trio and nothing of databases.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

import trio

from fingertrio.backend import BackendError

Q = TypeVar("Q")
A = TypeVar("A")

# Questions in one batch. What is taken together fails and waits together, too; and past some dozens each one's share
# of the disk's time is small already.
BATCH = 64

# Rounds of the loop that a batch is waited for at most while each brings somebody. With 64 who set all the time this
# makes batches of 57 instead of 22; who sets alone waits for one round, some 20 us.
_ROUNDS = 8

# Seconds that a batch may be at work before those who wait are told that it failed. A lock is waited for 2 s; what
# takes longer than this is a disk that does not answer. The service gives up after 5 s.
PATIENCE = 4.0

_log = logging.getLogger(__name__)


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
        name: of the thread.
        work: answers a batch, one answer or BackendError for each question, in order; called in the thread.
        settled: told each answered question before whoever asked it goes on, also where nobody waits any more.
        stays: who is cancelled while the work is under way still gets the answer, since it is being carried out. False:
            goes away at once.
        patience: seconds for one batch.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Q]], Sequence[A | BackendError]],
        *,
        settled: Callable[[Q, A | BackendError], None] | None = None,
        stays: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        self._name = name
        self._work = work
        self._settled = settled
        self._stays = stays
        self._patience = patience
        self._waiting: list[_Asked[Q, A]] = []
        self._under_way: list[_Asked[Q, A]] | None = None
        self._began = 0.0  # on trio's clock
        self._batches: SimpleQueue[list[_Asked[Q, A]] | None] = SimpleQueue()  # None: that was all
        self._beginning = False  # a batch will begin in this round of the loop
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
        if self._under_way is None:
            self._begin_soon()

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
        """Have a thread, and an eye on it. Ends when cancelled: what is under way is finished, who waits is refused."""
        token = trio.lowlevel.current_trio_token()
        # A daemon: when a disk does not answer, neither does its thread, and the program must be able to end.
        thread = Thread(target=self._run_thread, args=[token], name=self._name, daemon=True)
        thread.start()
        try:
            while True:
                await trio.sleep(self._patience / 8)
                if trio.current_time() >= self._began + self._patience:
                    self._give_up()
        finally:
            self._closed = True
            self._answer(self._waiting, [BackendError("The database is closed") for _ in self._waiting])
            self._waiting.clear()
            self._batches.put(None)
            with trio.move_on_after(self._patience, shield=True):
                await trio.to_thread.run_sync(thread.join, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
            self._give_up()

    def _begin_soon(self) -> None:
        """Once all have asked who are about to.

        Begun at once, the batch of who asks first would be small, and all others would wait for it to end. So it begins
        after a round of the loop that brought nobody else, or after `_ROUNDS`.
        """
        if not self._beginning:
            self._beginning = True
            trio.lowlevel.current_trio_token().run_sync_soon(self._begin, len(self._waiting), _ROUNDS)

    def _begin(self, seen: int, rounds: int) -> None:
        count = len(self._waiting)
        if seen < count < BATCH and rounds and not self._closed:
            trio.lowlevel.current_trio_token().run_sync_soon(self._begin, count, rounds - 1)
            return
        self._beginning = False
        if not count or self._closed:
            return
        batch = self._under_way = self._waiting[:BATCH]
        del self._waiting[:BATCH]
        for asked in batch:
            asked.taken = True
        self._began = trio.current_time()
        self._batches.put(batch)

    def _run_thread(self, token: trio.lowlevel.TrioToken) -> None:
        while (batch := self._batches.get()) is not None:
            answers: Sequence[A | BackendError]
            try:
                answers = self._work([asked.question for asked in batch])
            except Exception as error:  # noqa: BLE001 -- a mistake in it must not leave anybody waiting for ever
                answers = [_failed(error) for _ in batch]
            try:
                token.run_sync_soon(self._finish, batch, answers)
            except trio.RunFinishedError:  # it took longer than anybody waited
                return

    def _finish(self, batch: list[_Asked[Q, A]], answers: Sequence[A | BackendError]) -> None:
        """In the loop again."""
        self._under_way = None
        if self._waiting:
            self._begin_soon()
        try:
            self._answer(batch, answers)
        except Exception:  # noqa: BLE001 -- what escapes here would end the program
            _log.exception("answers were not told")

    def _give_up(self) -> None:
        """Refuse those whose batch is still under way. What it brings after all is settled when it comes."""
        batch = [asked for asked in self._under_way or () if asked.task is not None]
        self._answer(batch, [BackendError("The database does not answer") for _ in batch])

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
