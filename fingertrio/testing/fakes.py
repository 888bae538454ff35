"""Backends for tests of whatever asks one: they fail, hang and count as they are told.

Both are true backends over a dict, so what they are not told to do wrong they do by the contract. `FakeReader` can do
the one thing that every backend can, for tests of what happens where capabilities are missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import trio

from fingertrio.backend import UserInfo
from fingertrio.backends.memory import MemoryBackend


class _Direction:
    """What a test says to a fake, and what it is told.

    Attributes:
        calls: how often each method was called, by its name; also calls that failed or still hang.
        failure: raised by each call while it is not None.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.failure: Exception | None = None
        self._released = trio.Event()
        self._released.set()

    def hold(self) -> None:
        """Let each call from now on hang, cancellable, until `release`."""
        self._released = trio.Event()

    def release(self) -> None:
        """Let the calls that hang go on, in the order in which trio pleases."""
        self._released.set()

    async def _turn(self, method: str) -> None:
        self.calls[method] += 1
        await self._released.wait()
        if self.failure is not None:
            raise self.failure


class FakeReader(_Direction):
    """Knows users, and can neither list nor set them nor tell of changes."""

    def __init__(self, users: Mapping[str, str]) -> None:
        super().__init__()
        self.users = {user: UserInfo(user, status) for user, status in users.items()}

    async def get_user(self, user: str) -> UserInfo | None:
        """What `users`, which a test may change at any time, holds once the call goes on."""
        await self._turn("get_user")
        return self.users.get(user)


class FakeBackend(_Direction, MemoryBackend):
    """Lists, sets and emits changes."""

    def __init__(self, users: Mapping[str, str]) -> None:
        _Direction.__init__(self)
        MemoryBackend.__init__(self, users)

    async def get_user(self, user: str) -> UserInfo | None:
        """As told, or as the memory backend."""
        await self._turn("get_user")
        return await super().get_user(user)

    async def get_users(self) -> Sequence[str]:
        """As told, or as the memory backend."""
        await self._turn("get_users")
        return await super().get_users()

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """As told, or as the memory backend; a failure sets nothing."""
        await self._turn("set_user")
        return await super().set_user(user, status, until=until)
