import asyncio
import logging

import trio

from harness import Step


async def fail() -> None:
    raise OSError("the port is taken")


def attack(step: Step) -> None:
    """A task fails: the program must end and say why, instead of going on without it."""
    try:
        if step.name == "finger00":
            # asyncio logs a lost exception when it deletes the task, which is too late to help here.
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)
            asyncio.run(asyncio.wait_for(step.main(fail), 0.05))
        else:
            trio.run(step.main, fail)
    except ExceptionGroup as group:
        if group.subgroup(OSError) is None:
            raise
    except TimeoutError:
        raise AssertionError("the program goes on, though its only task has failed") from None
