"""The numbers of one webhook. Names of users are never in them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class WebhookNumbers:
    """One webhook's state and counters.

    Attributes:
        attempts: requests by outcome: "delivered", "rejected", "unavailable", "gone".
        unsent: messages that were not delivered, by reason: "replaced", "given_up", "dropped", "gone".
        pending: messages that wait or are on their way.
        clock: seconds that never go back.
    """

    attempts: Counter[str] = field(default_factory=Counter)
    unsent: Counter[str] = field(default_factory=Counter)
    pending: int = 0
    clock: Callable[[], float] = time.monotonic
    _last_success: float | None = None

    def succeeded(self) -> None:
        """The receiver accepted a message."""
        self._last_success = self.clock()

    def since_success(self) -> float | None:
        """Seconds since the receiver accepted a message; None: it has not yet."""
        return None if self._last_success is None else self.clock() - self._last_success
