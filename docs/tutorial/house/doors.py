"""The doors for lines of text: finger and the setter."""

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from house.service import Service, Unavailable
from house.wire import Buffer, user_of

DEADLINE = 30.0  # seconds for one connection
LINGER = 2.0  # seconds that a client has to close its side

Talk = Callable[[Service, trio.abc.HalfCloseableStream], Awaitable[str]]


async def read_lines(stream: trio.abc.ReceiveStream, count: int) -> list[str]:
    """Return so many lines. Raise ValueError if one is too long, or if the client ends before."""
    buffer = Buffer()
    lines: list[str] = []
    async for data in stream:
        buffer.feed(data)
        while len(lines) < count and (line := buffer.next_line()) is not None:
            lines.append(line.strip())
        if len(lines) == count:
            return lines
    raise ValueError(f"Lines expected: {count}. Lines received: {len(lines)}")


async def finger(service: Service, stream: trio.abc.HalfCloseableStream) -> str:
    """Read one query and return the answer."""
    [query] = await read_lines(stream, 1)
    status = await service.get_user(user_of(query))
    return "No such user" if status is None else status.replace("\n", "\r\n")


async def setter(service: Service, stream: trio.abc.HalfCloseableStream) -> str:
    """Read a user and a status, a line each, and store them."""
    user, status = await read_lines(stream, 2)
    await service.set_user(user, status)
    return "OK"


async def serve_client(talk: Talk, service: Service, stream: trio.abc.HalfCloseableStream) -> None:
    """Hold one conversation: send what it returns, and close so that it arrives."""
    try:
        with trio.move_on_after(DEADLINE):
            try:
                text = await talk(service, stream)
            except ValueError as error:
                text = str(error)
            except Unavailable:
                text = "Internal error in server"
            await stream.send_all(f"{text}\r\n".encode())
            await stream.send_eof()
            with trio.move_on_after(LINGER):
                async for _ in stream:
                    pass
    except trio.BrokenResourceError:
        pass


def open_door(talk: Talk, service: Service, host: str, port: int) -> Callable[..., Awaitable[object]]:
    """Return what `nursery.start` starts: a server on a port that holds such conversations."""
    return partial(trio.serve_tcp, partial(serve_client, talk, service), port, host=host)
