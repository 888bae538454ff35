"""What is asked of Redis, one method for each question, over connected clients.

Knows the keys and the scripts, and coredis's way to say things; not what to do when Redis is away. Whatever coredis
raises goes through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import trio
from coredis.client import Client

from fingertrio.backends.redis import scripts
from fingertrio.backends.redis.keys import LAYOUT_VERSION, Keys, layout_key
from fingertrio.backends.redis.records import FIELDS, Record, Roster, Said

# Changes that are taken from Redis at once. A node that lags takes many such portions; between two it serves others.
_PORTION = 500

_NO_CHANGE = b"0-0"  # comes before every change


class LayoutError(Exception):
    """What is under our keys was not laid out by this version of the program, and stays as it is."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept: statuses of a user, for how many microseconds (0: for ever), and changes of a shard."""

    history: int
    age: int
    backlog: int


@dataclass(frozen=True, slots=True)
class Position:
    """How far a shard's changes have been heard: the id of the last one and its number, 0 before the first."""

    id: bytes = _NO_CHANGE
    number: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """One change.

    Attributes:
        position: where it stands.
        user: whose status or description it is.
        listed: whether the list of users may differ.
        since: that of the new status, if that is what the change was.
        ahead: seconds from the change to the end of the new status, if it passes.
    """

    position: Position
    user: str
    listed: bool
    since: int | None
    ahead: float | None


class Store:
    """Made by `Store.open`."""

    def __init__(self, asking: Client[bytes], following: Client[bytes], keys: Keys, limits: Limits) -> None:
        self.keys = keys
        self._client = asking
        self._following = following
        self._limits = limits
        self._set = asking.register_script(scripts.SET)
        self._due = asking.register_script(scripts.DUE)
        self._end = asking.register_script(scripts.END)
        self._history = asking.register_script(scripts.HISTORY)
        self._describe = asking.register_script(scripts.DESCRIBE)

    @classmethod
    async def open(
        cls, asking: Client[bytes], following: Client[bytes], prefix: str, shards: int, limits: Limits
    ) -> Store:
        """The store under `prefix`, laid out with `shards` if it is new. Raises LayoutError."""
        script = asking.register_script(scripts.LAYOUT)
        found: Any = await script(keys=[layout_key(prefix)], args=[LAYOUT_VERSION, shards])
        try:
            version, laid_out = int(found[0]), int(found[1])
        except (TypeError, ValueError):
            raise LayoutError(f"the key {layout_key(prefix).decode()} is not fingertrio's") from None
        if version != LAYOUT_VERSION:
            raise LayoutError(f"it is laid out by version {version} of fingertrio's keys; this program knows 1")
        return cls(asking, following, Keys(prefix, laid_out), limits)

    # --- users --------------------------------------------------------------------------------------------------------

    async def read(self, user: str) -> Record:
        """What is stored of `user`: nothing, if there is nobody."""
        return Record.read(user, await self._client.hmget(self.keys.user(user), FIELDS))

    async def set(self, user: str, text: str, until: int | None) -> Record | None:
        """Store a status; what is stored from now on. None: `until` has passed, and nothing was done."""
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
            ],
        )
        return None if stored is None else Record.read(user, stored)

    async def roster(self) -> Roster:
        """Who has a status."""
        lasting: list[str] = []
        passing: list[tuple[str, float]] = []

        async def ask(shard: int) -> None:
            # In this order: whoever comes to have a status that lasts meanwhile is found in one of the two.
            members = await self._client.zrange(self.keys.of_shard(shard, "passing"), 0, -1, withscores=True)
            passing.extend((_text(member.member), member.score) for member in members)
            lasting.extend(map(_text, await self._client.smembers(self.keys.of_shard(shard, "users"))))

        await self._each_shard(ask)
        return Roster(lasting, passing)

    async def history(self, user: str, limit: int, before: int) -> Sequence[Said]:
        """What `user` said before `before`, newest first."""
        found: Any = await self._history(
            keys=[self.keys.user(user), self.keys.history(user)], args=[before, limit, self._limits.age]
        )
        return [Said.read(b" ".join(entry)) for entry in found]

    async def describe(self, user: str, name: str, details: bytes) -> None:
        """Store the full name and the details; what is empty is removed."""
        keys = self.keys
        shard = keys.shard(user)
        await self._describe(
            keys=[keys.user(user), keys.of_shard(shard, "count"), keys.of_shard(shard, "changes")],
            args=[user, name, details, self._limits.backlog],
        )

    # --- what ends ----------------------------------------------------------------------------------------------------

    async def due(self, shard: int) -> tuple[Sequence[str], float | None]:
        """Some users whose status is to end now, and in how many seconds the next one is."""
        found: Any = await self._due(keys=[self.keys.of_shard(shard, "passing")])
        return [_text(user) for user in found[0]], None if found[1] is None else int(found[1]) / 1e6

    async def end(self, user: str) -> None:
        """End a status whose time has come, unless that was done."""
        keys = self.keys
        shard = keys.shard(user)
        await self._end(
            keys=[keys.user(user), *(keys.of_shard(shard, what) for what in ("passing", "count", "changes"))],
            args=[user, self._limits.backlog],
        )

    # --- changes ------------------------------------------------------------------------------------------------------

    async def counts(self) -> Sequence[int]:
        """How many changes each shard has had. It asks whatever holds any of them, which proves that all are there."""
        found = await self._client.mget([self.keys.of_shard(shard, "count") for shard in range(self.keys.shards)])
        return [int(count or 0) for count in found]

    async def last_changes(self) -> Sequence[Position]:
        """Where each shard's changes end now."""
        found = [Position()] * self.keys.shards

        async def ask(shard: int) -> None:
            for entry in await self._client.xrevrange(self.keys.of_shard(shard, "changes"), count=1):
                found[shard] = _told(entry).position

        await self._each_shard(ask)
        return found

    async def next_changes(self, positions: Mapping[int, Position], wait: float) -> Mapping[int, Sequence[Told]]:
        """What follows `positions`, by shard, as soon as there is any; nothing after `wait` seconds without."""
        names = {self.keys.of_shard(shard, "changes"): shard for shard in positions}
        found = await self._following.xread(
            {name: positions[shard].id for name, shard in names.items()}, count=_PORTION, block=int(wait * 1000)
        )
        return {names[_bytes(name)]: [_told(entry) for entry in entries] for name, entries in (found or {}).items()}

    async def _each_shard(self, ask: Callable[[int], Awaitable[None]]) -> None:
        """All at once: on one connection, the questions go out together."""
        async with trio.open_nursery() as nursery:
            for shard in range(self.keys.shards):
                nursery.start_soon(ask, shard)


def _told(entry: Any) -> Told:
    fields = entry.field_values
    since, ends = fields[b"s"], fields[b"t"]
    began = int(entry.identifier.split(b"-")[0])  # milliseconds, by the clock that `ends` belongs to
    return Told(
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
