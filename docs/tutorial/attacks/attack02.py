from contextlib import AsyncExitStack

import trio

from harness import Step


async def attack(step: Step) -> None:
    """A hundred clients come and stay: each must be accepted, and none of them may wait for another."""
    async with step.running(), AsyncExitStack() as clients:
        streams = [await clients.enter_async_context(await step.connect()) for _ in range(100)]
        for stream in streams:
            with trio.move_on_after(0.001) as scope:
                await stream.receive_some()
            assert scope.cancelled_caught, "a connection was ended"
