"""Pluggable backends, the first: statuses in memory, which can be set, and which cannot fill the memory."""

from collections.abc import Mapping

import trio

import finger19_3
from finger07 import USERS
from finger19_1 import Backend, BackendError
from finger19_3 import SetsStatus


class MemoryBackend:
    """Statuses that are gone when the program ends."""

    def __init__(self, users: Mapping[str, str] = USERS, limit: int = 10_000) -> None:
        self._users = dict(users)
        self._limit = limit

    async def get_user(self, user: str) -> str | None:
        await trio.lowlevel.checkpoint()
        return self._users.get(user)

    async def set_user(self, user: str, status: str) -> None:
        await trio.lowlevel.checkpoint()
        if user not in self._users and len(self._users) >= self._limit:
            raise BackendError(f"there are {self._limit} users already")
        self._users[user] = status


async def main(
    backend: Backend | None = None,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    backend = backend or MemoryBackend()
    setter_port = 1079 if isinstance(backend, SetsStatus) else None
    await finger19_3.main(backend, host, setter_port, task_status=task_status)


if __name__ == "__main__":
    trio.run(main)
