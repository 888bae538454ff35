"""A live read replica of another fingertrio, over its live feed: all statuses in memory, changed as they change there.

A question never leaves this machine. The price is what every replica pays: while the origin cannot be reached, answers
are as old as the break. `stale_since` tells it to whoever shows them, and the log when a break begins and when it ends.
An origin that is out of date itself makes its mirrors so. Where the connection was cut the feed goes on at the id that
was told last, so that nothing is missed; where the origin no longer knows, it sends everything, and what differs is
told as changes here. What was told stays in force until a new snapshot is whole.

Some things cannot be known while the origin is away, and are failures then and not guesses: anything before the first
snapshot, a user whom the origin could not tell of, and what comes after a status whose time is over.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, NoReturn

import trio
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fingertrio.backend import BackendError, Change, UserInfo
from fingertrio.changes import ChangeHub
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.live import MESSAGE_LIMIT, LiveError, open_live
from fingertrio.clients.websocket import parse_url
from fingertrio.names import is_user_name
from fingertrio.wire import live
from fingertrio.wire.backoff import Backoff

_log = logging.getLogger(__name__)

# Seconds: first and longest pause before the origin is tried again. A restart takes about a second, and the sooner we
# are back, the less has to be told; a machine that is away for an hour is not worth more than a try now and then.
_BACKOFF = (0.25, 15.0)

# Seconds that a question waits for what comes after a status whose time is over: the origin's clock is not ours.
_SUCCESSOR = 2.0

# Bytes that a user takes in memory beside the text: objects, and the places in dictionaries. Measured, rounded up.
_OVERHEAD = 1000


def _url(text: str) -> str:
    parse_url(text)
    return text


class MirrorOptions(BaseModel):
    """Options of the `mirror` backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, AfterValidator(_url)] = Field(
        description="the origin's web door, for example https://finger.example.net"
    )
    timeout: float = Field(10.0, gt=0, description="seconds that the origin may take to let us in")
    wait: float = Field(
        3.0, ge=0, description="seconds that the start waits for the first snapshot; then it goes on without"
    )
    memory: int = Field(
        256 * 1024 * 1024, gt=0, description="bytes that all statuses may take; an origin that has more is a failure"
    )
    limit: int = Field(MESSAGE_LIMIT, gt=0, description="bytes of one message; a longer one is a failure")


class _Copy:
    """What is known of everybody: for each user, in the origin's order, the status; None: the origin could not say."""

    def __init__(self, memory: int) -> None:
        self.users: dict[str, UserInfo | None] = {}
        self._memory = memory

    def put(self, user: str, info: UserInfo | None) -> None:
        """Keep it. Raises LiveError where there is no room."""
        if not is_user_name(user):
            raise LiveError(f"the origin has a user whose name is none: {user!r}")
        self.remove(user, keep_place=True)
        self._memory -= _size(info)
        self.users[user] = info
        if self._memory < 0:
            raise LiveError("the origin has more than fits into `memory`")

    def remove(self, user: str, *, keep_place: bool = False) -> None:
        """Forget it, if it is there."""
        if user in self.users:
            self._memory += _size(self.users[user])
            if not keep_place:
                del self.users[user]


def _size(info: UserInfo | None) -> int:
    if info is None:
        return _OVERHEAD
    texts = [info.status, info.name or "", *info.details, *info.details.values()]
    return _OVERHEAD + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


class MirrorBackend:
    """Answers from its copy. Lists users, emits changes and tells staleness; `run` keeps the copy true.

    Args:
        options: where the origin is.
        ssl_context: whom to trust; by default, whom the system trusts.
    """

    def __init__(self, options: MirrorOptions, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._options = options
        if ssl_context is None and parse_url(options.url).tls:
            ssl_context = ssl.create_default_context()  # once: it takes some 50 ms of everybody's time
        self._ssl_context = ssl_context
        self._copy: _Copy | None = None  # None: there has been no snapshot
        self._since: str | None = None
        self._hub = ChangeHub()
        self._changed = trio.Event()  # set, and replaced, with every change
        self._lost: float | None = None  # since when the origin is away
        self._heard: datetime | None = None  # when the origin was heard last
        self._origin_stale: datetime | None = None  # since when the origin's own answers may be out of date
        self.filled = trio.Event()  # there has been a snapshot

    async def get_user(self, user: str) -> UserInfo | None:
        """See `Backend`. Raises BackendError for what cannot be known while the origin is away."""
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(_SUCCESSOR):
            while True:
                users = self._users()
                if user not in users:
                    return None
                info = users[user]
                if info is not None and (info.until is None or info.until > datetime.now(UTC)):
                    return info
                if info is None or self._lost is not None:
                    break
                await self._changed.wait()
        raise BackendError from LiveError(f"{self._options.url} has not said what holds of {user} now")

    async def get_users(self) -> Sequence[str]:
        """See `ListsUsers`; in the origin's order, and who is new at the end."""
        await trio.lowlevel.checkpoint()
        return list(self._users())

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """A feed of every change from now on; a slow reader finds each user in it once."""
        return self._hub.changes()

    def stale_since(self) -> datetime | None:
        """See `TellsStaleness`: when the origin was heard last, if it is away; or what it says of itself."""
        if self._copy is None:
            return None  # and nothing is answered
        since = [self._origin_stale, None if self._lost is None else self._heard]
        # No later than now, whatever the origin's clock says.
        return min((min(moment, datetime.now(UTC)) for moment in since if moment is not None), default=None)

    async def run(self) -> None:
        """Follow the origin, and come back after every break. Never returns."""
        backoff = Backoff(*_BACKOFF)
        while True:
            began = trio.current_time()
            try:
                await self._follow()
            except RemoteError as error:
                self._tell_break(error)
            if trio.current_time() - began > _BACKOFF[1]:
                backoff.reset()
            await trio.sleep(backoff.pause())

    async def _follow(self) -> NoReturn:
        """Follow the origin until the connection ends, which RemoteError tells."""
        options = self._options
        async with open_live(
            options.url,
            since=self._since,
            timeout=options.timeout,
            limit=options.limit,
            ssl_context=self._ssl_context,
        ) as feed:
            if not feed.hello.complete:
                raise LiveError("the origin's own backend does not tell of changes, so it cannot be mirrored")
            current = feed.hello.resumed and self._since is not None  # the copy is true, but for what comes
            if current:
                self._tell_return()
            coming: _Copy | None = None  # a snapshot that is not whole yet
            self._hear(feed.hello)
            async for event in feed:
                self._hear(event)
                if isinstance(event, live.SnapshotBegins):
                    coming, current = _Copy(options.memory), False
                elif coming is not None:
                    current = self._take_in(coming, event)
                    coming = None if current else coming
                elif current:
                    self._change(event)
                elif not isinstance(event, live.Alive):
                    raise LiveError("the origin sent changes before a snapshot")
                self._since = feed.id if current else None
        raise AssertionError("a feed does not end without an exception")

    def _hear(self, message: live.Message) -> None:
        self._heard = datetime.now(UTC)
        if isinstance(message, live.Hello | live.Alive):
            self._origin_stale = message.stale_since

    def _take_in(self, coming: _Copy, event: live.Event) -> bool:
        """A part of a snapshot, which is in force when it is whole. Returns whether that is now."""
        match event:
            case live.Present(info):
                coming.put(info.user, _user_info(info))
            case live.Unavailable(user):
                coming.put(user, None if self._copy is None else self._copy.users.get(user))
            case live.SnapshotEnds():
                self._replace(coming)
                return True
            case _:
                raise LiveError("the origin sent changes within a snapshot")
        return False

    def _change(self, event: live.Event) -> None:
        copy = self._copy
        if copy is None:
            raise AssertionError("changes are only taken where there has been a snapshot")
        match event:
            case live.Changed(info=info):
                copy.put(info.user, _user_info(info))
                self._emit([info.user])
            case live.Removed(user=user):
                if user in copy.users:
                    copy.remove(user)
                    self._emit([user])
            case live.Alive():
                pass
            case _:
                raise LiveError("the origin sent a part of a snapshot without its beginning")

    def _replace(self, coming: _Copy) -> None:
        """Believe the snapshot, and tell of what is new in it."""
        new, old = coming.users, self._copy.users if self._copy is not None else None
        self._copy = coming
        if old is None:
            self._emit([None])
        elif changed := [
            user for user in {**old, **new} if user not in new or user not in old or old[user] != new[user]
        ]:
            self._emit(changed)
        elif list(old) != list(new):
            self._emit([None])
        self.filled.set()
        self._tell_return()

    def _emit(self, users: Sequence[str | None]) -> None:
        self._hub.emit_all(users)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _users(self) -> dict[str, UserInfo | None]:
        if self._copy is None:
            raise BackendError from LiveError(f"{self._options.url} has not been heard yet")
        return self._copy.users

    def _tell_break(self, error: RemoteError) -> None:
        """To the log, once for each time that the origin is away."""
        if self._lost is not None:
            return
        self._lost = trio.current_time()
        self._wake()
        meanwhile = "nothing is known yet" if self._copy is None else "answers are as old as this"
        _log.warning("the origin %s is away, %s: %s", self._options.url, meanwhile, error)

    def _tell_return(self) -> None:
        if self._lost is not None:
            _log.info("the origin %s is back after %.1f s", self._options.url, trio.current_time() - self._lost)
            self._lost = None


def _user_info(info: live.LiveUser) -> UserInfo:
    return UserInfo(info.user, info.status, info.name, info.since, info.until, info.details)


@asynccontextmanager
async def open_mirror(options: MirrorOptions) -> AsyncIterator[MirrorBackend]:
    """A live copy of another fingertrio, over its live feed. It opens without its origin too, and knows nobody then."""
    backend = MirrorBackend(options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.run)
        with trio.move_on_after(options.wait):
            await backend.filled.wait()
        yield backend
        nursery.cancel_scope.cancel()
