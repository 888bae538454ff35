"""A nursery with one task that sleeps: the frame in which a server will grow."""

from collections.abc import Awaitable, Callable

import trio


async def main(child: Callable[[], Awaitable[object]] = trio.sleep_forever) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        print("Press Ctrl-C to stop.", flush=True)


if __name__ == "__main__":
    trio.run(main)
