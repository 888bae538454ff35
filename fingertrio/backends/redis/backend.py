"""The redis backend: the contract, over a connection to Redis, its change streams, and copies for outages.

It lists users, sets statuses, emits changes and keeps history. Answers are requested from Redis, except those of which
a copy is here that every change since has been compared with. While Redis is unavailable:

- feeds end with BackendError, so that nothing kept counts as fresh, and can be entered again once Redis is back;
- users that were asked for before are answered from copies, as stale, which the log and `stale_since` report;
- no status can be set. If a set was under way, whether it was carried out is not known, and the error says so.

A server that has become a replica is still read, as stale; see role.py.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from typing import TypeVar

import trio

from fingertrio.backend import BackendError, Change, Recency, UserInfo
from fingertrio.backends.redis.changes import StoredChange
from fingertrio.backends.redis.connect import connect
from fingertrio.backends.redis.copies import Copies
from fingertrio.backends.redis.expiry import Expiry
from fingertrio.backends.redis.follow import ChangeFollower
from fingertrio.backends.redis.link import ConnectionLostError, Link, RedisSession, UnavailableError
from fingertrio.backends.redis.options import RedisOptions
from fingertrio.backends.redis.places import Place, Places, place_at
from fingertrio.backends.redis.records import PROFILE_LIMIT, UserRecord, write_details
from fingertrio.backends.redis.role import RoleCheck
from fingertrio.backends.redis.store import Limits, RedisStore
from fingertrio.changes import ChangeFeed, ChangeHub
from fingertrio.wire.times import to_microseconds

_UNAVAILABLE = "The statuses cannot be reached at the moment"
_REFUSED = "The store does not accept this at the moment; nothing was set"
_UNCONFIRMED = "The store did not answer; the status may or may not have been set"
_PASSED = "The end of the status has passed already"

T = TypeVar("T")

_DAY = 24 * 60 * 60 * 1_000_000  # microseconds
_FOREVER = 2**53  # microseconds: no `before`


def _now() -> int:
    return time.time_ns() // 1000


class RedisBackend:
    """Made by `open_redis`. Answers while `run` is running."""

    def __init__(self, options: RedisOptions, tls: ssl.SSLContext | None = None) -> None:
        self._options = options
        self._tls = tls
        self._copies = Copies(options.stale)
        self._hub = ChangeHub()
        self._expiry = Expiry()
        self._follower = ChangeFollower(self._on_change, self._on_gap)
        name = str(options.target)
        self._role = RoleCheck(name, options.target.kind)
        self._link = Link(name, self._connect, self._prepare, self._tasks, timeout=options.timeout)
        self._followed: RedisSession | None = None  # in which a feed has caught up, so that the copies are current

    def stale_since(self) -> datetime | None:
        """Since when answers may be stale because Redis is unavailable, or a replica; None: they are not."""
        since = (self._link.unavailable_since, self._role.replica_since)
        return min((when for when in since if when is not None), default=None)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Stay connected if possible. Started after the first attempt. Raises ValueError; see `Link.run`."""
        await self._link.run(task_status=task_status)

    async def get_user(self, user: str) -> UserInfo | None:
        """See `Backend`; while Redis is unavailable, the last known answer."""
        with self._copies.reading(user) as pending:
            try:
                record = await self._link.call(lambda store: store.read(user))
            except UnavailableError as error:
                if (copy := self._copies.record(user)) is None:
                    raise BackendError(_UNAVAILABLE) from error
                record = copy
            else:
                self._copies.keep(record, pending)
        return record.info(_now())

    def get_user_now(self, user: str) -> UserInfo | None:
        """See `AnswersAtOnce`: from a copy, while a feed of changes is followed."""
        record = self._copies.record(user)
        if record is None or self._followed is None or self._followed.failure is not None:
            raise LookupError(user)
        return record.info(_now())

    async def get_users(self) -> Sequence[str]:
        """All users that have a status, sorted by name; while Redis is unavailable, the last known list."""
        with self._copies.reading(None) as pending:
            try:
                roster = await self._link.call(RedisStore.roster)
            except UnavailableError as error:
                if (copy := self._copies.roster) is None:
                    raise BackendError(_UNAVAILABLE) from error
                roster = copy
            else:
                self._copies.keep_roster(roster, pending)
        return roster.names(_now())

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        """See `ListsRecent`; while Redis is unavailable, of the users whose last known answer is kept."""
        place = None
        if before is not None and (place := place_at(before)) is None:
            return []
        try:
            return await self._link.call(lambda store: self._read_recent(store.places, limit, place))
        except UnavailableError as error:
            if not (infos := self._copies.recent(limit, place, _now())):
                raise BackendError(_UNAVAILABLE) from error
            return infos

    async def _read_recent(self, places: Places, limit: int, before: Place | None) -> list[UserInfo]:
        """The first `limit` statuses behind the place.

        Users may change between the two requests, or stand at the place of a status that has ended. So what is found
        counts up to the last place that was asked for, and the search goes on behind it until there is enough.
        """
        infos: dict[str, UserInfo] = {}
        behind = before
        while True:
            found, ended = await places.first(limit, behind)
            for record in await self._read_all({*ended, *(user for _, user in found)}, places):
                if (info := record.info(_now())) is not None and info.status:
                    infos[record.user] = info
            horizon = found[-1] if len(found) >= limit else None
            kept = sorted(
                (place, info.user, info)
                for info in infos.values()
                if (place := place_at(Recency.of(info))) is not None
                and (before is None or before < place)
                and (horizon is None or place <= horizon)
            )
            if len(kept) >= limit or horizon is None:
                return [info for _, _, info in kept[:limit]]
            behind = horizon

    async def _read_all(self, users: Collection[str], places: Places) -> list[UserRecord]:
        with ExitStack() as stack:
            pending = {user: stack.enter_context(self._copies.reading(user)) for user in users}
            records = await places.read(list(users))
            for record in records:
                self._copies.keep(record, pending[record.user])
        return records

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        """Statuses of `user`, newest first, each with its end as `until`; None: it holds, or will hold again."""
        end = _FOREVER if before is None else to_microseconds(before)
        try:
            found = await self._link.call(lambda store: store.history(user, limit, end))
        except UnavailableError as error:
            raise BackendError(_UNAVAILABLE) from error
        return [status.info(user) for status in found]

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """Set a status. When this returns, Redis has it; whether it survives a crash depends on Redis's settings."""
        end = None if until is None else to_microseconds(until)
        record = await self._set(user, lambda store: store.set(user, status, end))
        if record is None:
            raise BackendError(_PASSED)
        stored = record.lasting if record.passing is None else record.passing
        if stored is None:
            raise AssertionError("the status was just stored")
        return stored.info(user, record.name, record.details)

    async def clear_user(self, user: str) -> UserInfo | None:
        """Take back the status of `user`, also a lasting one beneath a temporary one."""
        record = await self._set(user, lambda store: store.set(user, "", None, known=True))
        if record is None:
            return None
        if record.lasting is None:
            raise AssertionError("the empty status was just stored")
        return record.lasting.info(user, record.name, record.details)

    async def read_tokens(self) -> bytes | None:
        """See `KeepsTokens`. While Redis is unavailable, no token is accepted."""
        try:
            return await self._link.call(RedisStore.tokens)
        except UnavailableError as error:
            raise BackendError(_UNAVAILABLE) from error

    async def replace_tokens(self, document: bytes, old: bytes | None) -> bool:
        """See `KeepsTokens`."""
        return await self._write(lambda store: store.replace_tokens(document, old))

    async def set_details(self, user: str, name: str | None, details: Mapping[str, str]) -> UserInfo | None:
        """See `SetsDetails`. Raises BackendError, too, if they are longer than PROFILE_LIMIT together."""
        stored = write_details(details) if details else b""
        if len((name or "").encode()) + len(stored) > PROFILE_LIMIT:
            raise BackendError(f"The full name and the details are longer than {PROFILE_LIMIT} bytes")
        record = await self._write(lambda store: store.set_profile(user, name or "", stored))
        return record.info(_now())

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[Change]]:
        """A feed of all nodes' changes from now on. It ends with the connection; entering waits for the next one.

        Raises:
            BackendError: Redis has been unavailable since the start. Raised at the first call only.
        """
        try:
            session = await self._link.session()
            await self._link.call_in(session, self._follower.catch_up)  # so that the feed has no earlier changes
            self._followed = session
        except UnavailableError as error:
            raise BackendError(_UNAVAILABLE) from error
        async with self._hub.changes() as feed:
            yield _BoundFeed(session, feed)

    async def _set(self, user: str, ask: Callable[[RedisStore], Awaitable[T]]) -> T:
        """Change what is stored for `user`. The change may arrive later than the reply, so the copy is dropped now."""
        try:
            changed = await self._write(ask)
        except trio.Cancelled:  # it may have been carried out
            self._copies.forget(user, None, listed=False)
            raise
        self._copies.forget(user, changed.latest if isinstance(changed, UserRecord) else None, listed=False)
        return changed

    async def _write(self, ask: Callable[[RedisStore], Awaitable[T]]) -> T:
        try:
            return await self._link.call(ask)
        except ConnectionLostError as error:
            raise BackendError(_UNCONFIRMED) from error
        except UnavailableError as error:
            raise BackendError(_UNAVAILABLE) from error
        except BackendError as error:
            raise BackendError(_REFUSED) from error.__cause__

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[RedisStore]:
        options = self._options
        days = options.history_days
        limits = Limits(options.history, 0 if days is None else int(days * _DAY), options.backlog)
        async with connect(options.target, timeout=options.timeout, tls=self._tls) as (asking, following):
            yield await RedisStore.open(asking, following, options.prefix, options.shards, limits)

    async def _prepare(self, store: RedisStore) -> None:
        await self._role.check(store)
        await self._follower.resume(store)

    def _tasks(self, session: RedisSession) -> Iterable[Callable[[], Awaitable[None]]]:
        """The tasks of a session. In a cluster each shard has its own slot and so its own reader."""
        store = session.store
        shards = range(store.keys.shards)
        groups = [[shard] for shard in shards] if self._options.target.kind == "cluster" else [list(shards)]
        pace = {"wait": self._options.heartbeat, "patience": self._options.timeout}
        yield from (partial(self._follower.read, store, group, **pace) for group in groups)
        yield partial(self._follower.beat, store, **pace)
        yield partial(self._role.watch, store, wait=self._options.heartbeat)
        yield partial(self._expiry.run, partial(self._link.call_in, session), store.keys.shards)

    def _on_change(self, shard: int, change: StoredChange) -> None:
        self._copies.forget(change.user, change.since, listed=change.listed)
        if change.ahead is not None:
            self._expiry.expect(shard, change.ahead)
        self._hub.emit(Change(change.user))

    def _on_gap(self) -> None:
        self._copies.forget_all()
        self._expiry.look_at_all()
        self._hub.emit(Change(None))


class _BoundFeed:
    """A feed that ends with its session."""

    def __init__(self, session: RedisSession, feed: ChangeFeed) -> None:
        self._session = session
        self._feed = feed

    def __aiter__(self) -> _BoundFeed:
        return self

    async def __anext__(self) -> Change:
        try:
            with self._session.bound():
                return await anext(self._feed)
        except ConnectionLostError as error:
            raise BackendError(_UNAVAILABLE) from error
        raise AssertionError("bound() raises where it cuts off")
