"""What survives a restart: the messages that wait, and what receivers already know. One small SQLite database.

A change is stored together with the messages that report it, in one transaction, before any of them is sent. So a
program that is killed sends them after its restart, with the same ids. A message is removed once the receiver has it;
if the program is killed between these two, the receiver gets it again, and knows by the id.

`shown` has a hash of what was last reported of each user. A change that changes nothing visible is not reported, and
that a user is gone is reported only of users who have been reported before: a name that was always hidden stays so.

Bodies are read when they are sent, so memory holds names and ids alone. All work is done in one thread at a time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import trio

from fingertrio.backend import UserInfo
from fingertrio.wire import webhook
from fingertrio.wire.times import from_microseconds, to_microseconds

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    webhook TEXT NOT NULL, user TEXT NOT NULL, id TEXT NOT NULL, created INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (webhook, user));
CREATE INDEX IF NOT EXISTS message_id ON message (id);
CREATE TABLE IF NOT EXISTS shown (user TEXT PRIMARY KEY, digest BLOB NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark (one INTEGER PRIMARY KEY CHECK (one = 1), since INTEGER NOT NULL);
"""
_VERSION = 1

_BUSY_TIMEOUT = 5.0  # seconds for another program that reads the file


class StoreError(Exception):
    """The file cannot be used. The message names it, for the operator."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that waits. `created` is the time of its event, aware."""

    webhook: str
    user: str
    id: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """A user, and what is shown of them now (None: nothing); `webhooks` report it."""

    user: str
    info: UserInfo | None
    webhooks: Sequence[str]


class WebhookStore:
    """The database at `path`, made if it is not there; for its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._limiter = trio.CapacityLimiter(1)

    def check(self) -> None:
        """Open the file, and close it again. Blocks.

        Raises:
            StoreError: it cannot be used.
        """
        self._guarded(lambda: self._open().close())

    async def load(self) -> tuple[list[Stored], datetime | None]:
        """Every message, the oldest first, and the time up to which changes have been reported; None: never any."""
        return await self._run(self._load)

    async def record(self, changes: Sequence[Change], now: datetime, mark: datetime | None) -> list[Stored]:
        """Store messages for those of `changes` that change what receivers know; the new messages.

        Args:
            changes: of different users.
            now: the time of the events.
            mark: changes up to this time need not be looked for after a restart; None: as before.
        """
        return await self._run(lambda: self._record(changes, now, mark))

    async def known(self, limit: int) -> list[str]:
        """The users of whom something is known to receivers; if more than `limit`, those reported last."""
        return await self._run(lambda: self._known(limit))

    async def body(self, message_id: str) -> bytes | None:
        """What the message says; None: it has been removed, or a newer one took its place."""
        return await self._run(lambda: self._body(message_id))

    async def remove(self, ids: Sequence[str]) -> None:
        """Forget messages."""
        await self._run(lambda: self._execute_each("DELETE FROM message WHERE id = ?", ids))

    async def keep_only(self, webhooks: Sequence[str]) -> None:
        """Forget the messages of all other webhooks."""
        await self._run(lambda: self._keep_only(webhooks))

    async def close(self) -> None:
        """Close the file. The next call opens it again."""
        await self._run(self._close)

    async def _run(self, work: Callable[[], T]) -> T:
        # Not abandoned when cancelled: what was sent must be known.
        return await trio.to_thread.run_sync(self._guarded, work, limiter=self._limiter)

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            self._close()
            raise StoreError(f"{self.path} cannot be used: {getattr(error, 'strerror', None) or error}") from error

    @property
    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT, check_same_thread=False, isolation_level=None)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _load(self) -> tuple[list[Stored], datetime | None]:
        rows = self._database.execute("SELECT webhook, user, id, created FROM message ORDER BY created, rowid")
        found = [Stored(name, user, message, from_microseconds(created)) for name, user, message, created in rows]
        mark = self._database.execute("SELECT since FROM mark").fetchone()
        return found, None if mark is None else from_microseconds(mark[0])

    def _record(self, changes: Sequence[Change], now: datetime, mark: datetime | None) -> list[Stored]:
        stored: list[Stored] = []
        with closing(self._database.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                for change in changes:
                    body = self._news(cursor, change.user, change.info, now)
                    for name in () if body is None else change.webhooks:
                        stored.append(Stored(name, change.user, webhook.new_id(), now))
                        row = (name, change.user, stored[-1].id, to_microseconds(now), body)
                        cursor.execute("REPLACE INTO message VALUES (?, ?, ?, ?, ?)", row)
                if mark is not None:
                    cursor.execute("REPLACE INTO mark VALUES (1, ?)", (to_microseconds(mark),))
                cursor.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    cursor.execute("ROLLBACK")
                raise
        return stored

    @staticmethod
    def _news(cursor: sqlite3.Cursor, user: str, info: UserInfo | None, now: datetime) -> bytes | None:
        """The body that reports a change; None: receivers know this already."""
        known = cursor.execute("SELECT digest FROM shown WHERE user = ?", (user,)).fetchone()
        if info is None:
            if known is None:
                return None
            cursor.execute("DELETE FROM shown WHERE user = ?", (user,))
            return webhook.removed(user, now)
        digest = webhook.digest(info)
        if known is not None and known[0] == digest:
            return None
        cursor.execute("REPLACE INTO shown VALUES (?, ?, ?)", (user, digest, to_microseconds(now)))
        return webhook.changed(info, now)

    def _known(self, limit: int) -> list[str]:
        rows = self._database.execute("SELECT user FROM shown ORDER BY at DESC, user LIMIT ?", (limit,))
        return [user for (user,) in rows]

    def _body(self, message_id: str) -> bytes | None:
        row = self._database.execute("SELECT body FROM message WHERE id = ?", (message_id,)).fetchone()
        return None if row is None else bytes(row[0])

    def _execute_each(self, statement: str, values: Sequence[str]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany(statement, [(value,) for value in values])
        self._database.execute("COMMIT")

    def _keep_only(self, webhooks: Sequence[str]) -> None:
        marks = ", ".join("?" * len(webhooks))
        self._database.execute(f"DELETE FROM message WHERE webhook NOT IN ({marks})", list(webhooks))  # noqa: S608 -- "?"


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA secure_delete = ON")  # what a user takes back does not stay in the file
    connection.execute("PRAGMA synchronous = FULL")  # a message that was promised survives a power failure
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, _VERSION):
        raise sqlite3.DatabaseError(f"it is of version {version}, made by another fingertrio; move it away")
    connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")


def count_waiting(path: Path) -> dict[str, int]:
    """How many messages wait in the file at `path`, by webhook. The file is only read. Blocks.

    Raises:
        StoreError: it cannot be read.
    """
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT)) as found:
            return dict(found.execute("SELECT webhook, count(*) FROM message GROUP BY webhook").fetchall())
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
