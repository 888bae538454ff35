"""A third party's backend that says nothing of changes, so that with `cache_ttl = 0` every question reaches it.

It looks into a dict and never waits: what a miss costs here is what stands around a backend, and nothing of a backend's
own. The plain trio handler that a miss is compared with does the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fingertrio import UserInfo


@dataclass(frozen=True)
class UncachedOptions:
    users: dict[str, str] = field(default_factory=dict, metadata={"description": "status by login name"})


class UncachedBackend:
    def __init__(self, users: dict[str, str]) -> None:
        self._infos = {user: UserInfo(user, status) for user, status in users.items()}

    async def get_user(self, user: str) -> UserInfo | None:
        return self._infos.get(user)


@asynccontextmanager
async def open_uncached(options: UncachedOptions) -> AsyncIterator[UncachedBackend]:
    """Statuses from a dict, never cached."""
    yield UncachedBackend(options.users)


def publish(directory: Path) -> None:
    """Publish the backend by its entry point to every Python that has `directory` in PYTHONPATH."""
    (directory / "uncached_backend.py").write_text(Path(__file__).read_text())
    info = directory / "fingertrio_uncached-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fingertrio-uncached\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fingertrio.backends]\nuncached = uncached_backend:open_uncached\n")
