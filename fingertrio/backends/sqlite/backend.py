"""The backend over an open store: questions and sets through lanes, and the tasks that tell of changes.

It lists, sets, tells of changes and keeps history. Statuses that end by their `until` are told when they do; what other
programs write is told within two looks.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TypeVar

import trio

from fingertrio.backend import BackendError, Change, UserInfo
from fingertrio.backends.sqlite.rows import Put
from fingertrio.backends.sqlite.store import SQLiteStore
from fingertrio.backends.sqlite.worker import Worker
from fingertrio.changes import ChangeHub
from fingertrio.wire.times import to_microseconds

# Seconds between looks at what others did. One costs some 80 us, most of them for the way into a thread and back.
LOOK = 0.25

# Seconds. `until` belongs to the calendar's clock, which may be set while we sleep on the monotonic one: look again.
_LONGEST_SLEEP = 60.0
_AFTER_FAILURE = 1.0  # seconds until the expiries are read anew

# Seconds between two rounds through everybody's history, where it is kept for some days only, and how many users are
# looked at between two batches of sets. Answers keep to the days exactly, whatever is still in the file.
_FORGETTING = 3600.0
_PORTION = 200

# Seconds for the other threads to come back at the end.
_CLOSING = 1.0

T = TypeVar("T")

_log = logging.getLogger(__name__)


class SQLiteBackend:
    """Made by `open_sqlite`. Answers while `run` runs."""

    def __init__(self, store: SQLiteStore, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        self._hub = ChangeHub()
        self._sets: Worker[Put, UserInfo] = Worker(
            "sqlite sets", store.commit, on_answer=self._tell, wait_if_started=True
        )
        self._questions: Worker[str, UserInfo | None] = Worker("sqlite questions", store.find)
        # Each kind of work may hang on its own, and holds up its own kind only.
        self._scans = trio.CapacityLimiter(1)
        self._looks = trio.CapacityLimiter(1)
        self._planned: int | None = None  # the earliest end of a status that is waited for
        self._replan = trio.Event()

    async def get_user(self, user: str) -> UserInfo | None:
        """What is known of `user`."""
        return await self._questions.ask(user)

    async def get_users(self) -> Sequence[str]:
        """Everybody who has a status now, in the order of their names."""
        return await self._scan(self._store.logins)

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        """Statuses of `user`, newest first; `until`: when each ended or will, None where it holds, or will again."""
        time = None if before is None else to_microseconds(before)
        return await self._scan(lambda: self._store.history(user, limit, time))

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """Set a status, of anybody. When this returns, it is on the disk."""
        end = None if until is None else to_microseconds(until)
        if end is not None and end <= self._now():
            raise BackendError("The time until which the status should hold has passed")
        return await self._sets.ask(Put(user, status, end))

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """A feed of every change from now on, other programs' too; a slow reader finds each user in it once."""
        return self._hub.changes()

    def stale_since(self) -> datetime | None:
        """See `TellsStaleness`: since when it was noticed that the file is not in its place."""
        return self._store.stale_since()

    async def run(self) -> None:
        """Work, tell of what ends and of what others do, and forget. Until cancelled."""
        async with trio.open_nursery() as nursery:
            for task in (self._sets.run, self._questions.run, self._expire, self._look, self._forget):
                nursery.start_soon(task)

    async def aclose(self) -> None:
        """Close the store, once its threads have come back. A disk that does not answer holds nobody for ever."""
        self._store.interrupt()
        with trio.move_on_after(_CLOSING, shield=True) as patience:
            await trio.to_thread.run_sync(self._store.close, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
        if patience.cancelled_caught:
            _log.warning("the disk does not answer; the database is left as after a crash, which loses nothing")

    def _tell(self, put: Put, answer: UserInfo | BackendError) -> None:
        if isinstance(answer, BackendError):
            return
        self._hub.emit(Change(put.login))
        if put.until is not None and (self._planned is None or put.until < self._planned):
            self._replan.set()

    async def _scan(self, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._scans)
        except trio.Cancelled:
            self._store.interrupt()  # whoever is next waits until it has stopped
            raise

    async def _expire(self) -> None:
        told = self._now()
        while True:
            self._replan = trio.Event()
            pause = _LONGEST_SLEEP
            try:
                users, now, planned = await self._scan(lambda after=told: self._store.expiries(after))  # type: ignore[misc]
            except BackendError as error:
                _log.warning("what has expired cannot be read: %s", error.__cause__ or error)
                pause = _AFTER_FAILURE
            else:
                self._hub.emit_all(users)
                told = now
                self._planned = planned
                if planned is not None:
                    pause = min((planned - now) / 1_000_000, pause)
            with trio.move_on_after(pause):
                await self._replan.wait()

    async def _look(self) -> None:
        while True:
            await trio.sleep(LOOK)
            if await trio.to_thread.run_sync(self._store.look, abandon_on_cancel=True, limiter=self._looks):
                self._hub.emit(Change(None))
                self._replan.set()

    async def _forget(self) -> None:
        """Only answers keep to `days` by themselves; what is not set again would stay in the file for ever."""
        if self._store.keeps_for_ever:
            return
        while True:
            user: int | None = 0
            while user is not None:
                try:
                    user = await trio.to_thread.run_sync(
                        self._store.forget, user, _PORTION, abandon_on_cancel=True, limiter=self._looks
                    )
                except BackendError as error:
                    _log.warning("old statuses cannot be forgotten: %s", error.__cause__ or error)
                    user = None
            await trio.sleep(_FORGETTING)
