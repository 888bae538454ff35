"""Statuses from a file that is read again whenever it changes, in a thread, by a task beside the door."""

import logging
import os
import stat
from functools import partial
from pathlib import Path

import trio

from finger08 import handle

LOG = logging.getLogger("finger")
FILE = Path(__file__).with_name("users.txt")
INTERVAL = 2.0  # seconds between two looks at the file
BIGGEST = 1024 * 1024  # bytes of the file


def read_users(path: Path) -> dict[str, str]:
    """Read lines such as `ada: Weaving`. Raise OSError or ValueError. This blocks: call it in a thread."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path} is not a file")
        text = file.read(BIGGEST + 1).decode()
    if len(text) > BIGGEST:
        raise ValueError(f"{path} is too big")
    users = {}
    for number, line in enumerate(text.splitlines(), 1):
        user, colon, status = line.partition(":")
        if not colon:
            raise ValueError(f"{path}, line {number}: expected `user: status`")
        users[user.strip().lower()] = status.strip()
    return users


class FileService:
    """The statuses in a file. While `watch` runs they follow the file, and if it is bad the last good ones stay."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users: dict[str, str] = {}
        self._threads = trio.CapacityLimiter(1)

    async def get_user(self, user: str) -> str:
        await trio.lowlevel.checkpoint()
        return self._users.get(user, "No such user")

    async def _read(self) -> None:
        self._users = await trio.to_thread.run_sync(
            read_users, self._path, limiter=self._threads, abandon_on_cancel=True
        )

    async def watch(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read the file, say that it was read, and read it again and again. Raise if the first time fails."""
        await self._read()
        task_status.started()
        while True:
            await trio.sleep(INTERVAL)
            try:
                await self._read()
            except (OSError, ValueError) as error:
                LOG.warning("keeping the statuses read before: %s", error)


async def main(
    path: Path = FILE,
    host: str = "127.0.0.1",
    port: int = 7979,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    service = FileService(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.watch)
        await nursery.start(partial(trio.serve_tcp, partial(handle, service.get_user), port, host=host))
        task_status.started()


if __name__ == "__main__":
    trio.run(main)
