"""When to connect again, to which server, and when to stop trying. No I/O; the caller passes the time.

The pause before the k-th attempt since the last success is 5 s, 10 s, 20 s, ... 5 min, each varied by a quarter so that
clients that lost one server do not come back together. k counts rounds over the list of servers; within a round the
servers are two seconds apart. A session that was registered for five minutes was a success.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from fingertrio.wire.irc_ends import MINUTE, Ended, Verdict

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0
NEXT_SERVER = 2.0
SUCCESS = 300.0  # seconds from registration
_VARIATION = 0.25

HOUR = 3600.0
_KILL_PAUSE = 600.0
_KILLS = 3  # in `_KILL_PERIOD`; the last one stops
_KILL_PERIOD = 24 * HOUR
_SAME_REFUSALS = 3  # the same text, one after the other
_THROTTLE_LIMIT = HOUR


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows an end: stop, or a pause in seconds and the index of the next server."""

    stop: bool
    pause: float = 0.0
    server: int = 0


class Pauses:
    """The attempts of one network.

    Args:
        servers: how many servers its list has.
        after_ban: seconds between two attempts after a ban, at least an hour; None: stop.
        uniform: returns a random number between its two arguments.
        first: seconds, the first pause.
        longest: seconds, the longest plain pause.
        success: seconds for which a session must have been registered to be a success.
    """

    def __init__(
        self,
        servers: int,
        *,
        after_ban: float | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
        first: float = FIRST_PAUSE,
        longest: float = LONGEST_PAUSE,
        success: float = SUCCESS,
    ) -> None:
        self.server = 0  # of the current attempt
        self._servers = servers
        self._after_ban = after_ban
        self._uniform = uniform
        self._first = first
        self._longest = longest
        self._success = success
        self._rounds = 0
        self._throttle = MINUTE
        self._kills: deque[float] = deque(maxlen=_KILLS)
        self._refusal = ("", 0)  # the text of the last refusal, and how often it came in a row

    def ended(self, end: Ended, now: float, *, registered_for: float | None = None) -> Decision:
        """Decide after an attempt that ended.

        Args:
            end: how.
            now: the time.
            registered_for: seconds since registration; None: never registered.
        """
        if registered_for is not None and registered_for >= self._success:
            self._rounds = 0
            self._throttle = MINUTE
            self.server = -1  # begin again with the first server
        if self._is_final(end, now):
            return Decision(stop=True)
        wait, at_once = self._least(end)
        if at_once and self.server + 1 < self._servers and self.server >= 0:
            self.server += 1
            return Decision(stop=False, pause=NEXT_SERVER, server=self.server)
        self.server = 0
        step = min(self._longest, self._first * 2.0**self._rounds)
        self._rounds = min(self._rounds + 1, 16)
        pause = max(self._uniform(step * (1 - _VARIATION), step * (1 + _VARIATION)), wait)
        return Decision(stop=False, pause=pause, server=0)

    def _is_final(self, end: Ended, now: float) -> bool:
        text, times = self._refusal
        self._refusal = (end.reason, times + 1 if end.reason == text else 1)
        match end.verdict:
            case Verdict.STOP:
                return True
            case Verdict.BANNED:
                return self._after_ban is None
            case Verdict.PASSWORD:
                return self._refusal[1] >= _SAME_REFUSALS
            case Verdict.KILLED:
                self._kills.append(now)
                return len(self._kills) == _KILLS and now - self._kills[0] < _KILL_PERIOD
        return False

    def _least(self, end: Ended) -> tuple[float, bool]:
        """The shortest pause, and whether another server of the list may be tried before it."""
        match end.verdict:
            case Verdict.BANNED:
                return max(self._after_ban or HOUR, HOUR), False
            case Verdict.KILLED:
                return _KILL_PAUSE, False
            case Verdict.THROTTLED:
                wait, self._throttle = self._throttle, min(self._throttle * 2, _THROTTLE_LIMIT)
                return wait, False
            case Verdict.TOO_MANY:
                return 5 * MINUTE, False
            case Verdict.LATER:
                return end.least, end.outcome == "tls"
        return 0.0, end.verdict is not Verdict.PASSWORD
