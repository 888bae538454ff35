"""The backend: the contract, over a link to Redis, what is followed of it, and copies for when it is away.

It lists, sets, tells of changes and keeps history. Redis is asked for every answer, since whoever keeps answers, the
service, learns from the changes when to ask anew. While Redis is away:

- feeds end with BackendError, so that nothing that was kept counts as fresh, and can be entered again when it is back;
- who was asked for before is answered from the copies, stale, which the log says and `stale_since` tells;
- nothing can be set. A status that was under way may or may not have been set, and then the error says so.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import TypeVar

import trio

from fingertrio.backend import BackendError, Change, UserInfo
from fingertrio.backends.redis.connect import connect
from fingertrio.backends.redis.copies import Copies
from fingertrio.backends.redis.expiry import Expiry
from fingertrio.backends.redis.follow import Follower
from fingertrio.backends.redis.link import Away, CutOff, Link, Session
from fingertrio.backends.redis.options import RedisOptions
from fingertrio.backends.redis.records import write_details
from fingertrio.backends.redis.store import Limits, Store, Told
from fingertrio.changes import ChangeFeed, ChangeHub
from fingertrio.wire.times import to_microseconds

_AWAY = "The statuses cannot be reached at the moment"
_UNKNOWN = "The store did not answer; the status may or may not have been set"
_PASSED = "The time until which the status should hold has passed"

T = TypeVar("T")

_DAY = 24 * 60 * 60 * 1_000_000  # microseconds
_FOREVER = 2**53  # microseconds: no `before`


def _now() -> int:
    return time.time_ns() // 1000


class RedisBackend:
    """Made by `open_redis`. Answers while `run` runs."""

    def __init__(self, options: RedisOptions, tls: ssl.SSLContext | None = None) -> None:
        self._options = options
        self._tls = tls
        self._copies = Copies(options.stale)
        self._hub = ChangeHub()
        self._expiry = Expiry()
        self._follower = Follower(self._heard, self._lost)
        self._link = Link(
            str(options.target), self._connect, self._follower.resume, self._tasks, timeout=options.timeout
        )

    def stale_since(self) -> datetime | None:
        """Since when answers may be stale because Redis is away; None: it is there, and they are not."""
        return self._link.away_since

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Stay connected, as far as possible. Started after the first attempt. Raises ValueError; see `Link.run`."""
        await self._link.run(task_status=task_status)

    async def get_user(self, user: str) -> UserInfo | None:
        """What is known of `user`; while Redis is away, what was last known."""
        with self._copies.asking(user) as asking:
            try:
                record = await self._link.call(lambda store: store.read(user))
            except Away as error:
                if (copy := self._copies.record(user)) is None:
                    raise BackendError(_AWAY) from error
                record = copy
            else:
                self._copies.keep(record, asking)
        return record.info(_now())

    async def get_users(self) -> Sequence[str]:
        """Everybody who has a status now, in the order of their names; while Redis is away, as was last known."""
        with self._copies.asking(None) as asking:
            try:
                roster = await self._link.call(Store.roster)
            except Away as error:
                if (copy := self._copies.roster) is None:
                    raise BackendError(_AWAY) from error
                roster = copy
            else:
                self._copies.keep_roster(roster, asking)
        return roster.names(_now())

    async def get_history(self, user: str, limit: int, before: datetime | None = None) -> Sequence[UserInfo]:
        """Statuses of `user`, newest first; `until`: when each ended or will, None where it holds, or will again."""
        end = _FOREVER if before is None else to_microseconds(before)
        try:
            found = await self._link.call(lambda store: store.history(user, limit, end))
        except Away as error:
            raise BackendError(_AWAY) from error
        return [said.info(user) for said in found]

    async def set_user(self, user: str, status: str, *, until: datetime | None = None) -> UserInfo:
        """Set a status, of anybody. When this returns, Redis has it; how safe it is there is Redis's configuration."""
        end = None if until is None else to_microseconds(until)
        record = await self._write(lambda store: store.set(user, status, end))
        if record is None:
            raise BackendError(_PASSED)
        said = record.lasting if record.passing is None else record.passing
        if said is None:
            raise AssertionError("what was set is stored")
        return said.info(user, record.name, record.details)

    async def describe_user(self, user: str, name: str | None, details: Mapping[str, str]) -> None:
        """Set the full name and the details, which show once there is a status."""
        stored = write_details(details) if details else b""
        await self._write(lambda store: store.describe(user, name or "", stored))

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[Change]]:
        """A feed of every node's changes from now on. It breaks when Redis is lost, and is entered when it is there.

        Raises:
            BackendError: Redis is away, and has been since the start, which is said once.
        """
        try:
            session = await self._link.session()
            await self._link.call_in(session, self._follower.catch_up)  # what is heard from now on is not of the past
        except Away as error:
            raise BackendError(_AWAY) from error
        async with self._hub.changes() as feed:
            yield _BoundFeed(session, feed)

    async def _write(self, ask: Callable[[Store], Awaitable[T]]) -> T:
        try:
            return await self._link.call(ask)
        except CutOff as error:
            raise BackendError(_UNKNOWN) from error
        except Away as error:
            raise BackendError(_AWAY) from error

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Store]:
        options = self._options
        days = options.history_days
        limits = Limits(options.history, 0 if days is None else int(days * _DAY), options.backlog)
        async with connect(options.target, timeout=options.timeout, tls=self._tls) as (asking, following):
            yield await Store.open(asking, following, options.prefix, options.shards, limits)

    def _tasks(self, session: Session) -> Iterable[Callable[[], Awaitable[None]]]:
        """What goes on while Redis is there. A cluster is followed shard by shard, for each has a slot of its own."""
        store = session.store
        shards = range(store.keys.shards)
        groups = [[shard] for shard in shards] if self._options.target.kind == "cluster" else [list(shards)]
        pace = {"wait": self._options.heartbeat, "patience": self._options.timeout}
        yield from (partial(self._follower.read, store, group, **pace) for group in groups)
        yield partial(self._follower.beat, store, **pace)
        yield partial(self._expiry.run, partial(self._link.call_in, session), store.keys.shards)

    def _heard(self, shard: int, told: Told) -> None:
        self._copies.forget(told.user, told.since, listed=told.listed)
        if told.ahead is not None:
            self._expiry.expect(shard, told.ahead)
        self._hub.emit(Change(told.user))

    def _lost(self) -> None:
        self._copies.forget_all()
        self._expiry.look_at_all()
        self._hub.emit(Change(None))


class _BoundFeed:
    """A feed that ends with its session."""

    def __init__(self, session: Session, feed: ChangeFeed) -> None:
        self._session = session
        self._feed = feed

    def __aiter__(self) -> _BoundFeed:
        return self

    async def __anext__(self) -> Change:
        try:
            with self._session.bound():
                return await anext(self._feed)
        except CutOff as error:
            raise BackendError(_AWAY) from error
        raise AssertionError("bound() raises where it cuts off")
