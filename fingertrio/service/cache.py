"""What the service has in memory: answers with their expiry times, and the backend calls that will bring more.

A front end may keep what it rendered from an answer while the answer's `expires` lies ahead. An event that ends that
earlier (a change, a newer answer, no room) sets `expires` back at once: checking `expires` is the whole invalidation
protocol. This module does no I/O and does not know the backend.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from math import inf
from typing import Generic, TypeVar

import trio

from fingertrio.backend import BackendError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Answer(Generic[T_co]):
    """A backend's answer. Covariant: only `expires` is ever assigned to.

    Attributes:
        value: the answer.
        expires: the time (trio's clock) until which it may be used.
        stale_since: the time since which it may be out of date, because the backend's source is away; None: up to date.
    """

    __slots__ = ("expires", "stale_since", "value")

    def __init__(self, value: T_co, expires: float, stale_since: datetime | None = None) -> None:
        self.value = value
        self.expires = expires
        self.stale_since = stale_since


class Flight(Generic[T]):
    """One backend call under way.

    Attributes:
        landed: set when the call ends; made by the first task that waits.
        outcome: the answer or the error; None after landing: the task that made the call was cancelled.
        current: False once a change has made the coming answer obsolete.
    """

    __slots__ = ("current", "landed", "outcome")

    def __init__(self) -> None:
        self.landed: trio.Event | None = None
        self.outcome: Answer[T] | BackendError | None = None
        self.current = True


class AnswerCache(Generic[T]):
    """A bounded cache of the answers to one kind of question, with the calls under way.

    Known and unknown users are counted separately, so that a flood of questions about users who do not exist cannot
    evict users who do.

    Args:
        operation: the backend method that answers the question.
    """

    def __init__(self, operation: str) -> None:
        self.operation = operation
        # Ordered: a dict whose first entries were deleted has to search for the first one that is left.
        self._known: OrderedDict[str, Answer[T]] = OrderedDict()
        self._unknown: OrderedDict[str, Answer[T]] = OrderedDict()
        self.flights: dict[str, Flight[T]] = {}
        self._variants: dict[str, set[str]] = {}  # the names in `_unknown`, by their case-folded form

    def find(self, key: str) -> Answer[T] | None:
        """The answer for `key`; None if there is none or it has expired. Usually this reads no clock, which is slow."""
        answer = self._known.get(key) or self._unknown.get(key)
        if answer is None or answer.expires == inf or answer.expires > trio.current_time():
            return answer
        return None

    def keep(self, key: str, answer: Answer[T], size: int) -> None:
        """Store the answer, and at most `size` of its kind: the oldest answer is evicted."""
        kept, other = (self._unknown, self._known) if answer.value is None else (self._known, self._unknown)
        other.pop(key, None)
        kept.pop(key, None)  # so that a refreshed answer counts as new
        while len(kept) >= size:
            oldest, evicted = kept.popitem(last=False)
            evicted.expires = -inf  # a later change could not invalidate what was rendered from it
            if kept is self._unknown:
                self._drop_variant(oldest)
        kept[key] = answer
        if answer.value is None:
            self._variants.setdefault(key.casefold(), set()).add(key)

    def forget(self, key: str) -> None:
        """Invalidate the answer for `key`, and the answer that a call under way will bring.

        That there is no user under another case of `key` may no longer be true either: it is forgotten too.
        """
        for name in {key, *self._variants.pop(key.casefold(), ())}:
            for kept in (self._known, self._unknown):
                if (answer := kept.pop(name, None)) is not None:
                    answer.expires = -inf
            if (overtaken := self.flights.pop(name, None)) is not None:
                overtaken.current = False

    def _drop_variant(self, key: str) -> None:
        variants = self._variants.get(key.casefold())
        if variants is not None:
            variants.discard(key)
            if not variants:
                del self._variants[key.casefold()]

    def forget_all(self) -> None:
        """Invalidate every answer, and every call under way."""
        for key in [*self._known, *self._unknown, *self.flights]:
            self.forget(key)
