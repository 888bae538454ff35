"""Start both doors at the same time. If one cannot start, the nursery ends the other, and the start fails."""

from functools import partial

import trio

from finger07 import USERS
from finger08 import get_user, handle
from finger12 import guard, set_status
from harness import Step


async def main(
    host: str = "127.0.0.1", port: int = 7979, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    users = dict(USERS)
    finger = partial(handle, partial(get_user, users))
    setter = partial(guard, partial(set_status, users))
    async with trio.open_nursery() as doors:
        async with trio.open_nursery() as starting:
            starting.start_soon(partial(doors.start, partial(trio.serve_tcp, finger, port, host=host)))
            starting.start_soon(partial(doors.start, partial(trio.serve_tcp, setter, 1079, host=host)))
        task_status.started()


async def check(step: Step) -> None:
    async with step.running():
        assert await step.ask(b"ada\r\nWeaving\r\n", port=1079) == b"OK\r\n"
        assert await step.ask(b"ada\r\n") == b"Weaving\r\n"
        failed = False
        try:
            await step.main(host=step.host, port=7980)
        except* OSError:
            failed = True
        assert failed
        assert not await step.listens(7980)


if __name__ == "__main__":
    trio.run(main)
