"""Look the name up in a dict, which is empty so far."""

from collections.abc import Mapping
from functools import partial

import trio

LIMIT = 1024  # bytes in a line
DEADLINE = 30.0  # seconds for one connection, from its first byte to its last
LINGER = 2.0  # seconds that a client has to close its side

USERS: dict[str, str] = {}


class Line:
    """A line that arrives in pieces: bytes go in, the line comes out. It does no I/O, so a test needs no sockets."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._data = bytearray()

    def feed(self, data: bytes | bytearray) -> bytes | None:
        """Return the line without its end, or None if more data is needed. Raise ValueError if the line is too long."""
        self._data += data
        line, newline, _ = self._data.partition(b"\n")
        if len(line) > self._limit:
            raise ValueError("Query too long")
        return bytes(line).removesuffix(b"\r") if newline else None


async def read_line(stream: trio.SocketStream) -> bytes:
    """Return one line. Raise ValueError if it is too long, or if the client ends before its line does."""
    line = Line()
    async for data in stream:
        if (complete := line.feed(data)) is not None:
            return complete
    raise ValueError("Query without an end")


async def close(stream: trio.SocketStream) -> None:
    """End the answer, then wait until the client has read it and closes too."""
    await stream.send_eof()
    with trio.move_on_after(LINGER):
        async for _ in stream:
            pass


async def converse(users: Mapping[str, str], stream: trio.SocketStream) -> None:
    """Read one query, answer it, and end the connection."""
    try:
        query = await read_line(stream)
        text = users.get(query.decode(errors="replace"), "No such user")
    except ValueError as error:
        text = str(error)
    await stream.send_all(f"{text}\r\n".encode())
    await close(stream)


async def handle(users: Mapping[str, str], stream: trio.SocketStream) -> None:
    """Serve one connection, in a task of its own. A client that vanishes ends its own connection, nothing else."""
    try:
        with trio.move_on_after(DEADLINE):
            await converse(users, stream)
    except trio.BrokenResourceError:
        pass


async def main(users: Mapping[str, str] = USERS, host: str = "127.0.0.1", port: int = 7979) -> None:
    await trio.serve_tcp(partial(handle, users), port, host=host)


if __name__ == "__main__":
    trio.run(main)
