"""Two tasks in one nursery: when one fails, the other is cancelled, and may clean up."""

import trio
import trio.testing

from harness import Step


async def patient() -> None:
    try:
        await trio.sleep_forever()
    finally:
        print("cancelled, cleaning up", flush=True)


async def failing() -> None:
    await trio.sleep(1)
    raise OSError("the disk is full")


async def main() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(patient)
        nursery.start_soon(failing)


def check(step: Step) -> None:
    failures: list[BaseException] = []
    try:
        trio.run(step.main, clock=trio.testing.MockClock(autojump_threshold=0))
    except* OSError as group:
        failures.extend(group.exceptions)
    assert [str(failure) for failure in failures] == ["the disk is full"]


if __name__ == "__main__":
    trio.run(main)
