"""Reads and group commits over an open database, for threads.

Three connections, each for one thread at a time: the writer sets statuses, the finder reads single users, the scanner
reads many rows (the list, a history) and can be interrupted. They do not wait for each other: with a write-ahead log,
readers see the last commit whatever the writer does.

Every method may block on the disk or on a lock, so it must run in a thread. Nothing here uses trio.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from fingertrio.backend import BackendError, UserInfo
from fingertrio.backends.sqlite import files, rows, writing
from fingertrio.backends.sqlite.database import Database
from fingertrio.backends.sqlite.failures import concerns_all, failure
from fingertrio.backends.sqlite.opening import check, transaction
from fingertrio.backends.sqlite.rows import Put, Retention


class SQLiteStore:
    """Created by `SQLiteStore.open`."""

    def __init__(self, database: Database, retention: Retention, now: Callable[[], int]) -> None:
        self._database = database
        self._retention = retention
        self._now = now

    @classmethod
    def open(cls, path: Path, retention: Retention, now: Callable[[], int]) -> SQLiteStore:
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
        return cls(database, retention, now)

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
                infos = writing.put(connection, puts, self._now(), self._retention)
            if self._database.is_committed():
                return infos
        raise BackendError("The log of the database is damaged")

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
                        writing.trim(connection, user, self._now(), self._retention)
                self._database.is_committed()  # if not, the next round trims again
                return users[-1] if len(users) == count else None
        except sqlite3.Error as error:
            raise failure(error) from error

    # --- other programs -----------------------------------------------------------------------------------------------

    def poll(self) -> bool:
        """Whether other programs have written or replaced the file since the last poll. Never raises."""
        with self._database.connections.writer.lock:
            return self._database.poll()

    def stale_since(self) -> datetime | None:
        """When it was noticed that the file or its log is not in its place, so that answers may be old; None: it is."""
        return self._database.stale_since
