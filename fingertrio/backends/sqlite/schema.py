"""The shape of the database, its version, and the way to it from every earlier version.

The file says itself whose it is (`application_id`) and of which version (`user_version`). Both are looked at before
anything is written, so that what is not ours, or is of a later program, stays as it is to the last byte. A migration is
one transaction: the file is of one version or of another, whenever the power fails.

Version 1. Statuses are a log: a row is added to its end and never changed, and it points at the one that the same user
had before. What a set writes are therefore the last page of the log and the page of the user, however many users set at
once; a table kept in the order of users, or an index of them, costs a page each, and with full durability every page is
a write to the disk that somebody waits for (measured: 17 us of CPU a set against 6.5).

- What holds now: the latest status while its `until` (if it has one) is ahead, otherwise the last one without `until`.
- When a past one ended is nowhere written; it follows from those after it (`rows.history`).
- Times are microseconds since 1970 (UTC). `since` grows along a user's statuses, whatever the clock did meanwhile.
- `details` is a JSON object of text by text, in the order in which it is shown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

APPLICATION_ID = int.from_bytes(b"FNGR", "big")  # at offset 68 of the file, where file(1) finds it too

# MIGRATIONS[n] leads from version n to n + 1; version 0 is an empty file. What has been released is never edited.
MIGRATIONS: Sequence[Sequence[str]] = (
    (
        """
        CREATE TABLE user (
            id INTEGER PRIMARY KEY,
            login TEXT NOT NULL UNIQUE CHECK (login <> ''),
            name TEXT,
            details TEXT NOT NULL DEFAULT '{}',
            kept INTEGER NOT NULL DEFAULT 0, -- statuses in the log; no more than that, perhaps fewer
            latest INTEGER REFERENCES status,
            lasting INTEGER REFERENCES status, -- the last one without until
            passing_until INTEGER -- until of the latest, if it has one
        )
        """,
        "CREATE INDEX user_passing ON user (passing_until) WHERE passing_until IS NOT NULL",
        """
        CREATE TABLE status (
            id INTEGER PRIMARY KEY,
            user INTEGER NOT NULL REFERENCES user,
            since INTEGER NOT NULL,
            until INTEGER,
            previous INTEGER REFERENCES status,
            text TEXT NOT NULL CHECK (text <> '') -- last: all else is read without the pages of a long one
        )
        """,
    ),
)


def version_of(connection: sqlite3.Connection, path: object, known: int = len(MIGRATIONS)) -> int:
    """The version of an open database; 0: there is nothing in it yet. Writes nothing.

    Raises:
        ValueError: it is not ours, or of a later version than `known`, or no database, or damaged.
    """
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise ValueError(f"{path} is no SQLite database; it stays as it is") from error
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CORRUPT:
            raise ValueError(f"{path} is damaged ({error}); it stays as it is") from error
        raise
    if application == 0 and version == 0 and objects == 0:
        return 0
    if application != APPLICATION_ID:
        raise ValueError(f"{path} is the database of another program; it stays as it is")
    if not 1 <= version <= known:
        raise ValueError(
            f"{path} is of version {version}, written by a later fingertrio; this one knows version {known}. "
            "It stays as it is"
        )
    return int(version)


def migrate(connection: sqlite3.Connection, path: object, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Lead the database to the last version, in one transaction, or leave it as it was.

    Raises:
        ValueError: as `version_of`.
        sqlite3.Error: it cannot be written.
    """
    if version_of(connection, path, len(migrations)) == len(migrations):
        return  # without waiting for a lock that somebody who writes may hold
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Looked at again, now that nobody else can do the same.
        for statements in migrations[version_of(connection, path, len(migrations)) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
