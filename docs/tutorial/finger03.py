"""Say one line, and close the connection so that the line arrives."""

import trio

LINGER = 2.0  # seconds that a client has to close its side


async def close(stream: trio.SocketStream) -> None:
    """End the answer, then wait until the client has read it and closes too."""
    await stream.send_eof()
    with trio.move_on_after(LINGER):
        async for _ in stream:
            pass


async def handle(stream: trio.SocketStream) -> None:
    """Serve one connection, in a task of its own."""
    await stream.send_all(b"No statuses yet\r\n")
    await close(stream)


async def main(host: str = "127.0.0.1", port: int = 7979) -> None:
    await trio.serve_tcp(handle, port, host=host)


if __name__ == "__main__":
    trio.run(main)
