"""The connection to Redis: made, watched, left at its first failure, and made anew until it holds.

Between two failures there is one `Session`. Whatever fails in it, a question, the following of changes, the proof of
life, ends it as a whole, at once, and for everybody: calls under way are cut off, feeds end, and until the next
session everything says `Away`. So nobody ever acts on half a connection: Redis is here and followed, or it is away.
"""

from __future__ import annotations

import logging
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
    ReadOnlyError,
    RedisClusterError,
    RedisError,
    ResponseError,
    UnblockedError,
)

from fingertrio.backend import BackendError
from fingertrio.backends.redis.follow import RewoundError, SilenceError
from fingertrio.backends.redis.store import LayoutError, Store
from fingertrio.wire.backoff import Backoff

# Seconds between two attempts: first and longest. Redis is missed within seconds, and an attempt costs it next to
# nothing; half as much again is jitter, so that nodes do not all come at once.
_BACKOFF = (0.1, 1.0)

# What coredis raises when a connection fails, or is used that did. The RuntimeErrors are its task groups' which have
# ended; the groups come from our own nurseries and from its.
_LOST = (RedisError, OSError, RuntimeError, anyio.ClosedResourceError, anyio.BrokenResourceError, ExceptionGroup)

# Answers of a server that others have taken the place of: a new connection may lead to these.
_MOVED_ON = (ReadOnlyError, UnblockedError, RedisClusterError)

# Redis is there and will have none of us: at the start that is the operator's to mend.
_REFUSED = (AuthenticationError, AuthorizationError, LayoutError)

_FORESEEN = (*_LOST, *_REFUSED, SilenceError, RewoundError)

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Away(Exception):  # noqa: N818 -- it says what is so
    """Redis cannot be asked; why is chained."""


class CutOff(Away):
    """It went away while it was asked: whether it did what it was asked to is not known."""


class Session:
    """Redis from the moment it is connected to until the first failure."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.scope = trio.CancelScope()
        self.failure: BaseException | None = None
        self._calls: set[trio.CancelScope] = set()

    def end(self, failure: BaseException) -> None:
        """Cut off everybody. Synchronous: afterwards nothing comes from this session any more."""
        if self.failure is None:
            self.failure = failure
            self.scope.cancel()
            for call in self._calls:
                call.cancel()

    @contextmanager
    def bound(self) -> Iterator[None]:
        """What is awaited inside is cut off when the session ends. Raises CutOff then."""
        with trio.CancelScope() as scope:
            if self.failure is not None:
                scope.cancel()
            self._calls.add(scope)
            try:
                yield
            finally:
                self._calls.discard(scope)
        if scope.cancelled_caught:
            raise CutOff from self.failure


class Link:
    """Keeps a session, as far as there can be one.

    Args:
        name: what log messages call it.
        connect: gives a store over fresh connections.
        prepare: what comes before a session can be used.
        tasks: what goes on in each session until it ends; none of them returns.
        timeout: seconds for a session to come about.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], AbstractAsyncContextManager[Store]],
        prepare: Callable[[Store], Awaitable[None]],
        tasks: Callable[[Session], Iterable[Callable[[], Awaitable[None]]]],
        timeout: float,
    ) -> None:
        self._name = name
        self._connect = connect
        self._prepare = prepare
        self._tasks = tasks
        self._timeout = timeout
        self._session: Session | None = None
        self._failure: BaseException | None = None
        self._came = trio.Event()
        self._said = ""
        self._away_was_told = False
        self.away_since: datetime | None = None

    async def call(self, ask: Callable[[Store], Awaitable[T]]) -> T:
        """What the store answers.

        Raises:
            Away: it cannot be asked. CutOff: it was, and did not answer.
            BackendError: it refused.
        """
        if (session := self._session) is None:
            await trio.lowlevel.checkpoint()
            raise Away from self._failure
        return await self.call_in(session, ask)

    async def call_in(self, session: Session, ask: Callable[[Store], Awaitable[T]]) -> T:
        """The same, of one session."""
        try:
            with session.bound():
                return await ask(session.store)
        except _LOST as error:
            await trio.lowlevel.checkpoint_if_cancelled()  # what is cancelled comes out of coredis as a lost connection
            reason = first_leaf(error)
            if isinstance(reason, ResponseError) and not isinstance(reason, _MOVED_ON):
                raise BackendError from error
            if not isinstance(reason, _LOST):
                raise
            self._end(session, reason)
            raise CutOff from error
        raise AssertionError("bound() raises where it cuts off")

    async def session(self) -> Session:
        """A session, as soon as there is one.

        Where there was none from the start, that is said once instead of waiting: whoever opens us wants to go on.

        Raises:
            Away: so it is said.
        """
        while (session := self._session) is None:
            if not self._away_was_told:
                self._away_was_told = True
                await trio.lowlevel.checkpoint()
                raise Away from self._failure
            await self._came.wait()
        return session

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Have a session whenever that is possible; started after the first attempt, whatever came of it.

        Raises:
            ValueError: at the first attempt, Redis refused us: the operator has to mend something.
        """
        backoff = Backoff(*_BACKOFF)
        pause = 0.0
        starting = True
        while True:
            held, failure = await self._have_session(task_status if starting else trio.TASK_STATUS_IGNORED)
            if held is None:
                if starting and isinstance(failure, _REFUSED):
                    raise ValueError(f"{self._name}: {failure}") from failure
                self._tell_failure(failure)
                if starting:
                    task_status.started()
            elif held > pause:  # one that falls down sooner than it was waited for is waited for longer
                backoff.reset()
            starting = False
            pause = backoff.pause()
            await trio.sleep(pause)

    async def _have_session(self, task_status: trio.TaskStatus[None]) -> tuple[float | None, BaseException]:
        """Connect, and go on until something fails. Gives for how many seconds there was a session, and what failed."""
        session: Session | None = None
        began = 0.0
        failure: BaseException = TimeoutError(f"no answer within {self._timeout:g} seconds")
        try:
            with trio.CancelScope(deadline=trio.current_time() + self._timeout) as connecting:
                async with self._connect() as store:
                    await self._prepare(store)
                    connecting.deadline = inf
                    session = Session(store)
                    began = trio.current_time()
                    self._begin(session)
                    task_status.started()
                    with session.scope:
                        async with trio.open_nursery() as nursery:
                            for task in self._tasks(session):
                                nursery.start_soon(self._keep, session, task)
        except Exception as error:  # noqa: BLE001 -- whatever it fails of, it is tried again
            failure = first_leaf(error)
        finally:
            if session is not None and self._session is session:  # we are cancelled: nobody is told, only cut off
                self._session = None
                session.end(failure)
        return (None if session is None else trio.current_time() - began), failure

    async def _keep(self, session: Session, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the session is not whole any more
            await trio.lowlevel.checkpoint_if_cancelled()  # as in `call_in`
            self._end(session, first_leaf(error))

    def _begin(self, session: Session) -> None:
        self._session = session
        self._away_was_told = True
        if self.away_since is not None:
            seconds = (datetime.now(UTC) - self.away_since).total_seconds()
            _log.info("%s is there, after %.1f seconds; nothing stale is served any more", self._name, seconds)
        self.away_since = None
        self._failure = None
        self._said = ""
        self._came.set()

    def _end(self, session: Session, failure: BaseException) -> None:
        """Synchronous, so that nobody sees half of it."""
        session.end(failure)
        if self._session is session:
            self._session = None
            self._came = trio.Event()
            self._tell_failure(failure)

    def _tell_failure(self, failure: BaseException) -> None:
        """Say once for each outage that Redis is away; and again where it is back and refuses us."""
        self._failure = failure
        if self.away_since is None:
            self.away_since = datetime.now(UTC)
        said = describe(failure)
        if not isinstance(failure, _FORESEEN):
            _log.error("%s cannot be used: %s", self._name, said, exc_info=failure)
        elif not self._said or (isinstance(failure, _REFUSED) and said != self._said):
            _log.warning(
                "%s is away (%s); what was last known is served, stale, and nothing can be set", self._name, said
            )
        self._said = said


def first_leaf(error: BaseException) -> BaseException:
    """What a nursery wrapped into groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def describe(error: BaseException) -> str:
    """An error and what it was caused by, in one line."""
    parts: list[str] = []
    link: BaseException | None = error
    while link is not None and len(parts) < 3:
        parts.append(str(link) or type(link).__name__)
        link = link.__cause__
    return ": ".join(parts)
