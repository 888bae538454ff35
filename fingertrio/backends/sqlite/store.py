"""The open database, for threads: reading, committing together, and noticing what others do to the file.

Three connections, each for one thread at a time. One writes. One answers questions for single users, each a few pages
of a tree. One goes through many rows (the list, a history) and can be interrupted. None waits for another: in the
write-ahead log readers see the last commit whatever the writer is doing.

Every method here may block, on a disk or on a lock, and so belongs into a thread; nothing here knows trio.

Which file it is. The path may come to lead to another file while we run: a backup was put in its place. What we
committed to the old one then would be lost, so each transaction looks first (2 us). The new file is opened once it has
shown to be ours and whole; until then readers go on with the old one, and sets fail. What SQLite left beside the old
one (-wal, -shm) is removed first: it would be applied to the new one.
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
    """One connection and the lock of the thread that uses it."""

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
    """Made by `SQLiteStore.open`."""

    def __init__(self, path: Path, retention: Retention, now: Callable[[], int]) -> None:
        self._path = path
        self._retention = retention
        self._now = now
        self._writer = _Connection()
        self._finder = _Connection()
        self._scanner = _Connection()
        self._file: files.Identity | None = None
        self._companions: dict[Path, files.Identity | None] = {}
        self._frozen: tuple[int, int] | None = None  # opened as immutable, in this state
        self._version: int | None = None  # counts what others committed
        self._replaced = False  # the file was, since the last look
        self._trouble = ""  # that was logged last
        self._stale_since: datetime | None = None  # since when the file was not in its place, as far as was looked

    @classmethod
    def open(cls, path: Path, retention: Retention, now: Callable[[], int]) -> SQLiteStore:
        """Open the database at `path`, which is made if it is missing and led to our version if it is older.

        Raises:
            ValueError: it is damaged, another program's, or a later version's; it stays as it is.
            OSError: it cannot be made or read, or others keep it locked.
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
    def keeps_for_ever(self) -> bool:
        """Whether history is never forgotten for its age."""
        return self._retention.days is None

    def close(self) -> None:
        """Close what is open. The last one to close the database puts the log of writes back into it."""
        for connection in (self._finder, self._scanner, self._writer):
            with connection.lock:
                connection.close()

    def interrupt(self) -> None:
        """Let the list or the history that is being read fail soon. From any thread, at any time before `close`."""
        connection = self._scanner.open
        if connection is not None:
            with suppress(sqlite3.ProgrammingError):  # it was closed this very moment
                connection.interrupt()

    # --- reading ------------------------------------------------------------------------------------------------------

    def find(self, logins: Sequence[str]) -> list[UserInfo | BackendError | None]:
        """For each of `logins` what is known, or why it cannot be told."""
        return [self._find_one(login) for login in logins]

    def _find_one(self, login: str) -> UserInfo | BackendError | None:
        try:
            with self._finder.use() as connection:
                return rows.find(connection, login, self._now())
        except Exception as error:  # noqa: BLE001 -- it is the answer to this question, and no other's
            return failure(error)

    def logins(self) -> list[str]:
        """Everybody who has a status now. Raises BackendError."""
        with self._scanning() as connection:
            return rows.logins(connection, self._now())

    def history(self, login: str, limit: int, before: int | None) -> list[UserInfo]:
        """What `login` said. Raises BackendError."""
        with self._scanning() as connection:
            return rows.history(connection, login, limit, before, self._now(), self._retention)

    def expiries(self, after: int) -> tuple[list[str], int, int | None]:
        """Whose status ended later than `after`, up to now; now; and when the next one will. Raises BackendError."""
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
        """Set statuses, in this order, in one transaction. For each what holds now, or why it was not set.

        If the transaction fails by one of them, each half is tried by itself, and so on: one bad record among 64 costs
        a dozen transactions, and no neighbour.
        """
        with self._writer.lock:
            return self._commit(puts)

    def _commit(self, puts: Sequence[Put]) -> list[UserInfo | BackendError]:
        try:
            return list(self._commit_together(puts))
        except Exception as error:  # noqa: BLE001 -- it is the answer to those who set, and the writer lives on
            if len(puts) == 1 or isinstance(error, BackendError) or concerns_all(error):
                return [failure(error) for _ in puts]
            half = len(puts) // 2
            return [*self._commit(puts[:half]), *self._commit(puts[half:])]

    def _commit_together(self, puts: Sequence[Put]) -> list[UserInfo]:
        connection = self._to_write()
        with transaction(connection):
            return writing.put(connection, puts, self._now(), self._retention)

    def forget(self, after: int, count: int) -> int | None:
        """Trim the history of the next `count` users, by id, after the user `after`; the last one's id, None: all done.

        Raises:
            BackendError: it failed; nothing of this portion was done.
        """
        try:
            with self._writer.lock:
                connection = self._to_write()
                with transaction(connection):
                    users = writing.users_after(connection, after, count)
                    for user in users:
                        writing.trim(connection, user, self._now(), self._retention)
                return users[-1] if len(users) == count else None
        except sqlite3.Error as error:
            raise failure(error) from error

    def _to_write(self) -> sqlite3.Connection:
        """The connection that writes, to the file that is at the path now. The writer's lock is held."""
        if files.identity(self._path) != self._file or self._writer.open is None:
            self._mend()
        if self._writer.open is None:
            raise BackendError("The database is read-only")
        return self._writer.open

    def _mend(self) -> None:
        """Have the file that is at the path now, and write to it if it may be written by now."""
        if files.identity(self._path) != self._file:
            self._follow()
        if self._writer.open is None and files.is_writable(self._path):
            self._reattach()
        if files.identity(self._path) != self._file:
            raise BackendError("The database is not in its place")

    # --- others -------------------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """Whether others have written, or have put another file in place, since the last look. Never raises."""
        with self._writer.lock:
            try:
                if files.identity(self._path) != self._file:
                    self._follow()
                elif self._frozen is not None and self._frozen != _state(self._path):
                    self._reattach()
                    self._replaced = True
                self._look_whether_it_is_in_place()
                version = self._data_version()
            except (sqlite3.Error, BackendError, OSError) as error:
                self._say(f"it cannot be read: {error}")
                return False
            news = self._replaced or version != self._version
            self._replaced, self._version = False, version
            return news

    def stale_since(self) -> datetime | None:
        """Since when, as far as was looked, the file is not in its place, and answers are of before; None: it is."""
        return self._stale_since

    def _look_whether_it_is_in_place(self) -> None:
        if files.identity(self._path) != self._file:
            self._stale_since = self._stale_since or from_microseconds(self._now())
        elif self._stale_since is not None:
            self._stale_since = None
            if self._trouble:  # the same file has come back
                self._say("it is in its place again")
                self._trouble = ""

    def _data_version(self) -> int:
        """A number that changes when others commit; of the writer, so that our own commits do not count."""
        if self._writer.open is not None:
            return _one(self._writer.open, "PRAGMA data_version")
        with self._scanner.use() as connection:
            return _one(connection, "PRAGMA data_version")

    def _follow(self) -> None:
        """Open the file that is at the path now, if it can serve. The writer's lock is held."""
        if files.identity(self._path) is None:
            self._say("it is gone; what it said is served, stale, and nothing can be set")
            return
        try:
            _require_ours(self._path)
        except (ValueError, OSError, sqlite3.Error) as error:
            self._say(f"another file is in its place, which cannot serve: {error}. What was there before is, stale")
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
                self._file = None  # tried again at the next look
                self._say(f"it cannot be opened: {error}")

    def _attach(self) -> None:
        """Open the three connections to the file, which was found to be ours or is empty."""
        path = self._path
        if files.is_writable(path):
            self._writer.open = open_to_write(path)
        elif check(path) != len(schema.MIGRATIONS):
            raise PermissionError(f"{path} may not be written, and is not of this program's version")
        # Where nobody can make -shm, nobody who writes is there, and the file alone is what there is to read.
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
            self._say("it may not be written; statuses are shown and cannot be set")
        elif self._trouble:
            self._say("it is in use")
            self._trouble = ""

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            _log.warning("%s: %s", self._path, trouble)


def _require_ours(path: Path) -> None:
    """Raise ValueError or sqlite3.Error unless the file, which was put in place of another, can serve."""
    if check(path, alone=True) == 0:
        raise ValueError(f"{path} is empty")


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _one(connection: sqlite3.Connection, query: str) -> int:
    (value,) = connection.execute(query).fetchone()
    return int(value)
