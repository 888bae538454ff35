"""How long to wait before the next attempt: exponential back-off with jitter.

Sans-IO, like all of `wire`: this module computes pauses, the caller sleeps. Each pause is at most twice the previous
pause. The random part spreads out clients that lost the same server at the same moment.
"""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """The pauses between attempts.

    Args:
        first: seconds; the longest first pause.
        longest: seconds; no pause is longer.
        uniform: returns a random number between two numbers; tests pass their own.
    """

    def __init__(
        self, first: float, longest: float, *, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._first = first
        self._longest = longest
        self._uniform = uniform
        self._next = first

    def pause(self) -> float:
        """Seconds to wait before the next attempt: at least half the current step, which then doubles."""
        step = self._next
        self._next = min(step * 2, self._longest)
        return self._uniform(step / 2, step)

    def reset(self) -> None:
        """Start over with `first`. What counts as a success is the caller's decision."""
        self._next = self._first
