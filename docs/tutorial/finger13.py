"""One service between the doors and the data: what a status may be is decided in one place."""

from collections.abc import Mapping
from functools import partial

import trio

from finger07 import USERS, close
from finger08 import handle
from finger12 import Lines, guard

LONGEST = 200  # characters of a status


class FingerService:
    """The statuses of all users. Doors ask it and tell it; they know nothing of how it keeps them."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = dict(users)

    async def get_user(self, user: str) -> str:
        await trio.lowlevel.checkpoint()
        return self._users.get(user, "No such user")

    async def set_user(self, user: str, status: str) -> None:
        """Store a status. Raise ValueError, with words for the user, if the name or the status is not acceptable."""
        await trio.lowlevel.checkpoint()
        if not (user.isascii() and user.isalnum() and len(user) <= 32):
            raise ValueError("A user name has 1 to 32 letters and digits")
        if not status.isprintable() or len(status) > LONGEST:
            raise ValueError(f"A status has at most {LONGEST} printable characters")
        self._users[user.lower()] = status


async def set_status(service: FingerService, stream: trio.SocketStream) -> None:
    """Read a user and a status, store them, and say so."""
    try:
        lines = Lines(stream)
        user, status = await lines.next(), await lines.next()
        await service.set_user(user, status)
        text = "OK"
    except ValueError as error:
        text = str(error)
    await stream.send_all(f"{text}\r\n".encode())
    await close(stream)


async def main(
    users: Mapping[str, str] = USERS,
    host: str = "127.0.0.1",
    port: int = 7979,
    setter_port: int = 1079,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    service = FingerService(users)
    finger = partial(handle, service.get_user)
    setter = partial(guard, partial(set_status, service))
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_tcp, finger, port, host=host))
        await nursery.start(partial(trio.serve_tcp, setter, setter_port, host=host))
        task_status.started()


if __name__ == "__main__":
    trio.run(main)
