"""The last chapter of the contract: opening, closing, and that nothing is left open afterwards."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

import trio

from fingertrio.backend import EmitsChanges, KeepsHistory, ListsUsers, SetsStatus
from fingertrio.testing.kit import Attempt, Chapter, Subject, cancel_everywhere, expect, new_name, require, set_status

chapter = Chapter()

# Seconds that a thread may take after the end of the context, for example to close the file that it was reading.
_SETTLING = 1.0


class _AccidentError(Exception):
    """Any exception that ends the program while a backend is open."""


@chapter.lifetime_clause
async def it_opens_again(subject: Subject) -> bool:
    """A closed backend opens again, and answers and sets statuses as it did the first time."""
    for _ in range(3):
        await _use(subject)
    return True


@chapter.lifetime_clause
async def nothing_is_left(subject: Subject) -> bool:
    """The end of the context ends the backend's tasks and processes, and closes its files and sockets."""
    before = await _before(subject)
    await _use(subject)
    await _require_nothing_since(before, "the context ended")
    return True


@chapter.lifetime_clause
async def an_error_passes_through(subject: Subject) -> bool:
    """An exception raised inside the context leaves it, alone or in a group, and nothing is left open."""
    before = await _before(subject)
    came_out = False
    try:
        async with subject.open_backend():
            _fail()
    except* _AccidentError:
        came_out = True
    require(came_out, "it was swallowed")
    await _require_nothing_since(before, "an exception ended the context")
    return True


@chapter.lifetime_clause
async def cancelling_closes_it(subject: Subject) -> bool:
    """A context that is cancelled during queries, sets and feeds ends, and nothing is left open."""
    before = await _before(subject)
    with trio.CancelScope() as scope:
        async with subject.open_backend() as backend, trio.open_nursery() as nursery:
            user = next(iter(subject.known), new_name())
            if isinstance(backend, EmitsChanges):
                await nursery.start(_read, backend)
            for _ in range(3):
                nursery.start_soon(backend.get_user, user)
            if isinstance(backend, ListsUsers):
                nursery.start_soon(backend.get_users)
            if isinstance(backend, SetsStatus):
                nursery.start_soon(backend.set_user, new_name(), "Happy and well")
            await trio.lowlevel.checkpoint()
            scope.cancel()
            await trio.lowlevel.checkpoint()  # Cancelled is raised here, whether or not a query is still under way
    require(scope.cancelled_caught, "the cancellation was swallowed")
    await _require_nothing_since(before, "the context was cancelled")
    return True


@chapter.lifetime_clause
async def opening_can_be_cancelled(subject: Subject) -> bool:
    """Opening, cancelled at any checkpoint, leaves nothing open, and the backend can be opened afterwards."""
    before = await _before(subject)

    async def open_and_close() -> None:
        async with subject.open_backend():
            await trio.lowlevel.checkpoint()

    async def afterwards(_attempt: Attempt) -> None:
        await _require_nothing_since(before, "opening was cancelled")

    await cancel_everywhere(open_and_close, afterwards)
    await _use(subject)
    return True


def _fail() -> None:
    raise _AccidentError


async def _use(subject: Subject) -> None:
    async with subject.open_backend() as backend:
        for user, status in subject.known.items():
            await expect(backend, user, status)
        if isinstance(backend, SetsStatus):
            user = new_name()
            await set_status(backend, user, "Happy and well")
            await expect(backend, user, "Happy and well")
        if isinstance(backend, ListsUsers):
            await backend.get_users()
        if isinstance(backend, KeepsHistory):
            await backend.get_history(new_name(), 1)
        if isinstance(backend, EmitsChanges):
            async with backend.changes():
                await trio.lowlevel.checkpoint()


async def _read(emitter: EmitsChanges, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    async with emitter.changes() as feed:
        task_status.started()
        async for _ in feed:
            pass


async def _before(subject: Subject) -> set[object]:
    """The resources now. After one use: what is imported or opened once for the whole program is not a leak."""
    await _use(subject)
    return set(_resources())


async def _require_nothing_since(before: set[object], event: str) -> None:
    deadline = time.monotonic() + _SETTLING  # real time: threads do not follow a mock clock
    while left := [name for key, name in _resources().items() if key not in before]:
        require(time.monotonic() < deadline, f"after {event} there is {', '.join(left)}")
        await trio.sleep(0.01)


def _resources() -> dict[object, str]:
    """What a backend could leave open, each with a description: trio tasks, descriptors, processes."""
    found: dict[object, str] = {}
    root = trio.lowlevel.current_root_task()
    tasks = deque([root] if root is not None else [])
    while tasks:
        task = tasks.popleft()
        found[task] = f"a task of {task.name}"
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    descriptors = Path("/proc/self/fd")  # Linux; elsewhere, descriptors and processes are not checked
    for link in list(descriptors.iterdir()) if descriptors.exists() else ():
        try:
            target = link.readlink()
        except OSError:  # the descriptor that listed the directory
            continue
        found[link, target] = f"descriptor {link.name}, open on {target}"
    for children in Path("/proc/self/task").glob("*/children"):
        try:
            pids = children.read_text().split()
        except OSError:  # a thread that has just ended
            continue
        found |= {("process", pid): f"process {pid}" for pid in pids}
    return found
