"""Opening a database, for the server and for the command line: check, open for durable writing, migrate."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from fingertrio.backends.sqlite import files, schema
from fingertrio.backends.sqlite.failures import code_of

# Seconds to wait for the lock while another program writes. The service waits 5 s for an answer, so requests that queue
# behind a set that waited in vain are still answered in time.
BUSY_PATIENCE = 2.0

# Seconds that the command line waits for the lock beside a server that writes without a pause.
ADMIN_PATIENCE = 30.0

# Seconds between two attempts to get the lock. SQLite's own pauses grow to 0.1 s, but a program that commits without a
# pause leaves only gaps of about 0.1 ms: short pauses find a gap soon, for both programs.
_RETRY = 0.001

# Compiled statements kept by a connection. Writing uses one statement for each size of a batch.
_STATEMENTS = 256

# Bytes to which the write-ahead log is truncated after a large import or restore has made it grow.
_WAL_LIMIT = 16 * 1024 * 1024


def check(path: Path, *, alone: bool = False) -> int:
    """The version of the file at `path`, 0 for an empty file. Does not change the file.

    Opening a database for writing, and closing it, may change the file. So it is opened for reading: together with its
    write-ahead log if there is one with content, otherwise without.

    Args:
        path: absolute.
        alone: read it without the log in any case, because the log beside it belongs to another file.

    Raises:
        ValueError: not a regular file, not a database, damaged, another program's, or of a later version.
        PermissionError: this process may not read it; the message names the owner of the file and of this process.
        sqlite3.Error: it cannot be read for another reason.
    """
    if not path.is_file():  # opening a FIFO would block for ever
        raise ValueError(f"{path} is not a regular file")
    wal = files.companion(path, "-wal")
    together = not alone and wal.exists() and wal.stat().st_size > 0
    try:
        with closing(connect(path, "ro" if together else "immutable")) as connection:
            return schema.version_of(connection, path)
    except sqlite3.OperationalError as error:
        # SQLite's message is always "unable to open database file".
        reason = files.missing_permission(path) if code_of(error) == sqlite3.SQLITE_CANTOPEN else None
        if reason is None:
            raise
        raise PermissionError(f"the database cannot be opened: {reason}") from error


def open_to_write(path: Path) -> sqlite3.Connection:
    """A connection for writing to a file that `check` accepted, migrated to the current version.

    Raises:
        ValueError, sqlite3.Error: the file cannot be written; it is unchanged.
    """
    connection = connect(path, "rw")
    try:
        make_durable(connection)
        if schema.migrate(connection, path):
            # Into the file at once: while the tables are in the log alone, losing the log would lose the database.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA busy_timeout = 0")  # from now on `transaction` waits
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, patience: float | None = None) -> Iterator[None]:
    """A write transaction around the context: committed and on the disk at its end, rolled back on an exception.

    Waits for the lock up to `patience` seconds, by default BUSY_PATIENCE.
    """
    deadline = time.monotonic() + (BUSY_PATIENCE if patience is None else patience)
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(_RETRY)
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:  # an error, such as a full disk, may have ended it already
            connection.execute("ROLLBACK")


def connect(path: Path, mode: Literal["rw", "read", "ro", "immutable"]) -> sqlite3.Connection:
    """A connection to an existing file, for one thread at a time, without implicit transactions.

    Args:
        path: absolute.
        mode: "rw": read and write; if the file may not be written, the first write fails. "read": the same, but writes
            nothing except SQLite's own clean-up (the last connection to close checkpoints the log and removes it).
            "ro": read without that clean-up. "immutable": read the file without locks and without -wal; only correct if
            no program can be writing.

    Raises:
        sqlite3.OperationalError: the file cannot be opened. Its content is only checked when it is read.
    """
    options = {"rw": "mode=rw", "read": "mode=rw", "ro": "mode=ro", "immutable": "mode=ro&immutable=1"}[mode]
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?{options}",
        uri=True,
        timeout=BUSY_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS,
    )
    if mode != "rw":
        connection.execute("PRAGMA query_only = ON")
    return connection


def make_durable(connection: sqlite3.Connection) -> None:
    """Switch on the write-ahead log (WAL), with an fsync for each commit."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":  # for example a file system without shared memory
        raise ValueError("the file system does not support SQLite's write-ahead log; put the database on a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
