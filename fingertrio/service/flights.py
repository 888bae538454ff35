"""One backend call for many queries that ask the same at the same time (single flight).

It works without a task of its own: the first query makes the call in its own task, and the others wait for the result.
If the first is cancelled, so is its call, and one of the waiting queries makes it again. So a cancelled query never
harms another, and a cache miss starts no task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeVar

import trio

from fingertrio.backend import BackendError
from fingertrio.observe.metrics import Metrics
from fingertrio.service.cache import Answer, AnswerCache, Flight
from fingertrio.service.calls import BackendCalls

T = TypeVar("T")


class SingleFlight:
    """Answers from a cache, or from one call for all that ask.

    Attributes:
        size: answers kept at most, of each kind.
    """

    def __init__(self, calls: BackendCalls, metrics: Metrics, size: int) -> None:
        self._calls = calls
        self._metrics = metrics
        self.size = size

    async def ask(
        self, cache: AnswerCache[T], key: str, call: Callable[[], Awaitable[Answer[T]]], *, size: int | None = None
    ) -> Answer[T]:
        """The answer for `key`: cached, from a call under way, or from `call`. Raises BackendError.

        `size` is how many answers this cache keeps at most.
        """
        while True:
            answer = cache.find(key)
            if answer is not None:
                self._metrics.cache_hits += 1
                return answer
            flight = cache.flights.get(key)
            if flight is None:
                self._metrics.cache_misses += 1
                return await self._lead(cache, key, call, self.size if size is None else size)
            self._metrics.cache_joins += 1
            if flight.landed is None:
                flight.landed = trio.Event()
            await flight.landed.wait()
            if isinstance(flight.outcome, BackendError):
                raise BackendError(flight.outcome.public_message) from flight.outcome
            if flight.outcome is not None:
                return flight.outcome

    async def _lead(
        self, cache: AnswerCache[T], key: str, call: Callable[[], Awaitable[Answer[T]]], size: int
    ) -> Answer[T]:
        flight: Flight[T] = Flight()
        cache.flights[key] = flight
        try:
            answer = flight.outcome = await self._calls.make(cache.operation, call)
        except BackendError as error:
            flight.outcome = error
            raise
        finally:
            if flight.current:
                del cache.flights[key]
            if flight.landed is not None:
                flight.landed.set()
        if flight.current:
            cache.keep(key, answer, size)
        else:
            answer.expires = -inf  # a change overtook the call: return its answer, but do not keep it
        return answer
