"""Keeping the write-ahead log recoverable while its -wal or -shm is removed, replaced or damaged; wal.py detects that.

Each transaction is preceded and followed by a check; only then is it acknowledged.

- The -wal was removed or replaced: SQLite still has the real log open. All of it is written to the database file, and a
  new log is started. This is impossible while another program has the database open: then sets fail until that program
  has closed it.
- The -shm was removed or replaced: it only holds an index of the log and the locks. All connections are opened again.
- The -wal was damaged: what the damage made unreadable is lost. The log is cut before the damage, as recovery after a
  crash would do, and a copy of the damaged log is kept. Sets go on with a new log.

To make such a loss small, the log is written to the database file as soon as no set came for one poll, and every few
seconds while sets keep coming.

Nothing here uses trio, and every method may block.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fingertrio.backend import BackendError
from fingertrio.backends.sqlite.connections import Connections, query_number
from fingertrio.backends.sqlite.failures import code_of
from fingertrio.backends.sqlite.opening import transaction
from fingertrio.backends.sqlite.wal import LogWatch, Position

# Seconds after which the log is written to the database file although sets keep coming.
_CHECKPOINT_INTERVAL = 5.0

_log = logging.getLogger(__name__)


class LogKeeper:
    """Keeps the log of one database, from `start` to `stop`. The caller of every method holds the writer's lock.

    Args:
        path: of the database.
        connections: to it.
        reopen: opens all connections after they were closed, and calls `start`; logs a failure. Locks are held.
        report: logs a lasting problem, once.
    """

    def __init__(
        self, path: Path, connections: Connections, reopen: Callable[[], None], report: Callable[[str], None]
    ) -> None:
        self._path = path
        self._connections = connections
        self._reopen = reopen
        self._report = report
        self._watch: LogWatch | None = None
        self._version: int | None = None  # PRAGMA data_version when the log was last checked
        self._polled: Position | None = None  # the last commit at the last poll
        self._checkpointed: Position | None = None  # up to here the log is in the database file
        self._checkpointed_at = 0.0  # on the monotonic clock
        self._checkpoint_failed = False  # and that was logged
        self.is_lost = False  # the -wal is not in place, and that could not be repaired
        self.was_cut = False  # statuses may have been lost since the last `poll`

    def start(self) -> None:
        """Watch the log of the writer, which has just been opened."""
        writer = self._connections.writer.open
        if writer is None:
            raise AssertionError("the writer is open")
        self._watch = LogWatch(self._path)
        self._version = query_number(writer, "PRAGMA data_version")
        self._polled = self._checkpointed = None
        self.is_lost = False

    def stop(self) -> None:
        """Stop watching; the writer is closed, or will be."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def check(self, patience: float | None = None) -> None:
        """Repair the log if it is not the one that SQLite writes.

        Args:
            patience: seconds to wait for another program that is writing; see `opening.transaction`.

        Raises:
            BackendError: the log cannot be repaired.
            sqlite3.Error: it cannot be checked, for example because another program is writing.
        """
        watch, writer = self._watch, self._connections.writer.open
        if watch is None or writer is None:
            return
        if (reason := watch.displacement()) is not None:
            if watch.wal_is_in_place:
                self._reopen_log(watch, reason)
            else:
                self._replace_log(watch, writer, reason)
        elif watch.was_modified:
            self._cut_if_damaged(watch, writer, patience)

    def is_committed(self) -> bool:
        """Whether the transaction that was just committed is in a log that can be recovered. If not, repeat it.

        Raises:
            BackendError: the log is not the one that SQLite writes. Whether the transaction will survive is unknown.
            sqlite3.Error: the same.
        """
        watch, writer = self._watch, self._connections.writer.open
        if watch is None or writer is None:
            raise AssertionError("a transaction was committed")
        if watch.update() and watch.position.frames:
            return True
        return not self._cut_if_damaged(watch, writer, is_missing=True)

    def checkpoint(self) -> None:
        """Write the log to the database file if it is time: everything that is there survives the loss of the log."""
        watch, writer = self._watch, self._connections.writer.open
        if watch is None or writer is None or watch.position == self._checkpointed:
            return
        is_idle, self._polled = watch.position == self._polled, watch.position
        if not is_idle and time.monotonic() < self._checkpointed_at + _CHECKPOINT_INTERVAL:
            return
        self._checkpointed_at = time.monotonic()
        # Damage within the same tick of the clock as a commit does not show in the time of the log. If there is time,
        # check every byte: damage must not get into the database.
        if is_idle and not watch.is_intact() and self._cut_if_damaged(watch, writer, 0.0):
            return
        try:
            busy, frames, done = writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:  # a full disk, for one; the log goes on growing
            if not self._checkpoint_failed:
                _log.warning("%s: writing the log to the database failed: %s", self._path, error)
            self._checkpoint_failed = True
            return
        self._checkpoint_failed = False
        if not busy and frames == done:
            self._checkpointed = watch.position

    # --- damage -------------------------------------------------------------------------------------------------------

    def _cut_if_damaged(
        self, watch: LogWatch, writer: sqlite3.Connection, patience: float | None = None, *, is_missing: bool = False
    ) -> bool:
        """Whether the log was damaged. If so, the readable part of it is in use now.

        Args:
            watch: of the log, which was modified.
            writer: the writer's connection.
            patience: see `check`.
            is_missing: our last commit is not in the log.
        """
        if self._has_new_version(writer):  # another program has committed
            watch.update()
            return False
        is_cut = False
        try:
            with transaction(writer, patience):  # now no other program is writing
                if self._has_new_version(writer) or not self._has_damage(watch, is_missing):
                    watch.update()
                    return False
                is_cut = self._cut(watch)
        except sqlite3.DatabaseError as error:
            if code_of(error) == sqlite3.SQLITE_BUSY:
                raise
            is_cut = is_cut or self._cut(watch)  # SQLite has read something damaged
        if not is_cut and self._was_emptied(writer):
            watch.update()
            return False
        _log.error(
            "%s: another program damaged %s; statuses since the last checkpoint, some seconds ago, may be lost; "
            "continuing with what is readable%s",
            self._path,
            watch.wal.name,
            f"; the damaged log is kept as {self._copy_of(watch).name}" if is_cut else "",
        )
        with self._connections.exclusive():
            self.stop()
            self._connections.close()
            self._reopen()
        self.was_cut = True
        if self._connections.writer.open is None:
            raise BackendError("The log of the database is damaged")
        return True

    def _has_new_version(self, writer: sqlite3.Connection) -> bool:
        before, self._version = self._version, query_number(writer, "PRAGMA data_version")
        return before != self._version

    def _has_damage(self, watch: LogWatch, is_missing: bool) -> bool:
        if is_missing or watch.is_empty:
            return True
        return self._checkpointed != watch.position and not watch.is_intact()

    def _was_emptied(self, writer: sqlite3.Connection) -> bool:
        """Whether the log is empty because another program has checkpointed it, which is not damage."""
        try:  # of an emptied log that SQLite expects to be full, nothing can be read, so nothing wrong is written
            _busy, frames, _done = writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:
            return False
        return bool(frames <= 0)

    def _cut(self, watch: LogWatch) -> bool:
        """Cut the log before the damage, so that SQLite cannot copy it into the database. False: the log is empty."""
        if watch.is_empty:
            return False
        copy = self._copy_of(watch)
        with suppress(OSError):
            copy.touch(mode=0o600)
            shutil.copyfile(watch.wal, copy)
        os.truncate(watch.wal, watch.recoverable_size())
        return True

    @staticmethod
    def _copy_of(watch: LogWatch) -> Path:
        return watch.wal.with_name(f"{watch.wal.name}.damaged")

    # --- displacement -------------------------------------------------------------------------------------------------

    def _reopen_log(self, watch: LogWatch, reason: str) -> None:
        """Open the database again, with the same -wal and with the -shm that is at the path now, or a new one."""
        with self._connections.exclusive():
            kept = watch.keep("kept")
            self.stop()
            self._connections.close()
            # Closing may have removed the log, since all that we know of it is in the database file by then. But
            # another program, which used the other -shm, may have added to it.
            if kept is not None and watch.wal.exists():
                kept.unlink()
            elif kept is not None:
                kept.replace(watch.wal)
            self._reopen()
        if self._connections.writer.open is None:
            raise BackendError("The database cannot be opened")
        _log.warning("%s: %s while in use; the database was opened again, and nothing is lost", self._path, reason)

    def _replace_log(self, watch: LogWatch, writer: sqlite3.Connection, reason: str) -> None:
        """Write the real log to the database file and start a new one, if no other program has the database open."""
        with self._connections.exclusive():
            self._share(writer)
            kept = watch.keep("replaced")
            try:
                # Leaving WAL writes the whole log to the file, but only if no other program has the database open.
                (mode,) = writer.execute("PRAGMA journal_mode = DELETE").fetchone()
                if mode != "delete":
                    raise sqlite3.OperationalError(f"the journal mode is still {mode}")
            except sqlite3.Error as error:
                if kept is not None:
                    kept.unlink(missing_ok=True)
                if watch.shm_is_in_place:  # the locks in it protect the other program
                    with suppress(sqlite3.Error):  # as much as possible should survive
                        writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
                self.is_lost = True
                self._report(f"{reason} while in use; refusing sets until no other program uses the database")
                raise BackendError("The log of the database is not in its place") from error
            self.stop()
            self._connections.close()
            self._reopen()
        if self._connections.writer.open is None:
            raise BackendError("The database cannot be opened")
        _log.warning("%s: %s while in use; nothing is lost, and a new log is in use", self._path, reason)

    def _share(self, writer: sqlite3.Connection) -> None:
        """Let readers use the writer's connection until there is a new log: a new one would open the wrong log."""
        for reader in (self._connections.finder, self._connections.scanner):
            if reader.open is not writer:
                reader.close()
            if sqlite3.threadsafety == 3:  # SQLite was compiled for one connection in several threads, as it usually is
                reader.open = writer
