"""The three connections to a database, each for one thread at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fingertrio.backend import BackendError


class LockedConnection:
    """A connection and the lock for the thread that uses it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open: sqlite3.Connection | None = None

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """The connection, for as long as the context. Raises BackendError if it is not open."""
        with self.lock:
            if self.open is None:
                raise BackendError("The database cannot be opened")
            yield self.open

    def close(self) -> None:
        """Close it. The caller holds the lock."""
        connection, self.open = self.open, None
        if connection is not None:
            connection.close()


class Connections:
    """All connections of this process to one database.

    Attributes:
        writer: sets statuses.
        finder: reads single users, a few pages each.
        scanner: reads many rows (the list, a history) and can be interrupted.
    """

    def __init__(self) -> None:
        self.writer = LockedConnection()
        self.finder = LockedConnection()
        self.scanner = LockedConnection()

    def interrupt(self) -> None:
        """Interrupt the scanner's query. From any thread."""
        connection = self.scanner.open
        if connection is not None:
            with suppress(sqlite3.ProgrammingError):  # it has just been closed
                connection.interrupt()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """No other thread uses a connection. The caller holds the writer's lock."""
        self.interrupt()
        with self.finder.lock, self.scanner.lock:
            yield

    def close(self) -> None:
        """Close all. The caller holds all locks. The last connection to a database checkpoints and removes its log."""
        for connection in (self.finder, self.scanner, self.writer):
            connection.close()


def query_number(connection: sqlite3.Connection, query: str) -> int:
    """The single integer that `query` returns."""
    (value,) = connection.execute(query).fetchone()
    return int(value)
