"""The connection to Redis: opened, checked, dropped at its first failure, and reopened until it holds.

The time between two failures is a `RedisSession`. Any failure in it (of a request, of following the changes, of the
heartbeat) ends the session as a whole, at once, for all callers: requests under way are cut off, feeds end, and until
the next session every request raises `UnavailableError`. So no caller ever works with half a connection: Redis is
available and followed, or it is unavailable.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime
from math import inf
from typing import TypeVar

import anyio
import trio
from coredis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    RedisClusterError,
    RedisError,
    ResponseError,
    UnblockedError,
)

from fingertrio.backend import BackendError
from fingertrio.backends.redis.follow import RewoundError, SilenceError
from fingertrio.backends.redis.records import StoredDataError
from fingertrio.backends.redis.role import DemotedError
from fingertrio.backends.redis.store import LayoutError, RedisStore
from fingertrio.wire.backoff import Backoff

# Seconds between two attempts, first and longest. An outage is noticed within seconds and an attempt costs Redis next
# to nothing, so these are short. The jitter keeps the nodes from arriving all at once.
_BACKOFF = (0.1, 1.0)

# Raised by coredis when a connection fails, or has failed before. RuntimeError itself comes from its task groups after
# their end (its subclasses do not, see `_is_lost`); ExceptionGroup from our nurseries and from its task groups.
_LOST = (RedisError, OSError, RuntimeError, anyio.ClosedResourceError, anyio.BrokenResourceError, ExceptionGroup)

# Replies of a server that cannot answer now, or is no longer the right one: a new connection may do better.
_ELSEWHERE = (UnblockedError, RedisClusterError)
_NOT_NOW = ("MASTERDOWN ", "BUSY ")

# Redis answered but rejected us. At the start this is an error that the operator must correct.
_REJECTED = (AuthenticationError, AuthorizationError, LayoutError, StoredDataError)
_REJECTED_DATABASE = re.compile(
    "DB index is out of range|value is not an integer|SELECT is not allowed in cluster mode"
)

_ENDED = (*_REJECTED, SilenceError, RewoundError, DemotedError)

T = TypeVar("T")

_log = logging.getLogger(__name__)


class UnavailableError(Exception):
    """Redis cannot be asked; the reason is chained."""


class ConnectionLostError(UnavailableError):
    """The connection failed during the request. Whether Redis carried it out is not known."""


class RedisSession:
    """One connection to Redis, from its opening to its first failure."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self.scope = trio.CancelScope()
        self.failure: BaseException | None = None
        self._calls: set[trio.CancelScope] = set()

    def end(self, failure: BaseException) -> None:
        """Cut off all callers. Synchronous: afterwards this session returns nothing more."""
        if self.failure is None:
            self.failure = failure
            self.scope.cancel()
            for call in self._calls:
                call.cancel()

    @contextmanager
    def bound(self) -> Iterator[None]:
        """Cut off what is awaited inside when the session ends. Raises ConnectionLostError then."""
        with trio.CancelScope() as scope:
            if self.failure is not None:
                scope.cancel()
            self._calls.add(scope)
            try:
                yield
            finally:
                self._calls.discard(scope)
        if scope.cancelled_caught:
            raise ConnectionLostError from self.failure


# What ends a session when one of its tasks raises it.
_ENDING = (*_LOST, *_ENDED, UnavailableError)


class Link:
    """Keeps a session open whenever possible.

    Args:
        name: for log messages.
        connect: opens a store over new connections.
        prepare: runs before a session can be used.
        tasks: run in each session until it ends; none of them returns.
        timeout: seconds for a session to open.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], AbstractAsyncContextManager[RedisStore]],
        prepare: Callable[[RedisStore], Awaitable[None]],
        tasks: Callable[[RedisSession], Iterable[Callable[[], Awaitable[None]]]],
        timeout: float,
    ) -> None:
        self._name = name
        self._connect = connect
        self._prepare = prepare
        self._tasks = tasks
        self._timeout = timeout
        self._session: RedisSession | None = None
        self._failure: BaseException | None = None
        self._opened = trio.Event()
        self._logged = ""
        self._absence_reported = False
        self.unavailable_since: datetime | None = None

    async def call(self, ask: Callable[[RedisStore], Awaitable[T]]) -> T:
        """Send a request and return its reply.

        Raises:
            UnavailableError: there is no session.
            ConnectionLostError: the session ended before the reply.
            BackendError: Redis refused the request.
        """
        if (session := self._session) is None:
            await trio.lowlevel.checkpoint()
            raise UnavailableError from self._failure
        return await self.call_in(session, ask)

    async def call_in(self, session: RedisSession, ask: Callable[[RedisStore], Awaitable[T]]) -> T:
        """The same, in a given session."""
        try:
            with session.bound():
                return await ask(session.store)
        except (*_LOST, StoredDataError) as error:
            await trio.lowlevel.checkpoint_if_cancelled()  # coredis reports a cancelled request as a lost connection
            reason = first_leaf(error)
            if isinstance(reason, StoredDataError) or _is_refusal(reason):
                raise BackendError from reason
            if not _is_lost(reason):
                raise
            self._end(session, reason)
            raise ConnectionLostError from error
        raise AssertionError("bound() raises where it cuts off")

    async def session(self) -> RedisSession:
        """A session, as soon as there is one.

        If Redis is unavailable at the start, the first call raises instead of waiting, so that the program can start.

        Raises:
            UnavailableError: see above.
        """
        while (session := self._session) is None:
            if not self._absence_reported:
                self._absence_reported = True
                await trio.lowlevel.checkpoint()
                raise UnavailableError from self._failure
            await self._opened.wait()
        return session

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a session open whenever possible. Started after the first attempt, successful or not.

        Raises:
            ValueError: at the first attempt Redis rejected us: the operator must correct something.
        """
        backoff = Backoff(*_BACKOFF)
        pause = 0.0
        starting = True
        while True:
            held, failure = await self._hold_session(task_status if starting else trio.TASK_STATUS_IGNORED)
            if held is None:
                if starting and (reason := _rejection(failure)) is not None:
                    raise ValueError(f"{self._name}: {reason}") from failure
                self._log_failure(failure)
                if starting:
                    task_status.started()
            elif held > pause:  # a session shorter than the pause before it does not shorten the next pause
                backoff.reset()
            starting = False
            pause = backoff.pause()
            await trio.sleep(pause)

    async def _hold_session(self, task_status: trio.TaskStatus[None]) -> tuple[float | None, BaseException]:
        """Connect, and stay connected until something fails.

        Returns the seconds that there was a session, None if there was none, and what failed.
        """
        session: RedisSession | None = None
        began = 0.0
        failure: BaseException = TimeoutError(f"no answer within {self._timeout:g} seconds")
        try:
            with trio.CancelScope(deadline=trio.current_time() + self._timeout) as connecting:
                async with self._connect() as store:
                    await self._prepare(store)
                    connecting.deadline = inf
                    session = RedisSession(store)
                    began = trio.current_time()
                    self._begin(session)
                    task_status.started()
                    with session.scope:
                        async with trio.open_nursery() as nursery:
                            for task in self._tasks(session):
                                nursery.start_soon(self._keep, session, task)
        except Exception as error:  # noqa: BLE001 -- any failure leads to another attempt
            failure = first_leaf(error)
            if session is not None:
                self._end(session, failure)
        finally:
            if session is not None and self._session is session:  # cancelled: callers are cut off, nothing is logged
                self._session = None
                session.end(failure)
        return (None if session is None else trio.current_time() - began), failure

    async def _keep(self, session: RedisSession, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except _ENDING as error:  # anything else goes through, and ends the session in `_hold_session`
            await trio.lowlevel.checkpoint_if_cancelled()  # as in `call_in`
            self._end(session, first_leaf(error))

    def _begin(self, session: RedisSession) -> None:
        self._session = session
        self._absence_reported = True
        if self.unavailable_since is not None:
            seconds = (datetime.now(UTC) - self.unavailable_since).total_seconds()
            _log.info("%s is available again after %.1f seconds; no more stale answers", self._name, seconds)
        self.unavailable_since = None
        self._failure = None
        self._logged = ""
        self._opened.set()

    def _end(self, session: RedisSession, failure: BaseException) -> None:
        """Synchronous, so that no caller sees an intermediate state."""
        session.end(failure)
        if self._session is session:
            self._session = None
            self._opened = trio.Event()
            self._log_failure(failure)

    def _log_failure(self, failure: BaseException) -> None:
        """Log each outage once, and again if Redis returns and rejects us."""
        self._failure = failure
        if self.unavailable_since is None:
            self.unavailable_since = datetime.now(UTC)
        reason = error_chain(failure)
        if not _is_lost(failure) and not isinstance(failure, _ENDED):
            _log.error("%s cannot be used: %s", self._name, reason, exc_info=failure)
        elif not self._logged or (_rejection(failure) is not None and reason != self._logged):
            _log.warning(
                "%s is unavailable (%s); known answers are served stale, and no status can be set", self._name, reason
            )
        self._logged = reason


def _is_lost(error: BaseException) -> bool:
    """Whether the connection failed. A RecursionError, for one, is a RuntimeError too, but ours."""
    return isinstance(error, _LOST) and (not isinstance(error, RuntimeError) or type(error) is RuntimeError)


def _is_refusal(error: BaseException) -> bool:
    """Whether Redis refused the request, did nothing, and can be asked again."""
    refused = isinstance(error, ResponseError) and not isinstance(error, _ELSEWHERE)
    return refused and not str(error).startswith(_NOT_NOW)


def _rejection(failure: BaseException) -> str | None:
    """Why Redis rejected us, if it did and only the operator can change that."""
    if isinstance(failure, ResponseError) and _REJECTED_DATABASE.search(str(failure)):
        return f"{failure}: the database number in `url` must be lower than Redis's setting `databases`"
    return str(failure) if isinstance(failure, _REJECTED) else None


def first_leaf(error: BaseException) -> BaseException:
    """The first exception inside nested exception groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def error_chain(error: BaseException) -> str:
    """An error and its causes, in one line."""
    parts: list[str] = []
    link: BaseException | None = error
    while link is not None and len(parts) < 3:
        parts.append(str(link) or type(link).__name__)
        link = link.__cause__
    return ": ".join(parts)
