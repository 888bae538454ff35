"""Backup and restore of the whole database, while the server uses it."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from fingertrio.backends.sqlite import files, opening, schema
from fingertrio.backends.sqlite.opening import check, connect, open_to_write

# Pages (4 KiB each) copied between two progress reports.
_PAGES = 256

Progress = Callable[[int, int], None]  # pages done, total pages


def _no_progress(_done: int, _total: int) -> None:
    """Report nothing."""


def back_up(path: Path, target: Path, *, force: bool = False, progress: Progress = _no_progress) -> None:
    """Copy a snapshot of the database at `path` to `target`: a single checked file, mode 0600.

    The file appears at `target` when it is complete and on the disk, or not at all. Writers do not wait for the backup;
    the write-ahead log grows until the copy is complete.

    Raises:
        FileExistsError: `target` exists and `force` is not given.
        ValueError: `target` is the database itself, or the database is damaged or not ours.
        OSError, sqlite3.Error: reading or writing failed.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    if target.exists():
        if target.samefile(path):
            raise ValueError(f"{target} is the database itself")
        if not force:
            raise FileExistsError(f"{target} exists already")
    if check(path) == 0:
        raise ValueError(f"{path} is empty")
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
    os.close(descriptor)
    copy = Path(name)
    try:
        with closing(connect(path, "read")) as source, closing(sqlite3.connect(copy, isolation_level=None)) as made:
            # One transaction, or every commit of the server would restart the copy.
            source.execute("BEGIN")
            _copy(source, made, progress)
            made.execute("PRAGMA journal_mode = DELETE")  # not WAL: a backup should not need a second file
            _check_integrity(made, path)
        _sync(copy)
        copy.replace(target)
        files.sync_directory(target.parent)
    except BaseException:
        for leftover in (copy, files.companion(copy, "-wal"), files.companion(copy, "-shm")):
            leftover.unlink(missing_ok=True)
        raise


def restore(path: Path, source: Path, *, progress: Progress = _no_progress) -> None:
    """Replace the content of the database at `path` by that of the backup `source`, in one transaction.

    Until it ends, a running server answers with the old content and refuses sets.

    Raises:
        ValueError: the backup is damaged, not ours, or of another version.
        OSError, sqlite3.Error: reading or writing failed; the database is unchanged.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source}: there is no such file")
    if path.exists() and path.samefile(source):
        raise ValueError(f"{source} is the database itself")
    version = check(source)
    if version != len(schema.MIGRATIONS):
        raise ValueError(
            f"{source} is empty"
            if version == 0
            else f"{source} has version {version}: stop the server, move the backup to {path}, and start the server"
        )
    if path.exists():
        check(path)
    else:
        files.make(path)
    with closing(connect(source, "read")) as backup, closing(open_to_write(path)) as database:
        backup.execute("BEGIN")
        _check_integrity(backup, source)
        _copy(backup, database, progress)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, progress: Progress) -> None:
    deadline = time.monotonic() + opening.ADMIN_PATIENCE

    def step(status: int, remaining: int, total: int) -> None:
        if status not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            progress(total - remaining, total)
        elif time.monotonic() >= deadline:  # SQLite itself would retry for ever
            raise OSError("the database is busy: another program is writing to it; try again later")

    source.backup(target, pages=_PAGES, progress=step, sleep=0.001)


def _check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise ValueError(f"{path} is damaged: {found}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        with suppress(OSError):
            os.close(descriptor)
