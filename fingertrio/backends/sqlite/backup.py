"""Copies of the whole file, made and put back while it is being served."""

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

# Pages (4 KiB each) copied between two reports of progress.
_PAGES = 256

Progress = Callable[[int, int], None]  # pages done, pages in all


def _silent(_done: int, _total: int) -> None:
    """Tells nobody."""


def back_up(path: Path, target: Path, *, force: bool = False, progress: Progress = _silent) -> None:
    """Copy the database at `path`, as it is at one moment, to `target`: a single file, checked, for its owner alone.

    The file appears at `target` when it is whole and on the disk, or not at all. Writers do not wait meanwhile; their
    log grows until the copy is made.

    Raises:
        FileExistsError: `target` is there already, and `force` is not given.
        ValueError: `target` is the database itself, or that is damaged, or none of ours.
        OSError, sqlite3.Error: it cannot be read or written.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    if target.exists():
        if target.samefile(path):
            raise ValueError(f"{target} is the database itself")
        if not force:
            raise FileExistsError(f"{target} is there already")
    if check(path) == 0:
        raise ValueError(f"{path} is empty")
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
    os.close(descriptor)
    copy = Path(name)
    try:
        with closing(connect(path, "read")) as source, closing(sqlite3.connect(copy, isolation_level=None)) as made:
            # One moment: without a transaction around it, the copy would begin anew with every commit.
            source.execute("BEGIN")
            _copy(source, made, progress)
            made.execute("PRAGMA journal_mode = DELETE")  # it comes as WAL; a file that is stored should need no other
            _require_sound(made, path)
        _sync(copy)
        copy.replace(target)
        files.sync_directory(target.parent)
    except BaseException:
        for leftover in (copy, files.companion(copy, "-wal"), files.companion(copy, "-shm")):
            leftover.unlink(missing_ok=True)
        raise


def restore(path: Path, source: Path, *, progress: Progress = _silent) -> None:
    """Let the database at `path` say what the backup `source` says, in one transaction.

    A server that has it open answers from what was there until the end of it, and refuses sets for as long.

    Raises:
        ValueError: the backup is damaged, none of ours, or of another version than ours.
        OSError, sqlite3.Error: it cannot be read or written; the database is as it was.
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
            else f"{source} is of version {version}: stop the server, put it in place of {path}, and start"
        )
    if path.exists():
        check(path)
    else:
        files.make(path)
    with closing(connect(source, "read")) as backup, closing(open_to_write(path)) as database:
        backup.execute("BEGIN")
        _require_sound(backup, source)
        _copy(backup, database, progress)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, progress: Progress) -> None:
    deadline = time.monotonic() + opening.ADMIN_PATIENCE

    def step(status: int, remaining: int, total: int) -> None:
        if status not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            progress(total - remaining, total)
        elif time.monotonic() >= deadline:  # it would be tried for ever
            raise OSError("the database is busy; another program is writing to it")

    source.backup(target, pages=_PAGES, progress=step, sleep=0.001)


def _require_sound(connection: sqlite3.Connection, path: Path) -> None:
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
