"""The default backend: statuses in one SQLite file. Nothing has to be installed or run beside it.

    plugin.py               the options, and opening the backend
    schema.py               the tables, their version, migrations
    rows.py, writing.py     all SQL statements, as functions of a connection
    files.py, opening.py    creating, checking and opening the file
    connections.py          the three connections of a server to the file
    database.py             the open file, which may be replaced meanwhile
    wal.py, log.py          noticing and repairing a removed, replaced or damaged write-ahead log
    store.py                reads and group commits, for threads
    worker.py               a thread that works for many tasks, in batches
    backend.py              the backend contract, with a store and workers
    admin.py, backup.py, transfer.py, sources.py, checks.py
                            the work of the command line, whether a server uses the file or not

An `OK` means that the status survives a power failure: each commit waits for the disk (synchronous = FULL). Sets that
arrive during a commit share the next one, so waiting for the disk costs latency but not throughput.
docs/guide/sqlite.md is the page for operators.

What commands use (admin.py and below) needs neither Trio nor pydantic, which take longer to import than most commands
work. So the names below are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fingertrio.backends.sqlite.backend import SQLiteBackend
    from fingertrio.backends.sqlite.plugin import SQLiteOptions, open_sqlite

__all__ = ["SQLiteBackend", "SQLiteOptions", "open_sqlite"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.plugin"), name)
    return found
