"""A document in memory, as tests of everything above it need."""

from __future__ import annotations

from datetime import UTC, datetime


class MemoryDocument:
    """A `Document` that notes how often it was written."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.failure: Exception | None = None
        self.writes = 0

    async def read(self) -> bytes | None:
        if self.failure is not None:
            raise self.failure
        return self.content

    async def replace(self, document: bytes, old: bytes | None) -> bool:
        if self.failure is not None:
            raise self.failure
        if self.content != old:
            return False
        self.content = document
        self.writes += 1
        return True


class Clock:
    """A calendar that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 29, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now
