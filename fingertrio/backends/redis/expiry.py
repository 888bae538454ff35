"""Ends statuses at their `until`. Every node does this; the first one does it for all.

Redis's clock decides: it is asked how many seconds are left, and that time is slept on the local clock. So nodes whose
clocks differ end a status at the same moment, and the end reaches them as any other change. An ended status is never
served meanwhile, because answers check the clock themselves. This module is for those who wait for changes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import Any

import trio

from fingertrio.backend import BackendError
from fingertrio.backends.redis.store import RedisStore

# Seconds. Redis's clock may be adjusted during the sleep: look again.
_LONGEST_SLEEP = 60.0
_AFTER_REFUSAL = 1.0  # seconds until the next attempt when Redis accepts no writes
_LOG_INTERVAL = 60.0  # seconds between two log messages about that

_log = logging.getLogger(__name__)

Ask = Callable[[Callable[[RedisStore], Awaitable[Any]]], Awaitable[Any]]


class Expiry:
    """When to look at each shard next, on trio's clock."""

    def __init__(self) -> None:
        self._next_looks: list[float] = []
        self._sooner = trio.Event()
        self._logged_at = -inf

    def expect(self, shard: int, seconds: float) -> None:
        """A status of `shard` ends in `seconds`."""
        look = trio.current_time() + seconds
        if shard < len(self._next_looks) and look < self._next_looks[shard]:
            self._next_looks[shard] = look
            self._sooner.set()

    def look_at_all(self) -> None:
        """Forget what is expected: changes were missed."""
        self._next_looks = [-inf] * len(self._next_looks)
        self._sooner.set()

    async def run(self, ask: Ask, shards: int) -> None:
        """End what is due, now and later; never returns.

        Args:
            ask: sends a request to the store. BackendError means that Redis refused it; other exceptions go through.
            shards: how many there are.
        """
        self._next_looks = [-inf] * shards
        while True:
            self._sooner = trio.Event()
            for shard, look in enumerate(self._next_looks):
                if look <= trio.current_time():
                    await self._look(ask, shard)
            with trio.move_on_at(min(self._next_looks)):
                await self._sooner.wait()

    async def _look(self, ask: Ask, shard: int) -> None:
        self._next_looks[shard] = inf  # so that `expect` counts from now on
        try:
            due, ahead = await ask(lambda store: store.due(shard))
            for member in due:
                await ask(partial(RedisStore.end, shard=shard, member=member))
        except BackendError as error:
            self._log_refusal(error)
            pause = _AFTER_REFUSAL
        else:
            # If some were due, there may be more.
            pause = 0.0 if due else min(_LONGEST_SLEEP if ahead is None else ahead, _LONGEST_SLEEP)
        self._next_looks[shard] = min(self._next_looks[shard], trio.current_time() + pause)

    def _log_refusal(self, error: BackendError) -> None:
        if trio.current_time() - self._logged_at >= _LOG_INTERVAL:
            self._logged_at = trio.current_time()
            _log.warning("Redis refuses to end statuses that are due: %s", error.__cause__ or error)
