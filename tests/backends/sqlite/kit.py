"""Shared by the tests of the sqlite backend."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fingertrio.backend import BackendError, UserInfo
from fingertrio.backends.sqlite.clock import ClockGuard
from fingertrio.backends.sqlite.rows import Put, Retention
from fingertrio.backends.sqlite.store import SQLiteStore

SECOND = 1_000_000  # microseconds
DAY = 24 * 60 * 60 * SECOND


class Clock:
    """A calendar clock that stands still until a test sets it."""

    def __init__(self) -> None:
        self.time = 1_800_000_000 * SECOND

    def __call__(self) -> int:
        return self.time


@contextmanager
def opened(
    path: Path,
    retention: Retention | None = None,
    now: Callable[[], int] | None = None,
    guard: ClockGuard | None = None,
) -> Iterator[SQLiteStore]:
    """An open store, which trusts its clock unless it is given a guard."""
    now = now or (lambda: time.time_ns() // 1000)
    guard = guard or ClockGuard(now, settling=0.0)
    store = SQLiteStore.open(path, retention or Retention(1000), now, guard)
    try:
        yield store
    finally:
        store.close()


def put(store: SQLiteStore, login: str, text: str, until: int | None = None) -> UserInfo:
    """Set one status, or raise the failure."""
    (answer,) = store.commit([Put(login, text, until)])
    if isinstance(answer, BackendError):
        raise answer
    assert answer is not None
    return answer


def status(store: SQLiteStore, login: str) -> str | None:
    """The status of one user, or raise the failure."""
    (answer,) = store.find([login])
    if isinstance(answer, BackendError):
        raise answer
    return None if answer is None else answer.status


def rows_of(path: Path, query: str) -> list[tuple[object, ...]]:
    """The result of a query by another connection."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
