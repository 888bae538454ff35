"""One method for each request to Redis, over connected clients.

Knows the keys, the scripts and the API of coredis; not what to do when Redis is unavailable. Exceptions of coredis go
through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import trio
from coredis.client import Client

from fingertrio.backends.redis import scripts
from fingertrio.backends.redis.keys import LAYOUT_VERSION, Keys, layout_key
from fingertrio.backends.redis.records import FIELDS, Roster, StoredStatus, UserRecord

# Changes read at once. A node that lags reads many such portions, and other tasks run between them.
_PORTION = 500

_NO_CHANGE = b"0-0"  # precedes every change


class LayoutError(Exception):
    """The data under our keys has a layout that this version does not know. It is left as it is."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much Redis keeps: statuses of a user, for how many microseconds (0: for ever), and changes of a shard."""

    history: int
    age: int
    backlog: int


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a shard's changes: the id and the number of the last change read; number 0: before the first."""

    id: bytes = _NO_CHANGE
    number: int = 0


@dataclass(frozen=True, slots=True)
class StoredChange:
    """One change.

    Attributes:
        position: in the shard's changes.
        user: whose status or profile has changed.
        listed: whether the list of users may differ.
        since: that of the new status; None: the change was something else.
        ahead: seconds from the change to the end of the new status; None: it has no end.
    """

    position: Position
    user: str
    listed: bool
    since: int | None
    ahead: float | None


class RedisStore:
    """Made by `RedisStore.open`."""

    def __init__(self, asking: Client[bytes], following: Client[bytes], keys: Keys, limits: Limits) -> None:
        self.keys = keys
        self._client = asking
        self._following = following
        self._limits = limits
        self._set = asking.register_script(scripts.SET)
        self._due = asking.register_script(scripts.DUE)
        self._end = asking.register_script(scripts.END)
        self._history = asking.register_script(scripts.HISTORY)
        self._set_profile = asking.register_script(scripts.SET_PROFILE)

    @classmethod
    async def open(
        cls, asking: Client[bytes], following: Client[bytes], prefix: str, shards: int, limits: Limits
    ) -> RedisStore:
        """The store under `prefix`, created with `shards` if it is new. Raises LayoutError."""
        script = asking.register_script(scripts.LAYOUT)
        found: Any = await script(keys=[layout_key(prefix)], args=[LAYOUT_VERSION, shards])
        try:
            version, laid_out = int(found[0]), int(found[1])
        except (TypeError, ValueError):
            raise LayoutError(f"the key {layout_key(prefix).decode()} was not written by fingertrio") from None
        if version != LAYOUT_VERSION:
            raise LayoutError(f"its keys have layout version {version}; this program knows version {LAYOUT_VERSION}")
        return cls(asking, following, Keys(prefix, laid_out), limits)

    # --- users --------------------------------------------------------------------------------------------------------

    async def read(self, user: str) -> UserRecord:
        """What is stored for `user`; an empty record if there is no such user."""
        return UserRecord.read(user, await self._client.hmget(self.keys.user(user), FIELDS))

    async def set(self, user: str, text: str, until: int | None, *, known: bool = False) -> UserRecord | None:
        """Store a status. Returns what is stored now.

        None: `until` has passed or, with `known`, the user has no status; nothing was stored.
        """
        keys = self.keys
        shard = keys.shard(user)
        stored: Any = await self._set(
            keys=[
                keys.user(user),
                keys.history(user),
                *(keys.of_shard(shard, what) for what in ("users", "passing", "count", "changes")),
            ],
            args=[
                user,
                text,
                "-" if until is None else until,
                self._limits.history,
                self._limits.age,
                self._limits.backlog,
                int(known),
            ],
        )
        return None if stored is None else UserRecord.read(user, stored)

    async def roster(self) -> Roster:
        """The users that have a status."""
        lasting: list[str] = []
        passing: list[tuple[str, float]] = []

        async def ask(shard: int) -> None:
            # In this order: a user who sets a lasting status between the two requests is found by one of them.
            members = await self._client.zrange(self.keys.of_shard(shard, "passing"), 0, -1, withscores=True)
            passing.extend((_text(member.member), member.score) for member in members)
            lasting.extend(map(_text, await self._client.smembers(self.keys.of_shard(shard, "users"))))

        await self._each_shard(ask)
        return Roster(lasting, passing)

    async def history(self, user: str, limit: int, before: int) -> Sequence[StoredStatus]:
        """At most `limit` statuses of `user` set before `before`, newest first."""
        found: Any = await self._history(
            keys=[self.keys.user(user), self.keys.history(user)], args=[before, limit, self._limits.age]
        )
        return [StoredStatus.read(b" ".join(entry)) for entry in found]

    async def set_profile(self, user: str, name: str, details: bytes) -> None:
        """Store the full name and the details; an empty value removes what was stored."""
        keys = self.keys
        shard = keys.shard(user)
        await self._set_profile(
            keys=[keys.user(user), keys.of_shard(shard, "count"), keys.of_shard(shard, "changes")],
            args=[user, name, details, self._limits.backlog],
        )

    # --- expiry -------------------------------------------------------------------------------------------------------

    async def due(self, shard: int) -> tuple[Sequence[str], float | None]:
        """Some users whose status has reached its end, and the seconds until the next one does."""
        found: Any = await self._due(keys=[self.keys.of_shard(shard, "passing")])
        return [_text(user) for user in found[0]], None if found[1] is None else int(found[1]) / 1e6

    async def end(self, user: str) -> None:
        """End a status that is due, unless another node has."""
        keys = self.keys
        shard = keys.shard(user)
        await self._end(
            keys=[keys.user(user), *(keys.of_shard(shard, what) for what in ("passing", "count", "changes"))],
            args=[user, self._limits.backlog],
        )

    # --- changes ------------------------------------------------------------------------------------------------------

    async def counts(self) -> Sequence[int]:
        """The number of changes of each shard. In a cluster it asks every node that holds a shard, as a check."""
        found = await self._client.mget([self.keys.of_shard(shard, "count") for shard in range(self.keys.shards)])
        return [int(count or 0) for count in found]

    async def last_changes(self) -> Sequence[Position]:
        """The end of each shard's changes."""
        found = [Position()] * self.keys.shards

        async def ask(shard: int) -> None:
            for entry in await self._client.xrevrange(self.keys.of_shard(shard, "changes"), count=1):
                found[shard] = _change(entry).position

        await self._each_shard(ask)
        return found

    async def next_changes(
        self, positions: Mapping[int, Position], wait: float
    ) -> Mapping[int, Sequence[StoredChange]]:
        """The changes after `positions`, by shard, as soon as there are any; empty after `wait` seconds without."""
        names = {self.keys.of_shard(shard, "changes"): shard for shard in positions}
        found = await self._following.xread(
            {name: positions[shard].id for name, shard in names.items()}, count=_PORTION, block=int(wait * 1000)
        )
        return {names[_bytes(name)]: [_change(entry) for entry in entries] for name, entries in (found or {}).items()}

    async def _each_shard(self, ask: Callable[[int], Awaitable[None]]) -> None:
        """All shards at once: on one connection the requests leave together."""
        async with trio.open_nursery() as nursery:
            for shard in range(self.keys.shards):
                nursery.start_soon(ask, shard)


def _change(entry: Any) -> StoredChange:
    fields = entry.field_values
    since, ends = fields[b"s"], fields[b"t"]
    began = int(entry.identifier.split(b"-")[0])  # milliseconds, on the same clock as `ends`
    return StoredChange(
        Position(entry.identifier, int(fields[b"n"])),
        _text(fields[b"u"]),
        fields[b"l"] == b"1",
        None if since == b"-" else int(since),
        None if ends == b"-" else max(int(ends) / 1e6 - began / 1e3, 0.0),
    )


def _text(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode("utf-8", "replace")


def _bytes(name: bytes | str) -> bytes:
    return name.encode() if isinstance(name, str) else name
