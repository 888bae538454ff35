"""What the service keeps: answers and until when they hold, and the calls under way that will bring more.

A front end may keep what it rendered of an answer for as long as the answer's `expires` lies ahead. Whatever ends that
earlier (a change, a newer answer, no room) sets `expires` back at that moment, so looking at it is all there is to
invalidation. No I/O, no time of its own, and nothing of backends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from math import inf
from typing import Generic, TypeAlias, TypeVar

import trio

from fingertrio.backend import BackendError

T = TypeVar("T")
R = TypeVar("R")

Key: TypeAlias = str | None  # a user's name; None: the list of users


class Answer(Generic[T]):
    """What was answered.

    Attributes:
        value: the answer.
        expires: until when (trio's clock) it holds.
        stale_since: since when it may be out of date, because the backend's source is away; None: it is true.
    """

    __slots__ = ("expires", "stale_since", "value")

    def __init__(self, value: T, expires: float, stale_since: datetime | None = None) -> None:
        self.value = value
        self.expires = expires
        self.stale_since = stale_since


class Rendering(Generic[T, R]):
    """What is made of an answer, made once for as long as the same answer is given.

    Lists are long, and those who ask for them come together: when the answer is new, they all would make it anew.
    """

    def __init__(self, make: Callable[[T], R]) -> None:
        self._make = make
        self._made: tuple[Answer[T], R] | None = None

    def of(self, answer: Answer[T]) -> R:
        """What `make` gives for the answer's value."""
        if self._made is None or self._made[0] is not answer:
            self._made = answer, self._make(answer.value)
        return self._made[1]


class Flight:
    """One call under way. `landed` exists once somebody waits; `current` turns False when a change overtakes it."""

    __slots__ = ("current", "landed", "outcome")

    def __init__(self) -> None:
        self.landed: trio.Event | None = None
        self.outcome: Answer[object] | BackendError | None = None  # None after landing: its caller was cancelled
        self.current = True


class Answers:
    """A bounded cache of answers, with the flights that will fill it.

    Known and unknown users are counted apart, so that a flood of questions for users who do not exist cannot push out
    those who do.
    """

    def __init__(self) -> None:
        self._known: dict[Key, Answer[object]] = {}
        self._unknown: dict[Key, Answer[object]] = {}
        self.flights: dict[Key, Flight] = {}

    def find(self, key: Key, now: float) -> Answer[object] | None:
        """The answer that holds; None: there is none."""
        answer = self._known.get(key) or self._unknown.get(key)
        return answer if answer is not None and answer.expires > now else None

    def keep(self, key: Key, answer: Answer[object], size: int) -> None:
        """Keep it, and at most `size` of its kind: the one that was brought longest ago goes."""
        kept, other = (
            (self._unknown, self._known) if answer.value is None and key is not None else (self._known, self._unknown)
        )
        other.pop(key, None)
        kept.pop(key, None)  # so that a refreshed answer counts as a young one
        while len(kept) >= size:
            kept.pop(next(iter(kept))).expires = -inf  # its change would no longer reach whoever rendered it
        kept[key] = answer

    def forget(self, keys: Iterable[Key]) -> None:
        """None of these answers holds any more, and no call under way will bring one that does."""
        for key in keys:
            for kept in (self._known, self._unknown):
                if (answer := kept.pop(key, None)) is not None:
                    answer.expires = -inf
            if (overtaken := self.flights.pop(key, None)) is not None:
                overtaken.current = False

    def forget_all(self) -> None:
        """The same, of all."""
        self.forget([*self._known, *self._unknown, *self.flights])
