"""A setter beside the finger server: two servers, one nursery, the same users."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import trio

from finger07 import DEADLINE, LIMIT, USERS, close
from finger08 import get_user, handle


class Lines:
    """The lines of a stream, one after the other. What arrives behind a line is kept for the next one."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._data = bytearray()

    async def next(self) -> str:
        """Return the next line. Raise ValueError if it is too long, or if the client ends before it."""
        while (end := self._data.find(b"\n", 0, LIMIT + 1)) < 0:
            if len(self._data) > LIMIT:
                raise ValueError("Line too long")
            if not (piece := await self._stream.receive_some()):
                raise ValueError("Send a user name and a status, each on a line of its own")
            self._data += piece
        line = bytes(self._data[:end]).decode(errors="replace").strip()
        del self._data[: end + 1]
        return line


async def set_status(users: dict[str, str], stream: trio.SocketStream) -> None:
    """Read a user and a status, store them, and say so."""
    try:
        lines = Lines(stream)
        user, status = await lines.next(), await lines.next()
        users[user.lower()] = status
        text = "OK"
    except ValueError as error:
        text = str(error)
    await stream.send_all(f"{text}\r\n".encode())
    await close(stream)


async def guard(converse: Callable[[trio.SocketStream], Awaitable[None]], stream: trio.SocketStream) -> None:
    """Give a conversation a deadline. A client that vanishes ends its own connection, nothing else."""
    try:
        with trio.move_on_after(DEADLINE):
            await converse(stream)
    except trio.BrokenResourceError:
        pass


async def main(
    users: Mapping[str, str] = USERS,
    host: str = "127.0.0.1",
    port: int = 7979,
    setter_port: int = 1079,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    users = dict(users)  # so that no other server in this process is changed
    finger = partial(handle, partial(get_user, users))
    setter = partial(guard, partial(set_status, users))
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_tcp, finger, port, host=host))
        await nursery.start(partial(trio.serve_tcp, setter, setter_port, host=host))
        task_status.started()


if __name__ == "__main__":
    trio.run(main)
