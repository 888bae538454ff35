"""Jitter: after a failure that hit all bots at once, they must not come back all at once."""

import random
from collections.abc import Iterator

import trio

from finger16 import LONGEST, SHORTEST
from harness import Step


def pauses() -> Iterator[float]:
    """Return pauses that double up to a limit, each between half of that and all of it, at random."""
    pause = SHORTEST
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - nothing here is secret
        pause = min(pause * 2, LONGEST)


async def main() -> None:
    for pause in pauses():
        print(f"trying again in {pause:.1f} s")
        await trio.sleep(pause)


def check(_step: Step) -> None:
    series = [pause for pause, _ in zip(pauses(), range(10), strict=False)]
    for pause, longest in zip(series, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60], strict=True):
        assert longest / 2 <= pause <= longest
    assert len({next(pauses()) for _ in range(50)}) > 10, "all bots would come back at the same time"


if __name__ == "__main__":
    trio.run(main)
