"""Which users have the newest statuses, over all shards, and what is stored for them.

Each shard has its users in order (`recent`, see `lua.PLACE`). So a page costs two requests: the first places behind the
cursor, and what is stored for the users of the page. In a cluster each shard is asked by itself, as its keys are in a
slot of their own. Like `store`, this knows the keys and the scripts, and lets exceptions of coredis through.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from math import ceil

import trio
from coredis import RedisCluster
from coredis.client import Client

from fingertrio.backend import Recency
from fingertrio.backends.redis import place_scripts
from fingertrio.backends.redis.keys import Keys
from fingertrio.backends.redis.records import RECORD_LIMIT, StoredDataError, UserRecord
from fingertrio.backends.redis.running import Script, text_of
from fingertrio.wire.times import to_microseconds

# Places that a shard is asked for beyond twice its share of a page: a second request costs more than these.
_SPARE = 3

# How often `recent` of a shard is made anew for one request, while nodes of an earlier version change the shard.
_ATTEMPTS = 3

_RECENT, _READ_MANY = Script(place_scripts.RECENT), Script(place_scripts.READ_MANY)
_PLACE_ALL = Script(place_scripts.PLACE_ALL)

# Minus the time of a status, and the user: the order of `Recency`.
Place = tuple[int, str]


def place_at(recency: Recency) -> Place | None:
    """The same place; None: behind all that have a time."""
    return None if recency.since is None else (-to_microseconds(recency.since), recency.user)


class Places:
    """The places of all shards."""

    def __init__(self, client: Client[bytes], keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._is_cluster = isinstance(client, RedisCluster)

    async def first(self, limit: int, before: Place | None) -> tuple[list[Place], set[str]]:
        """The first `limit` places, or those behind `before`; and users whose place is that of a status that ended."""
        found: dict[int, Sequence[Place]] = {}
        ended: set[str] = set()
        # First a few of each shard, since a page has a few of each. Then all of those that may have more on this page.
        shards, count = list(range(self._keys.shards)), min(limit, 2 * ceil(limit / self._keys.shards) + _SPARE)
        while True:
            async with trio.open_nursery() as nursery:
                for group in self._groups(shards):
                    nursery.start_soon(self._ask, group, count, before, found, ended)
            merged = sorted(place for places in found.values() for place in places)[:limit]
            last = merged[-1] if len(merged) == limit else None
            shards = [
                shard for shard in shards if len(found[shard]) >= count and (last is None or found[shard][-1] < last)
            ]
            if not shards or count == limit:
                return merged, ended
            count = limit

    async def _ask(
        self, shards: list[int], count: int, before: Place | None, found: dict[int, Sequence[Place]], ended: set[str]
    ) -> None:
        score, member = ("-inf", "") if before is None else before
        for _attempt in range(_ATTEMPTS):
            keys = [self._keys.of_shard(shard, what) for shard in shards for what in ("recent", "count", "passing")]
            replies = await _RECENT.run(self._client, keys, [score, member, count])
            lacking: list[int] = []
            for shard, reply in zip(shards, replies, strict=True):
                if reply is None:
                    lacking.append(shard)
                    continue
                names, scores = reply[0][::2], reply[0][1::2]
                found[shard] = [(int(score), text_of(name)) for name, score in zip(names, scores, strict=True)]
                ended.update(map(text_of, reply[1]))
            if not lacking:
                return
            shards = lacking
            for shard in shards:
                await self._place_all(shard)
        key = self._keys.of_shard(shards[0], "recent").decode()
        raise StoredDataError(f"{key}: an earlier version of fingertrio changes this shard all the time")

    async def _place_all(self, shard: int) -> None:
        recent, count, users, passing, user = (
            self._keys.of_shard(shard, what) for what in ("recent", "count", "users", "passing", "user:")
        )
        await _PLACE_ALL.run(self._client, [recent, count, users, passing], [user])

    async def read(self, users: Sequence[str]) -> list[UserRecord]:
        """What is stored for `users`, in any order, without those for whom nothing valid is stored."""
        by_shard: dict[int, list[str]] = {}
        for user in users:
            by_shard.setdefault(self._keys.shard(user), []).append(user)
        records: list[UserRecord] = []

        async def ask(names: list[str]) -> None:
            found = await _READ_MANY.run(self._client, [self._keys.user(name) for name in names], [RECORD_LIMIT])
            for name, values in zip(names, found, strict=True):
                with suppress(StoredDataError):
                    if values:
                        records.append(UserRecord.read(name, values))

        async with trio.open_nursery() as nursery:
            for group in self._groups(list(by_shard)):
                nursery.start_soon(ask, [name for shard in group for name in by_shard[shard]])
        return records

    def _groups(self, shards: list[int]) -> list[list[int]]:
        """The shards that one request may concern."""
        if self._is_cluster:
            return [[shard] for shard in shards]
        return [shards] if shards else []
