"""Waits until an exact time, so that the time of an answer does not tell how long the work for it took.

`trio.sleep_until` is not exact enough: the event loop rounds each wait up to whole milliseconds, counted from its last
event. If this event is the end of the work, the work's fraction of a millisecond shows in the time of the answer. A
sleeping thread wakes up at the time that it was given. One thread serves all tasks that wait for the same moment.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from math import ceil

import trio


class ExactWaits:
    """Exact waits of any number of tasks.

    Args:
        grid: seconds. Tasks are released at multiples of it, each by a thread, so that only as many threads sleep as
            there are multiples up to the latest task.
    """

    def __init__(self, grid: float) -> None:
        self._grid = grid
        self._released: dict[int, trio.Event] = {}

    async def until(self, deadline: float) -> None:
        """Return at the first multiple of the grid that is not before `deadline`, a time of Trio's clock."""
        multiple = ceil(deadline / self._grid)
        if (released := self._released.get(multiple)) is None:
            remaining = multiple * self._grid - trio.current_time()
            released = trio.Event()
            wake = partial(self._wake, trio.lowlevel.current_trio_token(), multiple)
            trio.lowlevel.start_thread_soon(partial(_sleep_until, time.perf_counter() + remaining), wake)
            self._released[multiple] = released
        await released.wait()

    def _wake(self, token: trio.lowlevel.TrioToken, multiple: int, _outcome: object) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(self._release, multiple)

    def _release(self, multiple: int) -> None:
        self._released.pop(multiple).set()


def _sleep_until(deadline: float) -> None:
    while (remaining := deadline - time.perf_counter()) > 0:
        time.sleep(remaining)
