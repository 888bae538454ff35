"""Measures how late the event loop is. All doors are late when a function blocks or the machine is short of CPU time.

A task sleeps until fixed times and measures how much later it wakes. Unlike a Trio instrument, this also sees the time
in which the machine runs other processes, and costs nothing per query.
"""

from __future__ import annotations

from typing import Protocol

import trio

# Seconds between two beats. A stall of s seconds is measured as s - INTERVAL to s. A shorter interval is more accurate
# but wakes an idle machine more often.
INTERVAL = 0.05

# Seconds of lateness that are worth a log line, and the minimum time between two such lines.
_LOGGED = 0.5
_LOG_AGAIN = 1.0


class Reports(Protocol):
    """What the heartbeat needs of the observer."""

    def loop_late(self, seconds: float) -> None: ...
    def warning(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None: ...


async def beat(reports: Reports) -> None:
    """Measure until cancelled."""
    logged = -_LOG_AGAIN
    while True:
        due = trio.current_time() + INTERVAL
        await trio.sleep_until(due)
        now = trio.current_time()
        reports.loop_late(now - due)
        if now - due > _LOGGED and now - logged >= _LOG_AGAIN:
            logged = now
            reports.warning("loop_stalled", seconds=round(now - due, 3))
