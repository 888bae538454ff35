"""What goes wrong in SQLite, in words fit for strangers, with the cause chained."""

from __future__ import annotations

import sqlite3

from fingertrio.backend import BackendError

_WORDS = {
    sqlite3.SQLITE_BUSY: "The database is busy, try again later",
    sqlite3.SQLITE_LOCKED: "The database is busy, try again later",
    sqlite3.SQLITE_FULL: "The disk is full",
    sqlite3.SQLITE_READONLY: "The database is read-only",
    sqlite3.SQLITE_CANTOPEN: "The database cannot be opened",
    sqlite3.SQLITE_CORRUPT: "The database is damaged",
    sqlite3.SQLITE_NOTADB: "The database is damaged",
}

# What may be the matter with one record of many: the others are worth another try.
_OF_ONE = frozenset(
    {
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_FULL,  # a shorter one may find room
        sqlite3.SQLITE_CORRUPT,  # the damaged page may be another user's
    }
)


def code_of(error: BaseException) -> int | None:
    """SQLite's primary result code; None: it is no error of SQLite's, or of the module around it."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def concerns_all(error: Exception) -> bool:
    """Whether what made a transaction fail would make any other fail as well."""
    code = code_of(error)
    return code is not None and code not in _OF_ONE


def failure(error: Exception) -> BackendError:
    """`error` as what a backend raises; one that is such already comes back as it is."""
    if isinstance(error, BackendError):
        return error
    told = BackendError(_WORDS.get(code_of(error) or 0, "The database failed"))
    told.__cause__ = error
    return told
