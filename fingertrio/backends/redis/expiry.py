"""Ending statuses when their time has come. Every node does it; whichever is first does it for all.

When that is, Redis's clock decides: it is asked how many seconds are left, and these are slept on ours. So nodes whose
calendars differ end a status at the same moment, and hear of it as of any change.
"""

from __future__ import annotations

from math import inf

import trio

from fingertrio.backends.redis.store import Store

# Seconds. Redis's clock may be set while we sleep: look again.
_LONGEST_SLEEP = 60.0


class Expiry:
    """When to look at each shard next, by trio's clock."""

    def __init__(self) -> None:
        self._looks: list[float] = []
        self._sooner = trio.Event()

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

    async def run(self, store: Store) -> None:
        """End what is due, now and whenever something is; never returns."""
        self._looks = [-inf] * store.keys.shards
        while True:
            self._sooner = trio.Event()
            for shard, look in enumerate(self._looks):
                if look <= trio.current_time():
                    await self._look(store, shard)
            with trio.move_on_at(min(self._looks)):
                await self._sooner.wait()

    async def _look(self, store: Store, shard: int) -> None:
        self._looks[shard] = inf  # what is expected from now on counts again
        due, ahead = await store.due(shard)
        for user in due:
            await store.end(user)
        # Some were due: there may be more of them.
        pause = 0.0 if due else min(_LONGEST_SLEEP if ahead is None else ahead, _LONGEST_SLEEP)
        self._looks[shard] = min(self._looks[shard], trio.current_time() + pause)
