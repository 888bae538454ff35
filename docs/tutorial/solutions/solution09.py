"""At most two finger programs at the same time. The third query waits for its turn, within its own deadline."""

from collections.abc import Sequence
from functools import partial

import trio

from finger08 import handle
from finger09 import PROGRAM, get_user
from harness import Step


async def main(program: Sequence[str] = PROGRAM, host: str = "127.0.0.1", port: int = 7979) -> None:
    programs = trio.CapacityLimiter(2)

    async def get_in_turn(user: str) -> str:
        async with programs:
            return await get_user(program, user)

    await trio.serve_tcp(partial(handle, get_in_turn), port, host=host)


async def check(step: Step) -> None:
    # Each program says how many of its kind run: they are the children of this process that run sh.
    script = "ps --no-headers --ppid $PPID -o comm | grep -c '^sh$'"
    answers: list[int] = []

    async def client() -> None:
        answers.append(int(await step.ask(b"ada\r\n")))

    async with step.running(program=["sh", "-c", script]):
        async with trio.open_nursery() as clients:
            for _ in range(4):
                clients.start_soon(client)
    assert len(answers) == 4
    assert max(answers) <= 2


if __name__ == "__main__":
    trio.run(main)
