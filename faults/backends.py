"""A backend with faults, published by an entry point as a third party's would be."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import trio

from fingertrio import UserInfo

NAME = "faulty"  # in `use`
BLOCKED = "blocked"  # a query for a user whose name begins so blocks a thread for a long time
HUGE = "huge"  # a user whose status has `huge` bytes, more than the service lets anyone set


@dataclass(frozen=True)
class FaultyOptions:
    users: dict[str, str] = field(default_factory=dict, metadata={"description": "status by login name"})
    huge: int = field(default=0, metadata={"description": f"bytes of the status of {HUGE}"})
    blocks: float = field(default=0.0, metadata={"description": f"seconds that each user called {BLOCKED}... takes"})


class FaultyBackend:
    """Emits no changes, so that with `cache_ttl = 0` every query reaches it."""

    def __init__(self, options: FaultyOptions) -> None:
        self._blocks = options.blocks
        self._infos = {user: UserInfo(user, status) for user, status in options.users.items()}
        if options.huge:
            line = "x" * 79 + "\n"
            self._infos[HUGE] = UserInfo(HUGE, line * (options.huge // len(line)))

    async def get_user(self, user: str) -> UserInfo | None:
        if user.startswith(BLOCKED):
            # Without a limiter of its own, contrary to the guide for authors: in trio's forty shared threads.
            await trio.to_thread.run_sync(time.sleep, self._blocks, abandon_on_cancel=True)
        return self._infos.get(user)

    async def get_users(self) -> Sequence[str]:
        return list(self._infos)

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        info = self._infos[user] = UserInfo(user, status, until=until)
        return info


@asynccontextmanager
async def open_faulty(options: FaultyOptions) -> AsyncIterator[FaultyBackend]:
    """Statuses from a dict, and queries that block."""
    yield FaultyBackend(options)


def publish(directory: Path) -> None:
    """Publish the backend by its entry point to every Python that has `directory` in PYTHONPATH."""
    info = directory / "fingertrio_faulty-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fingertrio-faulty\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[fingertrio.backends]\n{NAME} = faults.backends:open_faulty\n")
