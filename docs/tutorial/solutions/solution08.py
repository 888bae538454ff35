"""A deadline for the lookup alone, so that the client hears of it while its own deadline still runs."""

from functools import partial

import trio

from finger08 import handle
from harness import Step

CLOCK_JUMPS = True


async def slow_database(user: str) -> str:
    if user == "ada":
        await trio.sleep_forever()
    return "Happy and well"


async def get_user(user: str) -> str:
    try:
        with trio.fail_after(3):
            return await slow_database(user)
    except trio.TooSlowError:
        return "Try again later"


async def main(host: str = "127.0.0.1", port: int = 7979) -> None:
    await trio.serve_tcp(partial(handle, get_user), port, host=host)


async def check(step: Step) -> None:
    async with step.running():
        started = trio.current_time()
        assert await step.ask(b"ada\r\n") == b"Try again later\r\n"
        assert 3 <= trio.current_time() - started < 4
        assert await step.ask(b"moshez\r\n") == b"Happy and well\r\n"


if __name__ == "__main__":
    trio.run(main)
