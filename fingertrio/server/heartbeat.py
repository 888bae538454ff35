"""How late the event loop is: what every door feels when a plain function takes too long, or the machine has no time.

A task that wants to wake at certain moments measures how much later it wakes. That sees also the time in which the
machine runs somebody else, and costs nothing for each query; an instrument of Trio's would do neither.
"""

from __future__ import annotations

from typing import Protocol

import trio

# Seconds between two beats. A stall of s seconds is seen as one of between s - INTERVAL and s, so that shorter ones are
# seen better; but each beat wakes an idle machine.
INTERVAL = 0.05

# Seconds of lateness that are worth a line in the log, and the time between two such lines.
_COMPLAINT = 0.5
_COMPLAIN_AGAIN = 1.0


class Reports(Protocol):
    """What the heartbeat tells, and to whom."""

    def loop_late(self, seconds: float) -> None: ...
    def warning(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None: ...


async def beat(reports: Reports) -> None:
    """Measure for ever."""
    complained = -_COMPLAIN_AGAIN
    while True:
        due = trio.current_time() + INTERVAL
        await trio.sleep_until(due)
        now = trio.current_time()
        reports.loop_late(now - due)
        if now - due > _COMPLAINT and now - complained >= _COMPLAIN_AGAIN:
            complained = now
            reports.warning("loop_stalled", seconds=round(now - due, 3))
