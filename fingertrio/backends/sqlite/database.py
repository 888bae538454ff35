"""The database file, which may be replaced while the server runs.

Another file may be moved to the path, such as a backup. Commits to the old file would then be lost, so each transaction
first compares the identity of the file (2 us). The new file is opened after it was checked to be ours and undamaged;
until then readers use the old file, and sets fail. The -wal and -shm of the old file are removed first, because SQLite
would apply them to the new file.

Nothing here uses trio, and every method may block.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from fingertrio.backend import BackendError
from fingertrio.backends.sqlite import files, schema
from fingertrio.backends.sqlite.connections import Connections, query_number
from fingertrio.backends.sqlite.failures import code_of
from fingertrio.backends.sqlite.log import LogKeeper
from fingertrio.backends.sqlite.opening import check, connect, open_to_write
from fingertrio.wire.times import from_microseconds

_log = logging.getLogger(__name__)


class Database:
    """Opened by `attach`. The caller of every method holds the writer's lock.

    Attributes:
        connections: to the file.
        stale_since: when it was noticed that answers may be old; None: they are not.
    """

    def __init__(self, path: Path, now: Callable[[], int]) -> None:
        self._path = path
        self._now = now
        self.connections = Connections()
        self.stale_since: datetime | None = None
        self._keeper = LogKeeper(path, self.connections, self._attach_or_log, self._log_problem)
        self._file: files.Identity | None = None
        self._companions: dict[Path, files.Identity | None] = {}
        self._frozen: tuple[int, int] | None = None  # the state of the file when it was opened as immutable
        self._version: int | None = None  # PRAGMA data_version at the last poll: another program's commit changes it
        self._replaced = False  # the file was replaced since the last poll
        self._problem = ""  # the last problem that was logged

    def close(self) -> None:
        """Close all connections. The last connection to a database checkpoints its log and removes it."""
        if files.identity(self._path) == self._file:
            with suppress(sqlite3.Error, BackendError, OSError):
                self._keeper.check(patience=0.0)  # a damaged log must not be copied into the database
        with self.connections.finder.lock, self.connections.scanner.lock:
            self._close()

    # --- writing ------------------------------------------------------------------------------------------------------

    def to_write(self) -> sqlite3.Connection:
        """The writer's connection, to the file that is at the path now, with a log that can be recovered.

        Raises:
            BackendError: there is none.
        """
        if files.identity(self._path) != self._file or self.connections.writer.open is None:
            self._reopen()
        self._keeper.check()
        if self.connections.writer.open is None:
            raise BackendError("The database is read-only")
        return self.connections.writer.open

    def is_committed(self) -> bool:
        """Whether the transaction that was just committed can be recovered; if not, repeat it. See `LogKeeper`."""
        return self._keeper.is_committed()

    def _reopen(self) -> None:
        """Open the file that is at the path now, for writing if that is permitted by now."""
        if files.identity(self._path) != self._file:
            self._follow()
        if self.connections.writer.open is None and files.is_writable(self._path):
            self._reattach()
        if files.identity(self._path) != self._file:
            raise BackendError("The database is not in its place")

    # --- other programs -----------------------------------------------------------------------------------------------

    def poll(self) -> bool:
        """Whether other programs have written or replaced the file since the last poll. Never raises."""
        try:
            if files.identity(self._path) != self._file:
                self._follow()
            elif self._frozen is not None and self._frozen != _state(self._path):
                self._reattach()
                self._replaced = True
            else:
                self._poll_log()
            version = self._data_version()
        except (sqlite3.Error, BackendError, OSError) as error:
            if not self._keeper.is_lost:
                self._log_problem(f"the database cannot be read: {error}")
            return False
        finally:
            self._update_staleness()
        changed = self._replaced or self._keeper.was_cut or version != self._version
        self._replaced = self._keeper.was_cut = False
        self._version = version
        return changed

    def _poll_log(self) -> None:
        try:
            self._keeper.check(patience=0.0)
            self._keeper.checkpoint()
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_BUSY:  # another program is writing; the next poll will do
                raise

    def _update_staleness(self) -> None:
        if files.identity(self._path) != self._file or self._keeper.is_lost:
            self.stale_since = self.stale_since or from_microseconds(self._now())
        elif self.stale_since is not None:
            self.stale_since = None
            if self._problem:  # the same file is back
                self._log_problem("the database is in its place again")
                self._problem = ""

    def _data_version(self) -> int:
        """Changes when another program commits. Asked of the writer, for which our own commits do not count."""
        if self.connections.writer.open is not None:
            return query_number(self.connections.writer.open, "PRAGMA data_version")
        with self.connections.scanner.use() as connection:
            return query_number(connection, "PRAGMA data_version")

    def _follow(self) -> None:
        """Open the file that is at the path now, if it is usable."""
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

    # --- opening ------------------------------------------------------------------------------------------------------

    def _reattach(self) -> None:
        with self.connections.exclusive():
            self._close()
            if self._file is not None and files.identity(self._path) != self._file:
                for companion, known in self._companions.items():
                    if known is not None and files.identity(companion) == known:
                        companion.unlink()
            self._attach_or_log()

    def _close(self) -> None:
        self._keeper.stop()
        self.connections.close()

    def _attach_or_log(self) -> None:
        try:
            self.attach()
        except (ValueError, OSError, sqlite3.Error) as error:
            self._file = None  # tried again at the next poll
            self._log_problem(f"the database cannot be opened: {error}")

    def attach(self) -> None:
        """Open the three connections. The file has been checked to be ours, or is empty."""
        path = self._path
        if files.is_writable(path):
            self.connections.writer.open = open_to_write(path)
        elif check(path) != len(schema.MIGRATIONS):
            raise PermissionError(f"{path} must be migrated to the version of this program, but may not be written")
        # Without -wal and without permission to create it, no program is writing: read the file alone, without locks.
        frozen = self.connections.writer.open is None and not files.companion(path, "-wal").exists()
        self._frozen = _state(path) if frozen else None
        for reader in (self.connections.finder, self.connections.scanner):
            reader.open = connect(path, "immutable" if frozen else "ro")
            query_number(reader.open, "SELECT count(*) FROM sqlite_master")
        self._file = files.identity(path)
        self._companions = {
            name: files.identity(name) for name in (files.companion(path, "-wal"), files.companion(path, "-shm"))
        }
        if self.connections.writer.open is not None:
            self._version = self._data_version()
            self._keeper.start()
        else:
            self._version = None
            self._log_problem("the database may not be written; serving it read-only, refusing sets")
        if self.connections.writer.open is not None and self._problem:
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
