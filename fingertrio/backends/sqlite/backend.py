"""The backend contract over an open store: reads and sets through workers, and the tasks that emit changes.

A change is emitted when a status is set, when one ends by its `until`, and within half a second after another program
has changed the database.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime
from functools import partial
from typing import TypeVar

import trio

from fingertrio.backend import BackendError, Change, Recency, UserInfo
from fingertrio.backends.sqlite.clock import SETTLING
from fingertrio.backends.sqlite.rows import Describe, Put
from fingertrio.backends.sqlite.store import SQLiteStore
from fingertrio.backends.sqlite.worker import Worker
from fingertrio.changes import ChangeHub
from fingertrio.wire.times import to_microseconds

# Seconds between two polls for changes by other programs. A poll costs about 80 us, mostly for the trip to a thread.
POLL_INTERVAL = 0.25

# Seconds. `until` is a time of the calendar clock, which may be set while we sleep on the monotonic one: check again.
_LONGEST_SLEEP = 60.0
_AFTER_FAILURE = 1.0  # seconds until the expiries are read again

# Seconds until the first round of maintenance, and between two rounds: correcting times and, with `history_days`,
# deleting old history. And users handled in one transaction, between two batches of sets. Answers respect the days
# exactly, whatever is still in the file.
_FIRST_TRIM = SETTLING + 10.0
_TRIM_INTERVAL = 3600.0
_TRIM_PORTION = 200

# Seconds for other threads to return at the end.
_CLOSE_TIMEOUT = 1.0

T = TypeVar("T")

_log = logging.getLogger(__name__)


class SQLiteBackend:
    """Created by `open_sqlite`. Answers only while `run` runs."""

    def __init__(self, store: SQLiteStore, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        self._hub = ChangeHub()
        self._sets: Worker[Put | Describe, UserInfo | None] = Worker(
            "sqlite sets", store.commit, on_answer=self._emit, wait_if_started=True
        )
        self._reads: Worker[str, UserInfo | None] = Worker("sqlite reads", store.find)
        # Separate limits, so that one kind of work that hangs does not block the others.
        self._scans = trio.CapacityLimiter(1)
        self._polls = trio.CapacityLimiter(1)
        self._planned: int | None = None  # the earliest `until` that `_expire` waits for
        self._replan = trio.Event()

    async def get_user(self, user: str) -> UserInfo | None:
        """The user with the status that holds now; None: no such user."""
        return await self._reads.ask(user)

    async def get_users(self) -> Sequence[str]:
        """Every user who has a status now, in the order of the names."""
        return await self._scan(self._store.logins)

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        """Statuses of `user`, newest first; `until`: when it ended or will end; None: it holds, or will hold again."""
        time = None if before is None else to_microseconds(before)
        return await self._scan(lambda: self._store.history(user, limit, time))

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        """The newest statuses, or those behind the place `before`."""
        return await self._scan(lambda: self._store.recent(limit, before))

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """Set the status of any user. When this returns, it is on the disk."""
        end = None if until is None else to_microseconds(until)
        if end is not None and end <= self._now():
            raise BackendError("The end of the status has passed already")
        info = await self._sets.ask(Put(user, status, end))
        if info is None:
            raise AssertionError("a status was just stored")
        return info

    async def clear_user(self, user: str) -> UserInfo | None:
        """Clear the status of `user`. When this returns, that is on the disk, and part of the history."""
        if await self.get_user(user) is None:
            return None
        return await self._sets.ask(Put(user, "", None))  # a user removed in between comes back, without a status

    async def set_details(self, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
        """Set the full name and the details of any user. When this returns, they are on the disk."""
        return await self._sets.ask(Describe(user, name, details))

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """A feed of every change from now on, also by other programs; a slow reader gets each user once."""
        return self._hub.changes()

    def stale_since(self) -> datetime | None:
        """See `TellsStaleness`: when the store noticed that the file or its log is not in its place."""
        return self._store.stale_since()

    async def run(self) -> None:
        """Run the workers, emit changes, correct times and delete old history, until cancelled."""
        async with trio.open_nursery() as nursery:
            for task in (self._sets.run, self._reads.run, self._expire, self._poll, self._maintain):
                nursery.start_soon(task)

    async def aclose(self) -> None:
        """Close the store when its threads have returned. An unresponsive disk does not block the shutdown."""
        self._store.interrupt()
        with trio.move_on_after(_CLOSE_TIMEOUT, shield=True) as patience:
            await trio.to_thread.run_sync(self._store.close, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
        if patience.cancelled_caught:
            _log.warning("the disk does not respond; the database is left open, as after a crash, which loses nothing")

    def _emit(self, write: Put | Describe, answer: UserInfo | BackendError | None) -> None:
        if isinstance(answer, BackendError):
            return
        self._hub.emit(Change(write.login))
        until = write.until if isinstance(write, Put) else None
        if until is not None and (self._planned is None or until < self._planned):
            self._replan.set()

    async def _scan(self, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._scans)
        except trio.Cancelled:
            self._store.interrupt()  # the next query waits until this one has stopped
            raise

    async def _expire(self) -> None:
        emitted = self._now()  # ends up to this time were emitted
        clock_was_wrong = True  # perhaps, in an earlier run
        while True:
            self._replan = trio.Event()
            pause = _LONGEST_SLEEP
            try:
                ended = await self._scan(partial(self._store.expiries, emitted, clock_was_wrong=clock_was_wrong))
            except BackendError as error:
                _log.warning("reading which statuses have ended failed: %s", error.__cause__ or error)
                pause = _AFTER_FAILURE
            else:
                clock_was_wrong = ended.now < emitted  # it was set back: what had ended may hold again
                if clock_was_wrong:
                    self._hub.emit(Change(None))
                    self._replan.set()
                self._hub.emit_all(ended.users)
                emitted = ended.now
                self._planned = ended.next
                if ended.next is not None:
                    pause = min((ended.next - ended.now) / 1_000_000, pause)
                if ended.must_move:
                    with suppress(BackendError):  # a file that may not be written: queries correct it
                        await self._write(self._store.move_places)
            with trio.move_on_after(pause):
                await self._replan.wait()

    async def _poll(self) -> None:
        while True:
            await trio.sleep(POLL_INTERVAL)
            if await self._write(self._store.poll):
                self._hub.emit(Change(None))
                self._replan.set()

    async def _maintain(self) -> None:
        """Correct and delete what users who set nothing leave in the file: a set only does so for its user."""
        await trio.sleep(_FIRST_TRIM)
        while True:
            try:
                await self._write(partial(self._store.correct_times, _TRIM_PORTION))
                user: int | None = 0 if self._store.deletes_by_age else None
                while user is not None:
                    user = await self._write(partial(self._store.trim_history, user, _TRIM_PORTION))
            except BackendError as error:
                _log.warning("correcting times and deleting old history failed: %s", error.__cause__ or error)
            await trio.sleep(_TRIM_INTERVAL)

    async def _write(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._polls)
