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
from pathlib import Path

from fingertrio.backend import BackendError, UserInfo
from fingertrio.backends.sqlite import files, rows, writing
from fingertrio.backends.sqlite.clock import ClockGuard, time_of_last_statuses
from fingertrio.backends.sqlite.database import Database
from fingertrio.backends.sqlite.failures import concerns_all, failure
from fingertrio.backends.sqlite.opening import check, transaction
from fingertrio.backends.sqlite.rows import Put, Retention

_log = logging.getLogger(__name__)


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

    def expiries(self, after: int) -> tuple[list[str], int, int | None]:
        """Users whose status ended after `after`; now; and when the next status will end. Raises BackendError."""
        with self._scanning() as connection:
            now = self._now()
            return rows.expired(connection, after, now), now, rows.next_expiry(connection, now)

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

    def commit(self, puts: Sequence[Put]) -> list[UserInfo | BackendError]:
        """Set statuses, in this order, in one transaction. For each the user's new status, or the failure.

        If the transaction fails because of one status, each half is tried by itself, and so on: one bad status among 64
        costs a dozen transactions, but the other 63 are set.
        """
        with self._database.connections.writer.lock:
            return self._commit(puts)

    def _commit(self, puts: Sequence[Put]) -> list[UserInfo | BackendError]:
        try:
            return list(self._commit_together(puts))
        except Exception as error:  # noqa: BLE001 -- it is the answer to these sets; the writer goes on
            if len(puts) == 1 or isinstance(error, BackendError) or concerns_all(error):
                return [failure(error) for _ in puts]
            half = len(puts) // 2
            return [*self._commit(puts[:half]), *self._commit(puts[half:])]

    def _commit_together(self, puts: Sequence[Put]) -> list[UserInfo]:
        for _attempt in range(2):
            connection = self._database.to_write()
            with transaction(connection):
                infos = writing.put(connection, puts, self._now(), self._safe_retention)
            if self._database.is_committed():
                return infos
        raise BackendError("The log of the database is damaged")

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
        try:
            with self._database.connections.writer.lock:
                connection = self._database.to_write()
                with transaction(connection):
                    for user in users:
                        writing.correct_log(connection, user, now)
                self._database.is_committed()
        except sqlite3.Error as error:
            raise failure(error) from error
        _log.warning("%d users had statuses set in the future; their times were corrected", len(users))

    def trim_history(self, after: int, count: int) -> int | None:
        """Trim the history of the next `count` users after the id `after`. Returns the last id; None: no more users.

        Raises:
            BackendError: the transaction failed; nothing was deleted.
        """
        try:
            with self._database.connections.writer.lock:
                connection = self._database.to_write()
                with transaction(connection):
                    users = writing.user_ids_after(connection, after, count)
                    for user in users:
                        writing.trim(connection, user, self._now(), self._safe_retention)
                self._database.is_committed()  # if not, the next round trims again
                return users[-1] if len(users) == count else None
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
