"""One method for each request to Redis, over connected clients.

Knows the keys, the scripts and the API of coredis; not what to do when Redis is unavailable. Exceptions of coredis go
through. Redis may hold anything, because other programs can write to it: a reply that makes no sense is a
StoredDataError that names the key, or a part of the reply that is skipped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import trio
from coredis.client import Client
from coredis.exceptions import (
    AuthorizationError,
    UnknownCommandError,
)

from fingertrio.backends.redis import scripts
from fingertrio.backends.redis.changes import JunkEntry, Position, StoredChange, read_change
from fingertrio.backends.redis.keys import LAYOUT_VERSION, SHARDS_LIMIT, Keys, layout_key, tokens_key
from fingertrio.backends.redis.places import Places
from fingertrio.backends.redis.records import (
    PROFILE_LIMIT,
    RECORD_LIMIT,
    Roster,
    StoredDataError,
    StoredStatus,
    UserRecord,
    read_details,
    read_name,
    read_time,
)
from fingertrio.backends.redis.running import Script, naming, text_of
from fingertrio.wire.status import STATUS_LIMIT

# Changes read at once. A node that lags reads many such portions, and other tasks run between them.
_PORTION = 500

_TIMES = 40  # bytes that the two times before a status may take


class LayoutError(Exception):
    """The data under our keys has a layout that this version does not know. It is left as it is."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much Redis keeps: statuses of a user, for how many microseconds (0: for ever), and changes of a shard."""

    history: int
    age: int
    backlog: int


_READ, _SET, _SET_PROFILE = Script(scripts.READ), Script(scripts.SET), Script(scripts.SET_PROFILE)
_REPLACE = Script(scripts.REPLACE)
_DUE, _END, _HISTORY = Script(scripts.DUE), Script(scripts.END), Script(scripts.HISTORY)
_LAST_CHANGE, _LAYOUT = Script(scripts.LAST_CHANGE), Script(scripts.LAYOUT)


class RedisStore:
    """Made by `RedisStore.open`."""

    def __init__(self, asking: Client[bytes], following: Client[bytes], keys: Keys, limits: Limits) -> None:
        self.keys = keys
        self._client = asking
        self.places = Places(asking, keys)
        self._following = following
        self._limits = limits

    @classmethod
    async def open(
        cls, asking: Client[bytes], following: Client[bytes], prefix: str, shards: int, limits: Limits
    ) -> RedisStore:
        """The store under `prefix`, created with `shards` if it is new. Raises LayoutError."""
        key = layout_key(prefix)
        try:
            found = [int(value) for value in await _LAYOUT.run(asking, [key], [LAYOUT_VERSION, shards])]
        except StoredDataError as error:
            raise LayoutError(str(error)) from None
        except (TypeError, ValueError):
            raise LayoutError(f"the key {key.decode()} was not written by fingertrio") from None
        version, laid_out = found
        if version != LAYOUT_VERSION:
            raise LayoutError(f"its keys have layout version {version}; this program knows version {LAYOUT_VERSION}")
        if not 1 <= laid_out <= SHARDS_LIMIT:
            raise LayoutError(f"the key {key.decode()} has {laid_out} shards; expected 1 to {SHARDS_LIMIT}")
        return cls(asking, following, Keys(prefix, laid_out), limits)

    async def is_replica(self) -> bool:
        """Whether the server follows another one. HELLO is the command for that which needs no further permission.

        A proxy may not know it, or not report a role. Then this is False.
        """
        try:
            role = (await self._client.hello()).get(b"role")
        except (AuthorizationError, UnknownCommandError):
            return False
        return bool(role == b"replica")

    # --- users --------------------------------------------------------------------------------------------------------

    async def read(self, user: str) -> UserRecord:
        """What is stored for `user`; an empty record if there is no such user."""
        key = self.keys.user(user)
        with naming(key):
            return UserRecord.read(user, await _READ.run(self._client, [key], [RECORD_LIMIT]))

    async def set(self, user: str, text: str, until: int | None, *, known: bool = False) -> UserRecord | None:
        """Store a status. Returns it as a record with the user's name and details.

        None: `until` has passed or, with `known`, the user has no status; nothing was stored.
        """
        keys = self.keys
        shard = keys.shard(user)
        stored = await _SET.run(
            self._client,
            [
                keys.user(user),
                keys.history(user),
                *(keys.of_shard(shard, what) for what in ("users", "passing", "count", "changes", "recent")),
            ],
            [
                user,
                text,
                "-" if until is None else until,
                self._limits.history,
                self._limits.age,
                self._limits.backlog,
                int(known),
                PROFILE_LIMIT,
            ],
        )
        if stored is None:
            return None
        status, name, details = StoredStatus.read(stored[0]), read_name(stored[1]), stored[2]
        lasting, passing = (status, None) if until is None else (None, status)
        try:
            return UserRecord(user, lasting, passing, name, read_details(details))
        except StoredDataError:  # the status is stored nevertheless; reading the user will report this
            return UserRecord(user, lasting, passing, name, read_details(None))

    async def roster(self) -> Roster:
        """The users that have a status."""
        lasting: list[str] = []
        passing: list[tuple[str, float]] = []

        async def ask(shard: int) -> None:
            # In this order: a user who sets a lasting status between the two requests is found by one of them.
            with naming(key := self.keys.of_shard(shard, "passing")):
                members = await self._client.zrange(key, 0, -1, withscores=True)
            passing.extend((text_of(member.member), member.score) for member in members)
            with naming(key := self.keys.of_shard(shard, "users")):
                lasting.extend(map(text_of, await self._client.smembers(key)))

        await self._each_shard(ask)
        return Roster(lasting, passing)

    async def history(self, user: str, limit: int, before: int) -> Sequence[StoredStatus]:
        """At most `limit` statuses of `user` set before `before`, newest first. Junk is skipped."""
        entries = await _HISTORY.run(
            self._client,
            [self.keys.user(user), self.keys.history(user)],
            [before, limit, self._limits.age, STATUS_LIMIT + _TIMES],
        )
        found = []
        for entry in entries:
            with suppress(StoredDataError):
                found.append(StoredStatus.read(b" ".join(entry)))
        return found

    async def set_profile(self, user: str, name: str, details: bytes) -> UserRecord:
        """Store the full name and the details; an empty value removes what was stored. Returns what is stored then."""
        keys = self.keys
        shard = keys.shard(user)
        values = await _SET_PROFILE.run(
            self._client,
            [keys.user(user), *(keys.of_shard(shard, what) for what in ("count", "changes", "recent"))],
            [user, name, details, self._limits.backlog],
        )
        with naming(keys.user(user)):
            return UserRecord.read(user, values)

    async def tokens(self) -> bytes | None:
        """The document with the tokens."""
        return await self._client.get(tokens_key(self.keys.prefix))

    async def replace_tokens(self, document: bytes, old: bytes | None) -> bool:
        """Put `document` in the place of `old`; False: it is no longer `old`."""
        return bool(await _REPLACE.run(self._client, [tokens_key(self.keys.prefix)], [document, old or b""]))

    # --- expiry -------------------------------------------------------------------------------------------------------

    async def due(self, shard: int) -> tuple[Sequence[bytes], float | None]:
        """Some members of `passing` whose time has come, and the seconds until the next one's has."""
        members, ahead = await _DUE.run(self._client, [self.keys.of_shard(shard, "passing")])
        return members, None if ahead is None else int(ahead) / 1e6

    async def end(self, shard: int, member: bytes) -> None:
        """End a status that is due, unless another node has; remove `member` if it is not a user's name."""
        names = [self.keys.of_shard(shard, what) for what in ("passing", "count", "changes", "recent", "user:")]
        await _END.run(self._client, [*names[:-1], names[-1] + member], [member, self._limits.backlog])

    # --- changes ------------------------------------------------------------------------------------------------------

    async def counts(self) -> Sequence[int]:
        """The number of changes of each shard. In a cluster it asks every node that holds a shard, as a check."""
        names = [self.keys.of_shard(shard, "count") for shard in range(self.keys.shards)]
        found = []
        for key, count in zip(names, await self._client.mget(names), strict=True):
            with naming(key):
                found.append(read_time(count or b"0"))
        return found

    async def last_change(self, shard: int) -> Position:
        """The end of a shard's changes. The number is the count of changes, not what the last entry says."""
        names = [self.keys.of_shard(shard, what) for what in ("count", "changes")]
        count, last = await _LAST_CHANGE.run(self._client, names)
        return Position(int(count)) if last is None else Position(int(count), last)

    async def last_changes(self) -> Sequence[Position]:
        """The end of each shard's changes."""
        found = [Position()] * self.keys.shards

        async def ask(shard: int) -> None:
            found[shard] = await self.last_change(shard)

        await self._each_shard(ask)
        return found

    async def next_changes(
        self, positions: Mapping[int, Position], wait: float
    ) -> Mapping[int, Sequence[StoredChange | JunkEntry]]:
        """The changes after `positions`, by shard, as soon as there are any; empty after `wait` seconds without."""
        names = {self.keys.of_shard(shard, "changes"): shard for shard in positions}
        found = await self._following.xread(
            {name: positions[shard].id for name, shard in names.items()}, count=_PORTION, block=int(wait * 1000)
        )
        return {
            names[key := _bytes(name)]: [_read_entry(key, entry) for entry in entries]
            for name, entries in (found or {}).items()
        }

    async def _each_shard(self, ask: Callable[[int], Awaitable[None]]) -> None:
        """All shards at once: on one connection the requests leave together."""
        async with trio.open_nursery() as nursery:
            for shard in range(self.keys.shards):
                nursery.start_soon(ask, shard)


def _read_entry(key: bytes, entry: Any) -> StoredChange | JunkEntry:
    return read_change(key, entry.identifier, entry.field_values)


def _bytes(name: bytes | str) -> bytes:
    return name.encode() if isinstance(name, str) else name
