"""SQLite's errors as BackendError: a public message, with the private cause chained."""

from __future__ import annotations

import sqlite3

from fingertrio.backend import BackendError

_MESSAGES = {
    sqlite3.SQLITE_BUSY: "The database is busy, try again later",
    sqlite3.SQLITE_LOCKED: "The database is busy, try again later",
    sqlite3.SQLITE_FULL: "The disk is full",
    sqlite3.SQLITE_READONLY: "The database is read-only",
    sqlite3.SQLITE_CANTOPEN: "The database cannot be opened",
    sqlite3.SQLITE_CORRUPT: "The database is damaged",
    sqlite3.SQLITE_NOTADB: "The database is damaged",
}

# Errors that a single status may cause: the other statuses of the batch are tried again without it.
_OF_ONE_STATUS = frozenset(
    {
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_FULL,  # a shorter one may fit
        sqlite3.SQLITE_CORRUPT,  # the damaged page may be another user's
    }
)


def code_of(error: BaseException) -> int | None:
    """SQLite's primary result code; None: the error does not come from SQLite."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def concerns_all(error: Exception) -> bool:
    """Whether any other transaction would fail in the same way."""
    code = code_of(error)
    return code is not None and code not in _OF_ONE_STATUS


def failure(error: Exception) -> BackendError:
    """`error` as a BackendError; a BackendError is returned unchanged."""
    if isinstance(error, BackendError):
        return error
    converted = BackendError(_MESSAGES.get(code_of(error) or 0, "The database failed"))
    converted.__cause__ = error
    return converted
