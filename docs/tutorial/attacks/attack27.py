import signal
from itertools import pairwise

import trio
import trio.testing

from harness import Step

CLOCK_JUMPS = True


async def attack(step: Step) -> None:
    """A door fails again and again, then a stop comes while one client is typing and another is asleep."""
    assert step["Grace"]
    starts: list[float] = []
    ended = trio.Event()

    async def fragile(*, task_status: trio.TaskStatus[None]) -> None:
        starts.append(trio.current_time())
        task_status.started()
        await trio.sleep(1)
        if len(starts) <= 3:
            raise ValueError("the disk is full")
        await trio.sleep_forever()

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        await step.main(host=step.host, others={"fragile": fragile}, task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        with trio.fail_after(300):
            await nursery.start(run)
            while len(starts) < 4:
                assert await step.ask(b"moshez\r\n") == b"Happy and well\r\n"
                await trio.sleep(0.3)
            pauses = [round(after - before - 1, 1) for before, after in pairwise(starts)]
            assert pauses == [1.0, 2.0, 4.0], f"started again after {pauses} seconds"
            async with await step.connect() as typing, await step.connect() as asleep:
                await typing.send_all(b"mos")
                await trio.testing.wait_all_tasks_blocked()
                stopped = trio.current_time()
                signal.raise_signal(signal.SIGTERM)
                await step.refuses()
                await typing.send_all(b"hez\r\n")
                assert await step.read(typing) == b"Happy and well\r\n"
                await ended.wait()
                assert await asleep.receive_some() == b""
        assert trio.current_time() - stopped < 6, "one client that sleeps keeps the program from stopping"
