"""Ending statuses when their time has come. Every node does it; whichever is first does it for all.

When that is, Redis's clock decides: it is asked how many seconds are left, and these are slept on ours. So nodes whose
calendars differ end a status at the same moment, and hear of it as of any change. Nobody is answered what has ended
meanwhile, for the answers look at the calendar themselves; this is for those who have to be told.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import trio

from fingertrio.backend import BackendError
from fingertrio.backends.redis.store import Store

# Seconds. Redis's clock may be set while we sleep: look again.
_LONGEST_SLEEP = 60.0
_AFTER_REFUSAL = 1.0  # seconds until it is tried again, where Redis takes no writes

_log = logging.getLogger(__name__)

Ask = Callable[[Callable[[Store], Awaitable[Any]]], Awaitable[Any]]


class Expiry:
    """When to look at each shard next, by trio's clock."""

    def __init__(self) -> None:
        self._looks: list[float] = []
        self._sooner = trio.Event()
        self._refused = False

    def expect(self, shard: int, seconds: float) -> None:
        """A status of `shard` ends in so many seconds."""
        look = trio.current_time() + seconds
        if shard < len(self._looks) and look < self._looks[shard]:
            self._looks[shard] = look
            self._sooner.set()

    def look_at_all(self) -> None:
        """What ends when is not known any more."""
        self._looks = [-inf] * len(self._looks)
        self._sooner.set()

    async def run(self, ask: Ask, shards: int) -> None:
        """End what is due, now and whenever something is; never returns.

        Args:
            ask: asks the store. What it raises goes through, but for BackendError, by which Redis refuses.
            shards: how many there are.
        """
        self._looks = [-inf] * shards
        while True:
            self._sooner = trio.Event()
            for shard, look in enumerate(self._looks):
                if look <= trio.current_time():
                    await self._look(ask, shard)
            with trio.move_on_at(min(self._looks)):
                await self._sooner.wait()

    async def _look(self, ask: Ask, shard: int) -> None:
        self._looks[shard] = inf  # what is expected from now on counts again
        try:
            due, ahead = await ask(lambda store: store.due(shard))
            for user in due:
                await ask(lambda store, user=user: store.end(user))  # type: ignore[misc]
        except BackendError as error:
            if not self._refused:
                _log.warning("the end of statuses cannot be told: %s", error.__cause__ or error)
            self._refused, pause = True, _AFTER_REFUSAL
        else:
            # Some were due: there may be more of them.
            pause = 0.0 if due else min(_LONGEST_SLEEP if ahead is None else ahead, _LONGEST_SLEEP)
            self._refused = self._refused and not due
        self._looks[shard] = min(self._looks[shard], trio.current_time() + pause)
