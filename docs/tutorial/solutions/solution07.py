"""Answer an empty query with the list of users, as RFC 1288, section 2.5.2 wants it."""

from collections.abc import Mapping
from functools import partial

import trio

from finger07 import USERS, close, read_line, user_of
from harness import Step


def answer(users: Mapping[str, str], query: bytes) -> str:
    user = user_of(query)
    if not user:
        return "\r\n".join(f"{name:<16} {users[name]}" for name in sorted(users)) or "No users"
    return users.get(user, "No such user")


async def handle(users: Mapping[str, str], stream: trio.SocketStream) -> None:
    try:
        with trio.move_on_after(30):
            await stream.send_all(f"{answer(users, await read_line(stream))}\r\n".encode())
            await close(stream)
    except (trio.BrokenResourceError, ValueError):
        pass


async def main(users: Mapping[str, str] = USERS, host: str = "127.0.0.1", port: int = 7979) -> None:
    await trio.serve_tcp(partial(handle, users), port, host=host)


async def check(step: Step) -> None:
    async with step.running(users={"moshez": "Happy and well", "ada": "Weaving"}):
        lines = b"ada              Weaving\r\nmoshez           Happy and well\r\n"
        assert await step.ask(b"\r\n") == await step.ask(b"/W\r\n") == lines
        assert await step.ask(b"ada\r\n") == b"Weaving\r\n"


if __name__ == "__main__":
    trio.run(main)
