"""The tables of the database, its version, and the migrations from earlier versions.

The file states its program (`application_id`) and its version (`user_version`). Both are checked before anything is
written, so a file of another program or of a later version is not changed by a single byte. All migrations together are
one transaction: after a power failure the file has the old version or the new one.

Version 1. The table `status` is a log: rows are added at its end and not changed, and each points to the previous row
of the same user. So a set writes the last page of the log and the page of the user, however many users set at once.
Keeping the rows in the order of users, or an index for that, costs one more page for each set, and with full durability
a client waits for every page that is written (measured: 17 us of CPU for each set, against 6.5).

- The status that holds now is the latest one, until its `until` if it has one; then the last one without `until`.
- The end of a past status is not stored; it follows from the later ones (`rows.history`).
- Times are microseconds since 1970 (UTC). Along the statuses of a user `since` grows, even if the clock is set back.
- `details` is a JSON object from text to text, in the order in which details are shown.

Version 2 adds the place of each user among the recent statuses, so that a page of them reads the rows of that page and
no others. Which status holds depends on the time, and an index cannot: so the place is stored with its end, and a
server moves the user when that has come. Queries correct what no server has moved yet (`rows.recent`). The index costs
each set one more page to write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

APPLICATION_ID = int.from_bytes(b"FNGR", "big")  # at offset 68 of the file, where file(1) finds it

# MIGRATIONS[n] leads from version n to n + 1; version 0 is an empty file. A released migration is never edited.
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
    (
        # Minus the `since` of the status that is shown, so that the newest comes first and equal times go by name.
        # NULL: there is none, or it was cleared.
        "ALTER TABLE user ADD COLUMN recency INTEGER",
        "ALTER TABLE user ADD COLUMN recency_until INTEGER",  # its `until`
        """
        UPDATE user SET recency_until = passing_until,
            recency = (SELECT -status.since FROM status WHERE status.id = user.latest AND status.text <> char(10))
        """,
        "CREATE INDEX user_recency ON user (recency, login) WHERE recency IS NOT NULL",
        "CREATE INDEX user_recency_until ON user (recency_until) WHERE recency_until IS NOT NULL",
    ),
)


def version_of(connection: sqlite3.Connection, path: object, known: int = len(MIGRATIONS)) -> int:
    """The version of an open database; 0: the database is empty. Writes nothing.

    Raises:
        ValueError: not a database, another program's, of a later version than `known`, or damaged.
    """
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise ValueError(f"{path} is not a SQLite database; it was not changed") from error
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CORRUPT:
            raise ValueError(f"{path} is damaged ({error}); it was not changed") from error
        raise
    if application == 0 and version == 0 and objects == 0:
        return 0
    if application != APPLICATION_ID:
        raise ValueError(f"{path} is the database of another program; it was not changed")
    if not 1 <= version <= known:
        raise ValueError(
            f"{path} has version {version}, of a later fingertrio; this one supports version {known}. "
            "It was not changed"
        )
    return int(version)


def migrate(connection: sqlite3.Connection, path: object, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> bool:
    """Migrate the database to the last version, in one transaction. Returns whether that was necessary.

    Raises:
        ValueError: as `version_of`.
        sqlite3.Error: the database cannot be written; it is unchanged.
    """
    if version_of(connection, path, len(migrations)) == len(migrations):
        return False  # without waiting for the lock, which another program may hold
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again under the lock: another program may have migrated meanwhile.
        for statements in migrations[version_of(connection, path, len(migrations)) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return True
