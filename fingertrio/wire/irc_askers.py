"""Which people and programs to stop answering on IRC. No I/O; the caller passes the time.

Two programs that answer each other's answers never stop. A NOTICE is never answered, but not every program sends its
answers by NOTICE. So an asker that behaves like a program is muted for ten minutes: it sends what looks like our own
answers, or names that do not exist, again and again, or more questions than a person would.
"""

from __future__ import annotations

from collections import deque
from math import inf

# Names that are unknown or impossible, in a row; the last one mutes the asker.
FAILURE_LIMIT = 5
# Questions of one asker in ten minutes; one more mutes the asker.
QUESTION_LIMIT = 20
PERIOD = 600.0  # seconds; also the time for which an asker is muted, and between two usage notices to it
REPEAT_SECONDS = 30.0  # seconds in which the same question is not answered again
BUSY_SECONDS = 60.0  # between two notices to one asker that the bot is busy

# Askers remembered, a few hundred bytes each. The least recently heard asker is forgotten first.
ASKER_LIMIT = 1000


class _Asker:
    __slots__ = ("busy_at", "failures", "muted_until", "names", "times", "usage_at")

    def __init__(self) -> None:
        self.muted_until = -inf
        self.failures = 0
        self.times: deque[float] = deque(maxlen=QUESTION_LIMIT + 1)
        self.names: dict[str, float] = {}  # when each was asked last
        self.usage_at = -inf
        self.busy_at = -inf


class Askers:
    """What is remembered of each asker: a string that identifies a person across nick changes."""

    def __init__(self) -> None:
        self._askers: dict[str, _Asker] = {}  # least recently heard first

    def hears(self, asker: str, now: float) -> bool:
        """Count a message of `asker`; whether it is not muted."""
        state = self._state(asker)
        if now < state.muted_until:
            return False
        state.times.append(now)
        if len(state.times) > QUESTION_LIMIT and now - state.times[0] < PERIOD:
            self.mute(asker, now)
            return False
        return True

    def mute(self, asker: str, now: float) -> None:
        """Ignore `asker` for ten minutes."""
        state = self._state(asker)
        state.muted_until = now + PERIOD
        state.failures = 0
        state.times.clear()

    def is_repeated(self, asker: str, name: str, now: float) -> bool:
        """Whether `asker` asked for `name` shortly before; remembers that it asks now, if not."""
        names = self._state(asker).names
        if now - names.get(name, -inf) < REPEAT_SECONDS:
            return True
        names.pop(name, None)
        names[name] = now
        if len(names) > QUESTION_LIMIT:
            del names[next(iter(names))]
        return False

    def forget_question(self, asker: str, name: str) -> None:
        """`name` could not be looked up: `asker` may ask for it again at once."""
        self._state(asker).names.pop(name, None)

    def succeeded(self, asker: str) -> None:
        """`asker` asked for a name that exists."""
        self._state(asker).failures = 0

    def failed(self, asker: str, now: float) -> None:
        """`asker` asked for a name that does not or cannot exist."""
        state = self._state(asker)
        state.failures += 1
        if state.failures >= FAILURE_LIMIT:
            self.mute(asker, now)

    def may_tell_usage(self, asker: str, now: float) -> bool:
        """Whether to send `asker` the usage; not again within ten minutes."""
        state = self._state(asker)
        if now - state.usage_at < PERIOD:
            return False
        state.usage_at = now
        return True

    def may_tell_busy(self, asker: str, now: float) -> bool:
        """Whether to tell `asker` that the bot is busy; not again within a minute."""
        state = self._state(asker)
        if now - state.busy_at < BUSY_SECONDS:
            return False
        state.busy_at = now
        return True

    def _state(self, asker: str) -> _Asker:
        state = self._askers.pop(asker, None) or _Asker()
        self._askers[asker] = state
        if len(self._askers) > ASKER_LIMIT:
            del self._askers[next(iter(self._askers))]
        return state
