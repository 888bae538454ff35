"""Ask another finger server for each query, through a few connections at a time."""

import os
from functools import partial

import trio

from finger08 import handle
from finger09 import PATIENCE, read

CONNECTIONS = 4  # to the other server at the same time


class Upstream:
    """Another finger server. The code that makes it owns it, and with it the limit of connections."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._connections = trio.CapacityLimiter(CONNECTIONS)

    async def get_user(self, user: str) -> str:
        """Return what the other server answers. Raise OSError or TooSlowError if it does not."""
        if "@" in user:
            return "No such user"
        with trio.fail_after(PATIENCE):
            async with self._connections, await trio.open_tcp_stream(*self._address) as stream:
                await stream.send_all(f"{user}\r\n".encode())
                answer = await read(stream)
        return "\r\n".join(answer.decode(errors="replace").splitlines())


async def main(upstream: tuple[str, int] = ("localhost", 79), host: str = "127.0.0.1", port: int = 7979) -> None:
    await trio.serve_tcp(partial(handle, Upstream(*upstream).get_user), port, host=host)


if __name__ == "__main__":
    trio.run(partial(main, upstream=(os.environ.get("UPSTREAM", "localhost"), 79)))
