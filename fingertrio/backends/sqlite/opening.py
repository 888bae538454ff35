"""Opening a database, for a server as for the command line: looked at first, then led to our version, durable."""

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

# Seconds that a statement waits while another program writes. The service waits 5 s for an answer: those who queue
# behind a set that waited in vain get theirs in time, too.
BUSY_PATIENCE = 2.0

# Seconds that the command line waits for its turn beside a server that writes without a pause.
ADMIN_PATIENCE = 30.0

# Seconds between two tries to begin. SQLite waits longer and longer, up to 0.1 s, and whoever commits one transaction
# after the other leaves but a gap of some 0.1 ms between them: this finds one soon, whichever side it is on.
_RETRY = 0.001

# Statements that a connection keeps compiled. What is written together is one statement for each size of a batch.
_STATEMENTS = 256

# Bytes to which the log of writes is cut back when a large import or restoration has made it grow.
_WAL_LIMIT = 16 * 1024 * 1024


def check(path: Path, *, alone: bool = False) -> int:
    """The version of the file at `path`, 0 for an empty one. Leaves every byte of it as it is.

    To open a database for writing, and to close it, can change it. So it is read only: by itself, or, where a log of
    writes was left or is in use beside it, together with that.

    Args:
        path: absolute.
        alone: read it by itself in any case, as whatever lies beside it is another file's.

    Raises:
        ValueError: it is no file, no database, damaged, another program's, or of a later version than ours.
        PermissionError: we may not read it, with whose it is and who we are.
        sqlite3.Error: it cannot be read for another reason.
    """
    if not path.is_file():  # a FIFO would make us wait for ever
        raise ValueError(f"{path} is no regular file")
    wal = files.companion(path, "-wal")
    together = not alone and wal.exists() and wal.stat().st_size > 0
    try:
        with closing(connect(path, "ro" if together else "immutable")) as connection:
            return schema.version_of(connection, path)
    except sqlite3.OperationalError as error:
        # SQLite says "unable to open database file", whatever the reason.
        reason = files.denied(path) if code_of(error) == sqlite3.SQLITE_CANTOPEN else None
        if reason is None:
            raise
        raise PermissionError(f"the database cannot be opened: {reason}") from error


def open_to_write(path: Path) -> sqlite3.Connection:
    """A connection that writes to the file, which `check` has found to be ours or empty, led to our version.

    Raises:
        ValueError, sqlite3.Error: it cannot be written; nothing of it was changed.
    """
    connection = connect(path, "rw")
    try:
        make_durable(connection)
        schema.migrate(connection, path)
        connection.execute("PRAGMA busy_timeout = 0")  # from now on `transaction` waits
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, patience: float | None = None) -> Iterator[None]:
    """Write: all that is done in this context, or nothing. Ends when it is on the disk.

    Waits for its turn up to `patience` seconds, by default BUSY_PATIENCE.
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
        if connection.in_transaction:  # a full disk, for one, may have ended it already
            connection.execute("ROLLBACK")


def connect(path: Path, mode: Literal["rw", "read", "ro", "immutable"]) -> sqlite3.Connection:
    """A connection to an existing file, for one thread at a time; transactions are begun by hand.

    Args:
        path: absolute.
        mode: "rw" falls back to reading where the file may not be written; the first write then fails. "read" is the
            same, and writes nothing but what SQLite does by itself: the last one to close a file puts its log back into
            it and tidies up. "ro" leaves that to others. "immutable" reads the file alone, with neither locks nor
            -wal: right where nobody can be writing.

    Raises:
        sqlite3.OperationalError: it cannot be opened. What is in the file shows when it is read.
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
    """Let writes go to the log (WAL), and each transaction be on the disk when it is committed."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":  # a file system without shared memory
        raise ValueError("the file system of the database cannot do what SQLite's write-ahead log needs")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
