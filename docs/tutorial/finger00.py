"""What this tutorial leaves behind: a task that runs by itself, with no one to notice how it ends."""

import asyncio
from collections.abc import Awaitable, Callable


async def sleep_forever() -> None:
    await asyncio.Event().wait()


async def main(child: Callable[[], Awaitable[object]] = sleep_forever) -> None:
    task = asyncio.ensure_future(child())
    print(f"Started {task.get_name()}.", flush=True)
    await sleep_forever()


if __name__ == "__main__":
    asyncio.run(main())
