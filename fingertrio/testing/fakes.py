"""Fake backends for tests of their callers: a test makes them fail or hang, and reads how often they were called.

Both are real backends over a dict, and keep the contract unless a test says otherwise. `FakeReader` has no capability,
for tests of what happens without one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import trio

from fingertrio.backend import Recency, UserInfo
from fingertrio.backends.memory import MemoryBackend


class _Direction:
    """How a test controls a fake, and what it can read.

    Attributes:
        calls: how often each method was called, by its name; calls that failed or still hang are included.
        failure: each call raises this while it is not None.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.failure: Exception | None = None
        self._released = trio.Event()
        self._released.set()

    def hold(self) -> None:
        """Make every call from now on wait until `release`. Such a call can be cancelled."""
        self._released = trio.Event()

    def release(self) -> None:
        """Let the waiting calls continue, in any order."""
        self._released.set()

    async def _turn(self, method: str) -> None:
        self.calls[method] += 1
        await self._released.wait()
        if self.failure is not None:
            raise self.failure


class FakeReader(_Direction):
    """Answers for users. It can neither list nor set them, and emits no changes."""

    def __init__(self, users: Mapping[str, str]) -> None:
        super().__init__()
        self.users = {user: UserInfo(user, status) for user, status in users.items()}

    async def get_user(self, user: str) -> UserInfo | None:
        """The entry in `users` when the call continues. A test may change `users` at any time."""
        await self._turn("get_user")
        return self.users.get(user)


class FakeBackend(_Direction, MemoryBackend):
    """Lists users, also by the time of their statuses, sets statuses and emits changes."""

    def __init__(self, users: Mapping[str, str]) -> None:
        _Direction.__init__(self)
        MemoryBackend.__init__(self, users)

    async def get_user(self, user: str) -> UserInfo | None:
        """As the test says, or like the memory backend."""
        await self._turn("get_user")
        return await super().get_user(user)

    def get_user_now(self, user: str) -> UserInfo | None:
        """Never, so that a test can make every query wait or fail, and count it."""
        raise LookupError(user)

    async def get_users(self) -> Sequence[str]:
        """As the test says, or like the memory backend."""
        await self._turn("get_users")
        return await super().get_users()

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        """As the test says, or like the memory backend."""
        await self._turn("get_recent")
        return await super().get_recent(limit, before)

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """As the test says, or like the memory backend. A failure sets nothing."""
        await self._turn("set_user")
        return await super().set_user(user, status, until=until)
