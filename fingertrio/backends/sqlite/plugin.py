"""The options of the backend, and how it is opened."""

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
from fingertrio.backends.sqlite.rows import DEFAULT_HISTORY, Retention
from fingertrio.backends.sqlite.store import SQLiteStore


class SQLiteOptions(BaseModel):
    """The options of the backend. `path` is made absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    path: Annotated[Path, AfterValidator(absolute)] = Field(
        default_factory=default_path,
        description="The database file. If it is missing it is created, with its directories, for its owner only.",
    )
    history: int = Field(
        default=DEFAULT_HISTORY, ge=1, description="How many statuses of each user are kept, including the present one."
    )
    history_days: float | None = Field(
        default=None,
        gt=0,
        le=36_500,
        description="For how many days after it was set a past status is kept; by default for ever.",
    )

    @property
    def retention(self) -> Retention:
        """Both limits of the history."""
        return Retention(self.history, self.history_days)


def _utc_now() -> int:
    return time.time_ns() // 1000


@asynccontextmanager
async def open_sqlite(options: SQLiteOptions) -> AsyncIterator[SQLiteBackend]:
    """The backend over one SQLite file. Lists users, sets statuses, keeps history and emits every change.

    Raises:
        ValueError: the file is damaged, another program's, or of a later version; it is unchanged.
        OSError: the file cannot be created or read.
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
