"""Runs functions that may block for ever, each for one user, in threads.

A thread that is blocked in a dead file system cannot be ended, only abandoned. So that abandoned threads neither
accumulate nor use up the threads that other users need:

- Each user has at most one thread. Further calls for this user wait for it to end, or fail if it is overdue.
- `at_once` limits only threads in their first moments. A thread that takes longer no longer counts.
- Blocked threads are limited for each mounted file system and in total. Beyond that, calls that would touch this file
  system fail at once. Which file system a home is on is read from the kernel's table of mounts, without touching it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import trio

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# Seconds after which a thread no longer counts against `at_once`. A local disk answers in microseconds, a busy file
# server in some ten milliseconds.
_YOUNG = 0.25

# Seconds after which a call fails. Below the service's deadline of 5, so that the log says whose home it was.
PATIENCE = 4.0

# Blocked threads, each some 50 KiB of memory: enough for many separately mounted homes, and few for one dead server.
_BLOCKED_LIMIT = 256
_BLOCKED_LIMIT_PER_MOUNT = 16

_MOUNTS = Path("/proc/self/mountinfo")


class NoAnswerError(Exception):
    """The function does not return in time, or others like it do not. The message is for the log."""


class _Outcome(Protocol[T_co]):
    """The result of a thread, as trio delivers it."""

    def unwrap(self) -> T_co: ...


class _Look(Generic[T]):
    """A thread at work.

    Attributes:
        home: the directory that it is about to touch; None: it still reads the password database.
        ended: set when the thread has ended.
    """

    def __init__(self) -> None:
        self.home: str | None = None
        self.started = trio.current_time()
        self.is_young = True
        self.ended = trio.Event()
        self.outcome: _Outcome[T] | None = None

    async def result(self) -> T:
        """What the function returned or raised."""
        await self.ended.wait()
        if self.outcome is None:
            raise AssertionError("a thread has ended without an outcome")
        return self.outcome.unwrap()


class Looks:
    """Threads for one backend.

    Args:
        at_once: threads in their first moments.
    """

    def __init__(self, at_once: int) -> None:
        self._young = trio.CapacityLimiter(at_once)
        self._running: dict[str, _Look[Any]] = {}
        self._lock = threading.Lock()  # threads read `_running`

    async def run(self, user: str, look: Callable[[Callable[[str], None]], T], *, patience: float = PATIENCE) -> T:
        """The result of `look` in a thread. If this is cancelled, the thread is abandoned.

        Args:
            user: no second thread is started for the same user.
            look: gets a function, which it must call with the path of the home before it touches the home.
            patience: seconds.

        Raises:
            NoAnswerError: `look` does not return, or is not started because too many others do not.
        """
        try:
            with trio.fail_after(patience):
                started = await self._start(user, look)
                return await started.result()
        except trio.TooSlowError:
            raise NoAnswerError(f"the home of {user} does not answer within {patience:g} s") from None

    async def _start(self, user: str, look: Callable[[Callable[[str], None]], T]) -> _Look[T]:
        """Start a thread and wait until it has ended or is not young any more."""
        while True:
            if (other := self._running.get(user)) is not None:
                if trio.current_time() - other.started > PATIENCE:
                    raise NoAnswerError(f"the home of {user} still does not answer")
                await other.ended.wait()
                continue
            async with self._young:
                if user in self._running:  # started while this one waited for its turn
                    continue
                return await self._start_now(user, look)

    async def _start_now(self, user: str, look: Callable[[Callable[[str], None]], T]) -> _Look[T]:
        self._check_blocked()
        this: _Look[T] = _Look()
        token = trio.lowlevel.current_trio_token()

        def enter(home: str) -> None:
            self._check_blocked(home, this)
            this.home = home

        def deliver(outcome: _Outcome[T]) -> None:
            with suppress(trio.RunFinishedError):  # the program ended before this thread
                token.run_sync_soon(self._end, user, this, outcome)

        with self._lock:
            self._running[user] = this
        try:
            trio.lowlevel.start_thread_soon(lambda: look(enter), deliver)
        except RuntimeError:  # the system allows no more threads
            with self._lock:
                del self._running[user]
            raise
        try:
            with trio.move_on_after(_YOUNG):
                await this.ended.wait()
        finally:
            this.is_young = False
        return this

    def _end(self, user: str, look: _Look[T], outcome: _Outcome[T]) -> None:
        with self._lock:
            del self._running[user]
        look.outcome = outcome
        look.ended.set()

    def _check_blocked(self, home: str | None = None, this: _Look[Any] | None = None) -> None:
        """Raise NoAnswerError if too many threads besides `this` are blocked; called in threads, too."""
        with self._lock:
            others = [look for look in self._running.values() if look is not this]
        blocked = [look.home for look in others if not look.is_young]
        if len(blocked) >= _BLOCKED_LIMIT:
            raise NoAnswerError(f"{len(blocked)} homes do not answer")
        if len(blocked) < _BLOCKED_LIMIT_PER_MOUNT:
            return
        if home is None:
            if blocked.count(None) >= _BLOCKED_LIMIT_PER_MOUNT:
                raise NoAnswerError("the password database does not answer")
            return
        mounts = mount_points()
        mount = mount_of(home, mounts)
        if sum(mount_of(other, mounts) == mount for other in blocked if other) >= _BLOCKED_LIMIT_PER_MOUNT:
            raise NoAnswerError(f"the file system mounted at {mount} does not answer")


def mount_points() -> Sequence[str]:
    """Where file systems are mounted, the longest paths first. Touches none of them."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ()
    paths = {re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), line.split(" ")[4]) for line in lines}
    return sorted(paths, key=len, reverse=True)


def mount_of(path: str, mounts: Sequence[str]) -> str:
    """The mount point of `path`, by its text: a home that is reached by a link counts where the link is."""
    return next((mount for mount in mounts if path == mount or path.startswith(f"{mount.rstrip('/')}/")), "/")
