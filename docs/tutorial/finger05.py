"""Read a name, answer that there is no such user, and survive clients that vanish."""

import trio

LIMIT = 1024  # bytes in a line
DEADLINE = 30.0  # seconds for one connection, from its first byte to its last
LINGER = 2.0  # seconds that a client has to close its side


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


async def converse(stream: trio.SocketStream) -> None:
    """Read one query, answer it, and end the connection."""
    try:
        await read_line(stream)
        text = "No such user"
    except ValueError as error:
        text = str(error)
    await stream.send_all(f"{text}\r\n".encode())
    await close(stream)


async def handle(stream: trio.SocketStream) -> None:
    """Serve one connection, in a task of its own. A client that vanishes ends its own connection, nothing else."""
    try:
        with trio.move_on_after(DEADLINE):
            await converse(stream)
    except trio.BrokenResourceError:
        pass


async def main(host: str = "127.0.0.1", port: int = 7979) -> None:
    await trio.serve_tcp(handle, port, host=host)


if __name__ == "__main__":
    trio.run(main)
