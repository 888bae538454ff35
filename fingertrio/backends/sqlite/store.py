"""The open database, for threads: reads, group commits, and noticing what other programs do to the file.

Three connections, each for one thread at a time. The writer sets statuses. The finder reads single users, a few pages
each. The scanner reads many rows (the list, a history) and can be interrupted. They do not wait for each other: with a
write-ahead log, readers see the last commit whatever the writer does.

Every method may block on the disk or on a lock, so it must run in a thread. Nothing here uses trio.

The identity of the file. While the server runs, another file may be moved to the path, such as a backup. Commits to the
old file would then be lost, so each transaction first compares the identity of the file (2 us). The new file is opened
when it has been checked to be ours and undamaged; until then readers use the old file, and sets fail. The -wal and -shm
that SQLite left beside the old file are removed first, because SQLite would apply them to the new file.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from fingertrio.backend import BackendError, UserInfo
from fingertrio.backends.sqlite import files, rows, schema, writing
from fingertrio.backends.sqlite.failures import concerns_all, failure
from fingertrio.backends.sqlite.opening import check, connect, open_to_write, transaction
from fingertrio.backends.sqlite.rows import Put, Retention
from fingertrio.wire.times import from_microseconds

_log = logging.getLogger(__name__)


class _Connection:
    """A connection and the lock for the thread that uses it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open: sqlite3.Connection | None = None

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        with self.lock:
            if self.open is None:
                raise BackendError("The database cannot be opened")
            yield self.open

    def close(self) -> None:
        connection, self.open = self.open, None
        if connection is not None:
            connection.close()


class SQLiteStore:
    """Created by `SQLiteStore.open`."""

    def __init__(self, path: Path, retention: Retention, now: Callable[[], int]) -> None:
        self._path = path
        self._retention = retention
        self._now = now
        self._writer = _Connection()
        self._finder = _Connection()
        self._scanner = _Connection()
        self._file: files.Identity | None = None
        self._companions: dict[Path, files.Identity | None] = {}
        self._frozen: tuple[int, int] | None = None  # the state of the file when it was opened as immutable
        self._version: int | None = None  # PRAGMA data_version: changes with each commit by another program
        self._replaced = False  # the file was replaced since the last poll
        self._problem = ""  # the last problem that was logged
        self._stale_since: datetime | None = None  # when the file was first seen not to be in its place

    @classmethod
    def open(cls, path: Path, retention: Retention, now: Callable[[], int]) -> SQLiteStore:
        """Open the database at `path`. A missing file is created, an older version is migrated.

        Raises:
            ValueError: the file is damaged, another program's, or of a later version; it is unchanged.
            OSError: the file cannot be created or read, or is locked by another program.
        """
        store = cls(path, retention, now)
        if not path.exists():
            files.make(path)
        try:
            check(path)
            store._attach()
        except BaseException as error:
            store.close()
            if isinstance(error, sqlite3.Error):
                raise OSError(f"{path}: {error}") from error
            raise
        return store

    @property
    def deletes_by_age(self) -> bool:
        """Whether old history is deleted."""
        return self._retention.days is not None

    def close(self) -> None:
        """Close all connections. The last connection to a database checkpoints its log and removes it."""
        for connection in (self._finder, self._scanner, self._writer):
            with connection.lock:
                connection.close()

    def interrupt(self) -> None:
        """Interrupt the scanner's query. From any thread, at any time before `close`."""
        connection = self._scanner.open
        if connection is not None:
            with suppress(sqlite3.ProgrammingError):  # it has just been closed
                connection.interrupt()

    # --- reading ------------------------------------------------------------------------------------------------------

    def find(self, logins: Sequence[str]) -> list[UserInfo | BackendError | None]:
        """For each of `logins` the user, None if there is no such user, or the failure."""
        return [self._find_one(login) for login in logins]

    def _find_one(self, login: str) -> UserInfo | BackendError | None:
        try:
            with self._finder.use() as connection:
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
            with self._scanner.use() as connection:
                yield connection
        except (sqlite3.Error, ValueError) as error:
            raise failure(error) from error

    # --- writing ------------------------------------------------------------------------------------------------------

    def commit(self, puts: Sequence[Put]) -> list[UserInfo | BackendError]:
        """Set statuses, in this order, in one transaction. For each the user's new status, or the failure.

        If the transaction fails because of one status, each half is tried by itself, and so on: one bad status among 64
        costs a dozen transactions, but the other 63 are set.
        """
        with self._writer.lock:
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
        connection = self._to_write()
        with transaction(connection):
            return writing.put(connection, puts, self._now(), self._retention)

    def trim_history(self, after: int, count: int) -> int | None:
        """Trim the history of the next `count` users after the id `after`. Returns the last id; None: no more users.

        Raises:
            BackendError: the transaction failed; nothing was deleted.
        """
        try:
            with self._writer.lock:
                connection = self._to_write()
                with transaction(connection):
                    users = writing.user_ids_after(connection, after, count)
                    for user in users:
                        writing.trim(connection, user, self._now(), self._retention)
                return users[-1] if len(users) == count else None
        except sqlite3.Error as error:
            raise failure(error) from error

    def _to_write(self) -> sqlite3.Connection:
        """The writer's connection to the file that is at the path now. The caller holds the writer's lock."""
        if files.identity(self._path) != self._file or self._writer.open is None:
            self._repair()
        if self._writer.open is None:
            raise BackendError("The database is read-only")
        return self._writer.open

    def _repair(self) -> None:
        """Open the file that is at the path now, for writing if that is permitted by now."""
        if files.identity(self._path) != self._file:
            self._follow()
        if self._writer.open is None and files.is_writable(self._path):
            self._reattach()
        if files.identity(self._path) != self._file:
            raise BackendError("The database is not in its place")

    # --- other programs -----------------------------------------------------------------------------------------------

    def poll(self) -> bool:
        """Whether other programs have written or replaced the file since the last poll. Never raises."""
        with self._writer.lock:
            try:
                if files.identity(self._path) != self._file:
                    self._follow()
                elif self._frozen is not None and self._frozen != _state(self._path):
                    self._reattach()
                    self._replaced = True
                self._check_staleness()
                version = self._data_version()
            except (sqlite3.Error, BackendError, OSError) as error:
                self._log_problem(f"the database cannot be read: {error}")
                return False
            changed = self._replaced or version != self._version
            self._replaced, self._version = False, version
            return changed

    def stale_since(self) -> datetime | None:
        """When the store noticed that the file is not in its place, so that answers may be old; None: it is."""
        return self._stale_since

    def _check_staleness(self) -> None:
        if files.identity(self._path) != self._file:
            self._stale_since = self._stale_since or from_microseconds(self._now())
        elif self._stale_since is not None:
            self._stale_since = None
            if self._problem:  # the same file is back
                self._log_problem("the database is in its place again")
                self._problem = ""

    def _data_version(self) -> int:
        """Changes when another program commits. Asked of the writer, for which our own commits do not count."""
        if self._writer.open is not None:
            return _one(self._writer.open, "PRAGMA data_version")
        with self._scanner.use() as connection:
            return _one(connection, "PRAGMA data_version")

    def _follow(self) -> None:
        """Open the file that is at the path now, if it is usable. The caller holds the writer's lock."""
        if files.identity(self._path) is None:
            self._log_problem(
                "the database is gone; serving its last content, as stale, refusing sets; put the file back"
            )
            return
        try:
            _check_replacement(self._path)
        except (ValueError, OSError, sqlite3.Error) as error:
            self._log_problem(
                f"the database was replaced by an unusable file; serving the old one, as stale, refusing sets: {error}"
            )
            return
        self._reattach()
        self._replaced = True

    def _reattach(self) -> None:
        self.interrupt()
        with self._finder.lock, self._scanner.lock:
            for connection in (self._finder, self._scanner, self._writer):
                connection.close()
            if files.identity(self._path) != self._file:
                for companion, known in self._companions.items():
                    if known is not None and files.identity(companion) == known:
                        companion.unlink()
            try:
                self._attach()
            except (ValueError, OSError, sqlite3.Error) as error:
                self._file = None  # tried again at the next poll
                self._log_problem(f"the database cannot be opened: {error}")

    def _attach(self) -> None:
        """Open the three connections. The file has been checked to be ours, or is empty."""
        path = self._path
        if files.is_writable(path):
            self._writer.open = open_to_write(path)
        elif check(path) != len(schema.MIGRATIONS):
            raise PermissionError(f"{path} must be migrated to the version of this program, but may not be written")
        # Without -wal and without permission to create it, no program is writing: read the file alone, without locks.
        frozen = self._writer.open is None and not files.companion(path, "-wal").exists()
        self._frozen = _state(path) if frozen else None
        for reader in (self._finder, self._scanner):
            reader.open = connect(path, "immutable" if frozen else "ro")
            _one(reader.open, "SELECT count(*) FROM sqlite_master")
        self._file = files.identity(path)
        self._companions = {
            name: files.identity(name) for name in (files.companion(path, "-wal"), files.companion(path, "-shm"))
        }
        self._version = self._data_version() if self._writer.open is not None else None
        if self._writer.open is None:
            self._log_problem("the database may not be written; serving it read-only, refusing sets")
        elif self._problem:
            self._log_problem("the database is usable again")
            self._problem = ""

    def _log_problem(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            _log.warning("%s: %s", self._path, problem)


def _check_replacement(path: Path) -> None:
    """Raise ValueError or sqlite3.Error if the file that replaced another one is not usable."""
    if check(path, alone=True) == 0:
        raise ValueError(f"{path} is empty")


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _one(connection: sqlite3.Connection, query: str) -> int:
    (value,) = connection.execute(query).fetchone()
    return int(value)
