"""Two servers with the same users on two ports: two tasks in one nursery."""

from collections.abc import Mapping
from functools import partial

import trio

from finger06 import USERS, handle
from harness import Step


async def main(users: Mapping[str, str] = USERS, host: str = "127.0.0.1") -> None:
    handler = partial(handle, users)
    async with trio.open_nursery() as nursery:
        for port in (7979, 7980):
            nursery.start_soon(partial(trio.serve_tcp, handler, port, host=host))


async def check(step: Step) -> None:
    async with step.running(users={"ada": "Weaving"}):
        assert await step.ask(b"ada\r\n", 7979) == await step.ask(b"ada\r\n", 7980) == b"Weaving\r\n"


if __name__ == "__main__":
    trio.run(main)
