"""Accept connections, and say nothing."""

import trio


async def handle(_stream: trio.SocketStream) -> None:
    """Serve one connection, in a task of its own."""
    await trio.sleep_forever()


async def main(host: str = "127.0.0.1", port: int = 7979) -> None:
    await trio.serve_tcp(handle, port, host=host)


if __name__ == "__main__":
    trio.run(main)
