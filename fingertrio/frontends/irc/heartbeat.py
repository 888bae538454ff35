"""Whether a server is alive, and how slow it is. No I/O; the caller passes the time.

Each minute we send PING. Anything that arrives afterwards shows that the connection lives, and the PONG gives the lag.
"""

from __future__ import annotations


class Heartbeat:
    """Args: `idle` seconds between two PINGs; `pong` seconds for an answer; `now`, when it begins."""

    def __init__(self, idle: float, pong: float, now: float) -> None:
        self._idle = idle
        self._pong = pong
        self._last = now  # the last PING, or the beginning
        self._waiting = False  # nothing has arrived since the last PING
        self._pinged = False  # no PONG has arrived since the last PING

    @property
    def deadline(self) -> float:
        """When `is_dead` or a PING is due."""
        return self._last + (self._pong if self._waiting else self._idle)

    def is_dead(self, now: float) -> bool:
        """Whether the server has not answered in time."""
        return self._waiting and now >= self.deadline

    def take_ping(self, now: float) -> bool:
        """Whether to send PING now."""
        if self._waiting or now < self.deadline:
            return False
        self._last, self._waiting, self._pinged = now, True, True
        return True

    def heard(self) -> None:
        """Something arrived."""
        self._waiting = False

    def ponged(self, now: float) -> float | None:
        """PONG arrived; the lag in seconds, unless we did not ask."""
        if not self._pinged:
            return None
        self._pinged = False
        return now - self._last
