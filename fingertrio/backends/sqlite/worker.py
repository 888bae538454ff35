"""A thread that works for many tasks, in batches: requests that arrive while it works form the next batch.

For sets this is the group commit: one fsync serves the whole batch. For reads, requests of the same moment share one
trip to the thread and back, and the event loop never waits for the disk. Reading in the event loop itself would take
less CPU for a single request (7 us), but a cold or failing disk would then stop every front end.

The worker has its own thread: `trio.to_thread.run_sync` costs 54 us of CPU for each batch, and three more rounds of the
event loop between the end of one batch and the start of the next.

Knows trio, but no databases.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

import trio

from fingertrio.backend import BackendError

Q = TypeVar("Q")  # what is requested
A = TypeVar("A")  # the answer

# Requests in one batch. A batch fails as a whole and waits as a whole; and with some dozens of requests, the share of
# each in the fsync is already small.
BATCH = 64

# Rounds of the event loop for which a batch may wait while each round brings another request. With 64 tasks that set
# statuses all the time, this makes batches of 57 instead of 22; a single task waits for one round, about 20 us.
_ROUNDS = 8

# Seconds for one batch before its requests fail. The database waits 2 s for a lock; more than this means a disk that
# does not respond. The service gives up after 5 s.
PATIENCE = 4.0

_log = logging.getLogger(__name__)


class _Request(Generic[Q, A]):
    """One request that waits for its answer."""

    __slots__ = ("answer", "question", "started", "task")

    answer: A | BackendError  # set before the task is rescheduled

    def __init__(self, question: Q) -> None:
        self.question = question
        self.task: trio.lowlevel.Task | None = trio.lowlevel.current_task()  # None: no task waits any more
        self.started = False


class Worker(Generic[Q, A]):
    """Hands requests to a thread in batches, one batch at a time, in the order of the requests.

    Args:
        name: of the thread.
        work: answers a batch: one answer or BackendError for each request, in order. Called in the thread.
        on_answer: called with each request and its answer, before the requesting task continues and even if that task
            no longer waits. It must not raise.
        wait_if_started: a task that is cancelled after its batch was started still waits for the answer, because the
            work is done in any case. False: a cancelled task leaves at once.
        patience: seconds for one batch.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Q]], Sequence[A | BackendError]],
        *,
        on_answer: Callable[[Q, A | BackendError], None] | None = None,
        wait_if_started: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        self._name = name
        self._work = work
        self._on_answer = on_answer
        self._wait_if_started = wait_if_started
        self._patience = patience
        self._waiting: list[_Request[Q, A]] = []
        self._current: list[_Request[Q, A]] | None = None
        self._started_at = 0.0  # of the current batch, on trio's clock
        self._batches: SimpleQueue[list[_Request[Q, A]] | None] = SimpleQueue()  # None: end of the thread
        self._start_is_scheduled = False
        self._closed = False

    async def ask(self, question: Q) -> A:
        """The answer to one request. If cancelled before its batch is started, the work is never done.

        Raises:
            BackendError: from the work; or the batch took too long, and whether the work was done is unknown.
        """
        if self._closed:
            raise BackendError("The database is closed")
        request: _Request[Q, A] = _Request(question)
        self._waiting.append(request)
        if self._current is None:
            self._schedule_start()

        def abort(_raise: object) -> trio.lowlevel.Abort:
            if request.started and self._wait_if_started:
                return trio.lowlevel.Abort.FAILED
            if not request.started:
                self._waiting.remove(request)
            request.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if isinstance(request.answer, BackendError):
            raise request.answer
        return request.answer

    async def run(self) -> None:
        """Run the thread and watch over it. When cancelled, the current batch is finished and the rest is refused."""
        token = trio.lowlevel.current_trio_token()
        # A daemon thread: if the disk does not respond, the thread hangs, and the program must still be able to end.
        thread = Thread(target=self._run_thread, args=[token], name=self._name, daemon=True)
        thread.start()
        try:
            while True:
                await trio.sleep(self._patience / 8)
                if trio.current_time() >= self._started_at + self._patience:
                    self._give_up()
        finally:
            self._closed = True
            self._answer(self._waiting, [BackendError("The database is closed") for _ in self._waiting])
            self._waiting.clear()
            self._batches.put(None)
            with trio.move_on_after(self._patience, shield=True):
                await trio.to_thread.run_sync(thread.join, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
            self._give_up()

    def _schedule_start(self) -> None:
        """Start a batch once all tasks that are about to ask have asked.

        If the batch started at once, it would hold the first request only, and all others would wait for its end. So
        it starts after a round of the event loop without a new request, or after `_ROUNDS`.
        """
        if not self._start_is_scheduled:
            self._start_is_scheduled = True
            trio.lowlevel.current_trio_token().run_sync_soon(self._start, len(self._waiting), _ROUNDS)

    def _start(self, seen: int, rounds: int) -> None:
        count = len(self._waiting)
        if seen < count < BATCH and rounds and not self._closed:
            trio.lowlevel.current_trio_token().run_sync_soon(self._start, count, rounds - 1)
            return
        self._start_is_scheduled = False
        if not count or self._closed:
            return
        batch = self._current = self._waiting[:BATCH]
        del self._waiting[:BATCH]
        for request in batch:
            request.started = True
        self._started_at = trio.current_time()
        self._batches.put(batch)

    def _run_thread(self, token: trio.lowlevel.TrioToken) -> None:
        while (batch := self._batches.get()) is not None:
            answers: Sequence[A | BackendError]
            try:
                answers = self._work([request.question for request in batch])
            except Exception as error:  # noqa: BLE001 -- a bug in the work must not leave tasks waiting for ever
                answers = [_to_backend_error(error) for _ in batch]
            try:
                token.run_sync_soon(self._finish, batch, answers)
            except trio.RunFinishedError:  # the event loop has ended meanwhile
                return

    def _finish(self, batch: list[_Request[Q, A]], answers: Sequence[A | BackendError]) -> None:
        """Called in the event loop."""
        self._current = None
        if self._waiting:
            self._schedule_start()
        try:
            self._answer(batch, answers)
        except Exception:  # noqa: BLE001 -- an exception in a run_sync_soon callback would end the program
            _log.exception("answers were not delivered")

    def _give_up(self) -> None:
        """Fail the requests of the current batch. If the batch ends after all, `on_answer` is called again."""
        batch = [request for request in self._current or () if request.task is not None]
        self._answer(batch, [BackendError("The database does not answer") for _ in batch])

    def _answer(self, batch: Sequence[_Request[Q, A]], answers: Sequence[A | BackendError]) -> None:
        for request, answer in zip(batch, answers, strict=True):
            if self._on_answer is not None:
                self._on_answer(request.question, answer)
            if request.task is not None:
                request.answer = answer
                trio.lowlevel.reschedule(request.task)
                request.task = None


def _to_backend_error(error: Exception) -> BackendError:
    failure = BackendError()
    failure.__cause__ = error
    return failure
