"""A third party's backend that does what no backend should, and is published by its entry point like any other."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import trio

from fingertrio import UserInfo

BLOCKED = "blocked"  # a user whose name begins so is looked for in a thread, and found by nobody, for a long time
HUGE = "huge"  # a user whose status is of `huge` bytes, which no service would have let anybody set


@dataclass(frozen=True)
class FaultyOptions:
    users: dict[str, str] = field(default_factory=dict, metadata={"description": "status by login name"})
    huge: int = field(default=0, metadata={"description": f"bytes of the status of {HUGE}"})
    blocks: float = field(default=0.0, metadata={"description": f"seconds that each user called {BLOCKED}... takes"})


class FaultyBackend:
    """Says nothing of changes, so that with `cache_ttl = 0` every question reaches it."""

    def __init__(self, options: FaultyOptions) -> None:
        self._blocks = options.blocks
        self._infos = {user: UserInfo(user, status) for user, status in options.users.items()}
        if options.huge:
            line = "x" * 79 + "\n"
            self._infos[HUGE] = UserInfo(HUGE, line * (options.huge // len(line)))

    async def get_user(self, user: str) -> UserInfo | None:
        if user.startswith(BLOCKED):
            # Not with a limiter of its own, as the guide for authors says, but with the forty threads that all share.
            await trio.to_thread.run_sync(time.sleep, self._blocks, abandon_on_cancel=True)
        return self._infos.get(user)

    async def get_users(self) -> Sequence[str]:
        return list(self._infos)

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        info = self._infos[user] = UserInfo(user, status, until=until)
        return info


@asynccontextmanager
async def open_faulty(options: FaultyOptions) -> AsyncIterator[FaultyBackend]:
    """Statuses from a dict, with some that are never found."""
    yield FaultyBackend(options)


def publish(directory: Path) -> None:
    """Make the backend known by its entry point to every Python that has `directory` in PYTHONPATH."""
    info = directory / "fingertrio_faulty-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fingertrio-faulty\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fingertrio.backends]\nfaulty = faults.backends:open_faulty\n")
