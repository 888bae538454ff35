"""Ask for the status asynchronously, and answer also when asking fails."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import trio

from finger07 import DEADLINE, USERS, close, read_line, user_of

LOG = logging.getLogger("finger")

Lookup = Callable[[str], Awaitable[str]]


async def get_user(users: Mapping[str, str], user: str) -> str:
    """Return the status of a user. This is where a database will be asked."""
    await trio.lowlevel.checkpoint()
    return users.get(user, "No such user")


async def answer(look_up: Lookup, user: str) -> str:
    """Return the text for the client, also if the lookup fails."""
    try:
        return await look_up(user)
    except Exception:
        LOG.exception("cannot look up %r", user)
        return "Internal error in server"


async def converse(look_up: Lookup, stream: trio.SocketStream) -> None:
    """Read one query, answer it, and end the connection."""
    try:
        query = await read_line(stream)
        text = await answer(look_up, user_of(query))
    except ValueError as error:
        text = str(error)
    await stream.send_all(f"{text}\r\n".encode())
    await close(stream)


async def handle(look_up: Lookup, stream: trio.SocketStream) -> None:
    """Serve one connection, in a task of its own. A client that vanishes ends its own connection, nothing else."""
    try:
        with trio.move_on_after(DEADLINE):
            await converse(look_up, stream)
    except trio.BrokenResourceError:
        pass


async def main(users: Mapping[str, str] = USERS, host: str = "127.0.0.1", port: int = 7979) -> None:
    await trio.serve_tcp(partial(handle, partial(get_user, users)), port, host=host)


if __name__ == "__main__":
    trio.run(main)
