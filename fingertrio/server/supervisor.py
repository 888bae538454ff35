"""The nursery in which everything runs: start order, signals, restarts, graceful stop.

It knows callables and nothing of finger. A supervised task is an async callable `serve(stopping, *, task_status)`: it
calls `task_status.started(...)` when it can serve, and once the event `stopping` is set it accepts no new work,
finishes the work in progress, and returns.

- Tasks start in the given order; when the last one has started, the program is ready.
- A task that fails, or returns before `stopping` is set, is started again after a pause that doubles up to a limit,
  with jitter, so that programs that failed together do not restart together. The other tasks are not affected.
- A task that keeps failing without a healthy period ends the program with its cause, so that the service manager sees
  it. So does a task that fails before its first start: the program was never complete.
- SIGTERM or SIGINT sets `stopping`; tasks that are not finished after `grace` seconds are cancelled. A second signal
  cancels immediately.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import trio

from fingertrio.wire.backoff import Backoff

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Serve(Protocol):
    """The signature of a supervised task."""

    def __call__(self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]]) -> Awaitable[None]: ...


class Reports(Protocol):
    """What the supervisor needs of the observer."""

    def info(self, event: str, **fields: object) -> None: ...
    def error(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None: ...
    def restarted(self, task: str) -> None: ...
    def recovered(self, what: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Supervised:
    """One task: its name in the log, and its callable."""

    name: str
    serve: Serve


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """When a failed task restarts.

    Attributes:
        first: seconds before the first restart.
        longest: most seconds before a restart.
        attempts: consecutive failures that end the program.
        healthy: seconds of running after which earlier failures no longer count.
    """

    first: float = 0.25
    longest: float = 30.0
    attempts: int = 8
    healthy: float = 60.0


class KeepsFailingError(Exception):
    """A task kept failing; its last failure is the cause."""

    def __init__(self, name: str, attempts: int) -> None:
        super().__init__(f"the {name} front end failed {attempts} times in a row")
        self.name = name


class _ReturnedError(Exception):
    """A task returned before `stopping` was set."""


async def supervise(
    tasks: Sequence[Supervised],
    *,
    reports: Reports,
    grace: float = 5.0,
    policy: RestartPolicy | None = None,
    ready: Callable[[dict[str, list[str]]], None] = lambda _addresses: None,
    stopping: trio.Event | None = None,
    attendants: Sequence[Callable[[], Awaitable[None]]] = (),
    on_stopping: Callable[[], None] = lambda: None,
    on_hangup: Callable[[], None] | None = None,
) -> None:
    """Run the tasks until a signal or `stopping` stops them, and return when they have stopped.

    Args:
        tasks: started in this order.
        reports: logs failures, restarts and the stop.
        grace: seconds that tasks may take to finish.
        policy: when failed tasks restart.
        ready: called once all tasks have started, with the addresses of each.
        stopping: an event that stops the program when set (tests, embedding).
        attendants: run beside the tasks, unsupervised, from before the first start until after the last end.
        on_stopping: called once, when the stop begins.
        on_hangup: called for each SIGHUP once all tasks have started, but not during a stop; None leaves SIGHUP alone.

    Raises:
        KeepsFailingError: a task kept failing.
        Exception: a task raised it before its first start.
    """
    stopping = trio.Event() if stopping is None else stopping
    all_started = trio.Event()
    with unwrapped():
        async with trio.open_nursery() as outer:
            await outer.start(_obey_signals, outer.cancel_scope, stopping, reports)
            if on_hangup is not None:
                await outer.start(_obey_hangups, on_hangup, all_started, stopping)
            for attendant in attendants:
                outer.start_soon(attendant)
            async with trio.open_nursery() as nursery:
                outer.start_soon(_limit_grace, stopping, nursery.cancel_scope, grace, reports, on_stopping)
                keepers = [_Keeper(task, policy or RestartPolicy(), reports, stopping) for task in tasks]
                addresses = {
                    keeper.name: await nursery.start(keeper.run) for keeper in keepers if not stopping.is_set()
                }
                if not stopping.is_set():
                    ready(addresses)
                    all_started.set()
            outer.cancel_scope.cancel()


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the failure that ended a nursery in the context, without the group around it."""
    try:
        yield
    except BaseExceptionGroup as group:
        failure = only_failure(group)
        raise failure from failure.__cause__


class _Keeper:
    """Runs one task and restarts it."""

    def __init__(self, task: Supervised, policy: RestartPolicy, reports: Reports, stopping: trio.Event) -> None:
        self.name = task.name
        self._task = task
        self._policy = policy
        self._reports = reports
        self._stopping = stopping
        self._backoff = Backoff(policy.first, policy.longest)

    async def run(self, *, task_status: trio.TaskStatus[list[str]]) -> None:
        first = _FirstStart(task_status, lambda: self._reports.recovered(self._task.name))
        failures = 0
        while True:
            begun = trio.current_time()
            failure: Exception | None = None
            try:
                await self._task.serve(self._stopping, task_status=first)
            except Exception as error:  # noqa: BLE001 -- a failure of any kind leads to a restart
                failure = error
            if self._stopping.is_set():
                if failure is not None:
                    self._reports.error("failed_while_stopping", task=self._task.name, exc=failure)
                break
            failure = failure or _ReturnedError(f"the {self._task.name} front end returned")
            if not first.happened:
                raise failure
            failures = 1 if trio.current_time() - begun >= self._policy.healthy else failures + 1
            if failures >= self._policy.attempts:
                raise KeepsFailingError(self._task.name, failures) from failure
            await self._pause(failures, failure)
            if self._stopping.is_set():
                break
        if not first.happened:  # the nursery waits for it
            first.started()

    async def _pause(self, failures: int, error: Exception) -> None:
        if failures == 1:
            self._backoff.reset()
        pause = self._backoff.pause()
        self._reports.error("restarting", task=self._task.name, failures=failures, seconds=round(pause, 2), exc=error)
        self._reports.restarted(self._task.name)
        with trio.move_on_after(pause):
            await self._stopping.wait()


class _FirstStart:
    """Passes the first `started` to the nursery; later ones call `again`."""

    def __init__(self, task_status: trio.TaskStatus[list[str]], again: Callable[[], None]) -> None:
        self._task_status = task_status
        self._again = again
        self.happened = False

    def started(self, value: list[str] | None = None) -> None:
        if self.happened:
            self._again()
        else:
            self.happened = True
            self._task_status.started(value or [])


async def _obey_signals(
    scope: trio.CancelScope,
    stopping: trio.Event,
    reports: Reports,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
        task_status.started()
        async for number in signals:
            name = signal.Signals(number).name
            if stopping.is_set():
                reports.info("stopping_now", signal=name)
                scope.cancel()
            else:
                reports.info("stopping", signal=name)
                stopping.set()


async def _obey_hangups(
    on_hangup: Callable[[], None],
    all_started: trio.Event,
    stopping: trio.Event,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        await all_started.wait()
        async for _ in signals:
            if not stopping.is_set():
                on_hangup()


async def _limit_grace(
    stopping: trio.Event, scope: trio.CancelScope, grace: float, reports: Reports, on_stopping: Callable[[], None]
) -> None:
    """Cancel the tasks that are not finished in time."""
    await stopping.wait()
    on_stopping()
    await trio.sleep(grace)
    reports.info("grace_is_over", seconds=grace)
    scope.cancel()


def only_failure(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first real failure in nested groups. The groups add nothing that its traceback lacks."""
    _, failures = group.split(trio.Cancelled)
    first = (failures or group).exceptions[0]
    return only_failure(first) if isinstance(first, BaseExceptionGroup) else first
