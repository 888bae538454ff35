"""An observer: it gets told what happens, writes it as lines, and counts it."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable

import trio

BEAT = 0.05  # seconds between two looks at the loop
STALL = 0.25  # seconds of lag that are worth a line

Log = Callable[[str], object]


def write(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Observer:
    """What happened: a line for each event, and numbers whose names are fixed by the code, never by clients."""

    def __init__(self, log: Log = write) -> None:
        self._log = log
        self.counts: Counter[str] = Counter()
        self.worst_lag = 0.0

    def event(self, name: str, **fields: object) -> None:
        # JSON has no raw control characters: what a client sends cannot end a line or colour a terminal.
        self._log(json.dumps({"event": name, "time": round(time.time(), 3), **fields}))

    def query(self, asked: str, outcome: str, seconds: float) -> None:
        self.counts[outcome] += 1
        self.event("query", asked=asked[:100], outcome=outcome, ms=round(seconds * 1000, 1))

    def metrics(self) -> str:
        lines = [f'finger_queries_total{{outcome="{name}"}} {count}' for name, count in sorted(self.counts.items())]
        return "\n".join([*lines, f"finger_loop_lag_seconds {self.worst_lag:.3f}", ""])

    async def watch_loop(self) -> None:
        """Sleep, and see how late we wake up. That is how late everything is."""
        while True:
            due = time.monotonic() + BEAT
            await trio.sleep(BEAT)
            lag = time.monotonic() - due
            self.worst_lag = max(lag, self.worst_lag)
            if lag > STALL:
                self.event("stalled", seconds=round(lag, 2))
