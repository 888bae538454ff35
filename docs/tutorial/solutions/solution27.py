"""A goodbye that must be said, also when the program is cancelled: shielded, and with a deadline of its own."""

import trio

from harness import Step

CLOCK_JUMPS = True
said: list[str] = []


async def say_goodbye(seconds: float) -> None:
    await trio.sleep(seconds)
    said.append("goodbye")


async def bot(goodbye_takes: float) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.move_on_after(2, shield=True):  # without shield, the first await in here would raise Cancelled
            await say_goodbye(goodbye_takes)


async def main() -> None:
    with trio.move_on_after(1):
        await bot(0.5)
    print(said)


async def check(_step: Step) -> None:
    for goodbye_takes, expected in ((1, ["goodbye"]), (3600, [])):
        said.clear()
        started = trio.current_time()
        with trio.move_on_after(1):
            await bot(goodbye_takes)
        assert said == expected
        assert trio.current_time() - started < 4


if __name__ == "__main__":
    trio.run(main)
