"""The first signal asks the program to stop within its grace period; the second ends it at once."""

import signal
from collections.abc import AsyncIterator
from functools import partial

import trio
import trio.testing

from finger07 import USERS
from finger08 import get_user, handle
from harness import Step

CLOCK_JUMPS = True
GRACE = 20.0  # seconds


async def cancel_at_next(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


async def main(host: str = "127.0.0.1", port: int = 7979) -> None:
    listeners = await trio.open_tcp_listeners(port, host=host)
    handler = partial(handle, partial(get_user, USERS))
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as impatience:
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as accepting:
                    accepting.start_soon(partial(trio.serve_listeners, handler, listeners, handler_nursery=connections))
                    await cancel_at_next(signals, accepting.cancel_scope)
                connections.cancel_scope.deadline = trio.current_time() + GRACE
                impatience.start_soon(cancel_at_next, signals, connections.cancel_scope)
            impatience.cancel_scope.cancel()


async def check(step: Step) -> None:
    ended = trio.Event()

    async def run() -> None:
        await step.main(host=step.host)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        async with await step.connect():
            for _ in range(2):
                await trio.sleep(1)
                signal.raise_signal(signal.SIGTERM)
            await ended.wait()
    assert trio.current_time() - started < GRACE


if __name__ == "__main__":
    trio.run(main)
