"""IRC: a client that stays connected, answers private messages, and comes back when the server went away."""

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from finger08 import handle
from finger12 import Lines
from finger14 import FILE, FileService
from finger15 import make_app, serve_web

Lookup = Callable[[str], Awaitable[str]]
NICK = "fingerbot"
WAITING = 20  # answers that wait to be sent; more questions than that are dropped
PAUSE = 0.5  # seconds between two lines: IRC servers throw out clients that send faster for long
SILENCE = 600.0  # seconds: servers say PING every few minutes, so one that says nothing for longer is gone
SHORTEST, LONGEST = 1.0, 60.0  # seconds to wait before connecting again


async def write(stream: trio.SocketStream, lines: trio.MemoryReceiveChannel[str]) -> None:
    """Send lines, slowly. Only this task sends, so no two lines can mix."""
    async for line in lines:
        await stream.send_all(f"{line[:400]}\r\n".encode())
        await trio.sleep(PAUSE)


async def read(look_up: Lookup, stream: trio.SocketStream, answers: trio.MemorySendChannel[str]) -> None:
    """Read lines until the server ends, and queue what is to be answered."""
    lines = Lines(stream)
    while True:
        with trio.fail_after(SILENCE):
            line = await lines.next()
        prefix, _, rest = line.rpartition(" PRIVMSG ")
        asker = prefix.removeprefix(":").partition("!")[0]
        target, _, user = rest.partition(" :")
        try:
            if rest.startswith("PING "):
                await answers.send(rest.replace("PING", "PONG", 1))  # without it the server disconnects us
            elif target.lower() == NICK and asker:
                status = await look_up(user.strip().lower())
                answers.send_nowait(f"PRIVMSG {asker} :Status of {user}: {status}")
        except trio.WouldBlock:
            pass


async def talk(look_up: Lookup, stream: trio.SocketStream) -> None:
    """Log in, then read and write until the connection fails."""
    send, receive = trio.open_memory_channel[str](WAITING)
    await stream.send_all(f"NICK {NICK}\r\nUSER {NICK} 0 * :finger\r\n".encode())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, stream, receive)
        await read(look_up, stream, send)


async def irc(look_up: Lookup, server: tuple[str, int]) -> None:
    """Stay connected. After a failure wait a second, after the next two, then four, and never more than a minute."""
    pause = SHORTEST
    while True:
        started = trio.current_time()
        try:
            async with await trio.open_tcp_stream(*server) as stream:
                await talk(look_up, stream)
        except* (OSError, ValueError, trio.BrokenResourceError, trio.TooSlowError):
            if trio.current_time() - started > LONGEST:  # it was a good connection, so begin anew
                pause = SHORTEST
        await trio.sleep(pause)
        pause = min(pause * 2, LONGEST)


async def main(
    path: Path = FILE,
    irc_server: tuple[str, int] = ("127.0.0.1", 6667),
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    service = FileService(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.watch)
        await nursery.start(partial(trio.serve_tcp, partial(handle, service.get_user), 7979, host=host))
        await nursery.start(serve_web, make_app(service.get_user), host, 8000)
        nursery.start_soon(irc, service.get_user, irc_server)
        task_status.started()


if __name__ == "__main__":
    trio.run(partial(main, irc_server=(os.environ.get("IRC_SERVER", "127.0.0.1"), 6667)))
