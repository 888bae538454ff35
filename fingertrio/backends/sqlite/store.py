"""Reads and group commits over an open database, for threads.

Three connections, each for one thread at a time: the writer sets statuses, the finder reads single users, the scanner
reads many rows (the list, a history) and can be interrupted. They do not wait for each other: with a write-ahead log,
readers see the last commit whatever the writer does.

Every method may block on the disk or on a lock, so it must run in a thread. Nothing here uses trio.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TypeVar

from fingertrio.backend import BackendError, Recency, UserInfo
from fingertrio.backends.sqlite import files, rows, writing
from fingertrio.backends.sqlite.clock import ClockGuard, time_of_last_statuses
from fingertrio.backends.sqlite.database import Database
from fingertrio.backends.sqlite.failures import concerns_all, failure
from fingertrio.backends.sqlite.opening import check, transaction
from fingertrio.backends.sqlite.rows import Describe, Put, Retention

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Expiries(NamedTuple):
    """Statuses that end.

    Attributes:
        users: whose status has ended.
        now: until when.
        next: when the next status will end.
        must_move: whether users are at the place of another status; see `SQLiteStore.move_places`.
    """

    users: list[str]
    now: int
    next: int | None
    must_move: bool


class SQLiteStore:
    """Created by `SQLiteStore.open`."""

    def __init__(self, database: Database, retention: Retention, now: Callable[[], int], guard: ClockGuard) -> None:
        self._database = database
        self._retention = retention
        self._now = now
        self._guard = guard
        self._last: int | None = None  # the time of the last statuses when the clock was last found to be right
        self._doubt: str | None = None  # why history is not deleted because of its age; None: it is

    @classmethod
    def open(
        cls, path: Path, retention: Retention, now: Callable[[], int], guard: ClockGuard | None = None
    ) -> SQLiteStore:
        """Open the database at `path`. A missing file is created, an older version is migrated.

        Raises:
            ValueError: the file is damaged, another program's, or of a later version; it is unchanged.
            OSError: the file cannot be created or read, or is locked by another program.
        """
        if not path.exists():
            files.make(path)
        database = Database(path, now)
        try:
            check(path)
            database.attach()
        except BaseException as error:
            database.close()
            if isinstance(error, sqlite3.Error):
                raise OSError(f"{path}: {error}") from error
            raise
        store = cls(database, retention, now, guard or ClockGuard(now))
        with suppress(BackendError), store._scanning() as connection:
            store._last = time_of_last_statuses(connection)
        store._update_doubt()
        return store

    @property
    def deletes_by_age(self) -> bool:
        """Whether old history is deleted."""
        return self._retention.days is not None

    def close(self) -> None:
        """Close all connections. The last connection to a database checkpoints its log and removes it."""
        with self._database.connections.writer.lock:
            self._database.close()

    def interrupt(self) -> None:
        """Interrupt the query of `logins`, `history` or `expiries`. From any thread, at any time before `close`."""
        self._database.connections.interrupt()

    # --- reading ------------------------------------------------------------------------------------------------------

    def find(self, logins: Sequence[str]) -> list[UserInfo | BackendError | None]:
        """For each of `logins` the user, None if there is no such user, or the failure."""
        return [self._find_one(login) for login in logins]

    def _find_one(self, login: str) -> UserInfo | BackendError | None:
        try:
            with self._database.connections.finder.use() as connection:
                return rows.find(connection, login, self._now())
        except Exception as error:  # noqa: BLE001 -- it is the answer for this user, and for no other
            return failure(error)

    def logins(self) -> list[str]:
        """Every user who has a status now. Raises BackendError."""
        with self._scanning() as connection:
            return rows.logins(connection, self._now())

    def history(self, login: str, limit: int, before: int | None) -> list[UserInfo]:
        """Statuses of `login`, newest first. Raises BackendError."""
        with self._scanning() as connection:
            return rows.history(connection, login, limit, before, self._now(), self._retention)

    def recent(self, limit: int, before: Recency | None) -> list[UserInfo]:
        """The newest statuses, or those behind the place `before`. Raises BackendError."""
        with self._scanning() as connection:
            return rows.recent(connection, limit, before, self._now())

    def expiries(self, after: int, *, clock_was_wrong: bool = False) -> Expiries:
        """What has ended after `after`, and what will end. Raises BackendError.

        `clock_was_wrong` is whether a server's clock may have been ahead, so that users were moved too early.
        """
        with self._scanning() as connection:
            now = self._now()
            return Expiries(
                rows.expired(connection, after, now),
                now,
                rows.next_expiry(connection, now),
                rows.are_behind(connection, now) or (clock_was_wrong and rows.are_ahead(connection, now)),
            )

    @contextmanager
    def _scanning(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._database.connections.scanner.use() as connection:
                yield connection
        except (sqlite3.Error, ValueError) as error:
            raise failure(error) from error

    @property
    def _safe_retention(self) -> Retention:
        """What may be deleted: nothing because of its age while the clock may be wrong."""
        return self._retention if self._doubt is None else self._retention.by_count

    def _update_doubt(self) -> None:
        before, self._doubt = self._doubt, self._guard.doubt(self._last)
        if self._doubt is None:
            self._last = self._now()  # from here on the clock is watched
        elif self._doubt != before and self.deletes_by_age and self._guard.is_steady():
            _log.warning("the clock may be wrong: %s; no history is deleted because of its age", self._doubt)

    # --- writing ------------------------------------------------------------------------------------------------------

    def commit(self, writes: Sequence[Put | Describe]) -> list[UserInfo | BackendError | None]:
        """Set statuses and details, in this order, in one transaction. For each the user from then on, or the failure.

        If the transaction fails because of one of them, each half is tried by itself, and so on: one bad status among
        64 costs a dozen transactions, but the other 63 are set.
        """
        with self._database.connections.writer.lock:
            return self._commit(writes)

    def _commit(self, writes: Sequence[Put | Describe]) -> list[UserInfo | BackendError | None]:
        try:
            return list(self._commit_together(writes))
        except Exception as error:  # noqa: BLE001 -- it is the answer to these sets; the writer goes on
            if len(writes) == 1 or isinstance(error, BackendError) or concerns_all(error):
                return [failure(error) for _ in writes]
            half = len(writes) // 2
            return [*self._commit(writes[:half]), *self._commit(writes[half:])]

    def _commit_together(self, writes: Sequence[Put | Describe]) -> list[UserInfo | None]:
        for _attempt in range(2):
            connection = self._database.to_write()
            infos: list[UserInfo | None] = []
            with transaction(connection):
                now = self._now()
                for are_puts, group in groupby(writes, lambda one: isinstance(one, Put)):
                    if are_puts:
                        puts = [one for one in group if isinstance(one, Put)]
                        infos += writing.put(connection, puts, now, self._safe_retention)
                    else:
                        infos += [writing.describe(connection, one, now) for one in group if isinstance(one, Describe)]
            if self._database.is_committed():
                return infos
        raise BackendError("The log of the database is damaged")

    def move_places(self) -> None:
        """See `writing.move_places`. Nothing is lost if it fails: queries correct what was not moved.

        Raises:
            BackendError: it failed; nothing was moved.
        """
        self._maintain(lambda connection: writing.move_places(connection, self._now()))

    def correct_times(self, count: int) -> None:
        """Correct the times of up to `count` users whose last status was set in the future, once the clock is trusted.

        Raises:
            BackendError: it failed; nothing was corrected.
        """
        now = self._now()
        if not self._guard.is_steady() or self._guard.is_behind(now):
            return
        with self._scanning() as connection:
            users = writing.users_ahead(connection, now, count)
        if not users:
            return

        def correct(connection: sqlite3.Connection) -> None:
            for user in users:
                writing.correct_log(connection, user, now)

        self._maintain(correct)
        _log.warning("%d users had statuses set in the future; their times were corrected", len(users))

    def trim_history(self, after: int, count: int) -> int | None:
        """Trim the history of the next `count` users after the id `after`. Returns the last id; None: no more users.

        Raises:
            BackendError: the transaction failed; nothing was deleted.
        """

        def trim(connection: sqlite3.Connection) -> int | None:
            users = writing.user_ids_after(connection, after, count)
            for user in users:
                writing.trim(connection, user, self._now(), self._safe_retention)
            return users[-1] if len(users) == count else None

        return self._maintain(trim)

    def _maintain(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in a transaction. It may be lost with a damaged log: the next round will do it again.

        Raises:
            BackendError: it failed, and nothing was changed.
        """
        try:
            with self._database.connections.writer.lock:
                connection = self._database.to_write()
                before = connection.total_changes
                with transaction(connection):
                    result = work(connection)
                if connection.total_changes != before:  # else there is no commit in the log
                    self._database.is_committed()
                return result
        except sqlite3.Error as error:
            raise failure(error) from error

    # --- other programs -----------------------------------------------------------------------------------------------

    def poll(self) -> bool:
        """Whether answers may have changed since the last poll: by another program, or by the clock. Never raises."""
        has_jumped = self._guard.poll()
        self._update_doubt()
        with self._database.connections.writer.lock:
            return self._database.poll() or has_jumped

    def stale_since(self) -> datetime | None:
        """When it was noticed that the file or its log is not in its place, so that answers may be old; None: it is."""
        return self._database.stale_since
