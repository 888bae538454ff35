"""The embedded default: statuses in one SQLite file, as durable as the disk, with nothing to install or to run beside.

    schema.py               the tables, their version, migrations
    rows.py, writing.py     every statement, as functions of a connection
    files.py, opening.py    making, recognising and opening the file
    store.py                the open file, for threads: reading, committing together, noticing others
    lane.py                 many who ask, one thread that works, in batches
    backend.py              the contract, over a store and lanes
    admin.py, backup.py, transfer.py, sources.py, checks.py
                            what the command line does to a file, whether it is served or not

An `OK` means that the status outlasts a loss of power: each commit waits for the disk (synchronous = FULL). Sets that
arrive while the disk is waited for share the next commit, so that it costs one set's latency and not everybody's
throughput. docs/guide/sqlite.md is the operator's page.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import trio
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fingertrio.backends.sqlite.backend import SQLiteBackend
from fingertrio.backends.sqlite.files import absolute, default_path
from fingertrio.backends.sqlite.rows import Retention
from fingertrio.backends.sqlite.store import SQLiteStore

__all__ = ["SQLiteBackend", "SQLiteOptions", "open_sqlite"]


class SQLiteOptions(BaseModel):
    """What a configuration may say of this backend. `path` is made absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    path: Annotated[Path, AfterValidator(absolute)] = Field(
        default_factory=default_path,
        description="The database file. It is made if it is missing, with its directories, for its owner alone.",
    )
    history: int = Field(
        default=1000, ge=1, description="How many statuses of each user are kept, the present one included."
    )
    history_days: float | None = Field(
        default=None,
        gt=0,
        le=36_500,
        description="For how many days after it was set a past status is kept; without it, for ever.",
    )

    @property
    def retention(self) -> Retention:
        """Both limits of the history."""
        return Retention(self.history, self.history_days)


def _utc_now() -> int:
    return time.time_ns() // 1000


@asynccontextmanager
async def open_sqlite(options: SQLiteOptions) -> AsyncIterator[SQLiteBackend]:
    """The backend over one SQLite file. Gets, lists and sets users, keeps history and tells of every change.

    Raises:
        ValueError: the file is damaged, another program's, or a later version's; it stays as it is.
        OSError: the file cannot be made or read.
    """
    store = await trio.to_thread.run_sync(
        SQLiteStore.open, options.path, options.retention, _utc_now, limiter=trio.CapacityLimiter(1)
    )
    backend = SQLiteBackend(store, _utc_now)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.run)
            yield backend
            nursery.cancel_scope.cancel()
    finally:
        await backend.aclose()
