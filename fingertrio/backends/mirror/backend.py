"""The mirror backend: follows the live feed of its origin, and answers from the copy.

Requests never leave this machine. As with every replica, answers are as old as the last contact while the origin cannot
be reached: `stale_since` reports that to the doors, and the log has the beginning and the end of each outage. If the
origin itself is stale, so are its mirrors. After a break the feed resumes at the last id received, so nothing is
missed. If the origin no longer knows that id, it sends a snapshot of everything, and the differences are emitted as
changes. A snapshot takes effect when it is complete; until then the old copy is in force.

Some things cannot be known while the origin is away, and are errors instead of guesses: everything before the first
snapshot, a user that the origin could not read, and what follows a status whose `until` has passed.
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

from fingertrio.backend import BackendError, Change, Recency, UserInfo
from fingertrio.backends.mirror.copy import StatusCopy, TooLargeError
from fingertrio.changes import ChangeHub
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.live import MESSAGE_LIMIT, LiveError, open_live
from fingertrio.clients.websocket import parse_url
from fingertrio.wire import live
from fingertrio.wire.backoff import Backoff

_log = logging.getLogger(__name__)

# Seconds: first and longest pause between two attempts. A restart of the origin takes about a second, and a short gap
# is cheap to catch up with; an origin that is away for an hour needs no more than an attempt now and then.
_BACKOFF = (0.25, 15.0)

# Seconds until the next attempt if the origin's statuses did not fit into `memory`, since each may transfer that much.
_TOO_LARGE_PAUSE = 300.0

# Seconds that a request waits for what follows a status whose `until` has passed. The origin's clock may be behind.
_SUCCESSOR = 2.0


def _url(text: str) -> str:
    parse_url(text)
    return text


class MirrorOptions(BaseModel):
    """Options of the `mirror` backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, AfterValidator(_url)] = Field(
        description="URL of the origin's web door, for example https://finger.example.net"
    )
    timeout: float = Field(10.0, gt=0, description="seconds for the connection to open")
    wait: float = Field(3.0, ge=0, description="seconds for which the start waits for the first snapshot")
    memory: int = Field(
        256 * 1024 * 1024,
        gt=0,
        description="bytes of memory for all statuses, and for what differs in a new snapshot until it is complete; "
        "more than that is refused, and the mirror keeps what it has",
    )
    limit: int = Field(MESSAGE_LIMIT, gt=0, description="bytes of one message; a longer one ends the connection")


class MirrorBackend:
    """Answers at once, lists users, emits changes and reports staleness; `run` keeps the copy up to date.

    Args:
        options: the origin.
        ssl_context: certificates to trust; by default those of the system.
    """

    def __init__(self, options: MirrorOptions, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._options = options
        if ssl_context is None and parse_url(options.url).tls:
            ssl_context = ssl.create_default_context()  # once: it blocks all tasks for some 50 ms
        self._ssl_context = ssl_context
        self._copy: StatusCopy | None = None  # None: no snapshot yet
        self._since: str | None = None
        self._hub = ChangeHub()
        self._changed = trio.Event()  # set, and replaced, with every change
        self._lost_at: float | None = None  # on trio's clock, while the origin is away
        self._received_at: datetime | None = None  # the last message of the origin
        self._snapshot_began: datetime | None = None  # while one is being received
        self._origin_stale: datetime | None = None  # since when the origin's own answers may be out of date
        self.filled = trio.Event()  # the first snapshot is complete

    async def get_user(self, user: str) -> UserInfo | None:
        """See `Backend`. Raises BackendError for what cannot be known while the origin is away."""
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(_SUCCESSOR):
            while True:
                try:
                    return self.get_user_now(user)
                except LookupError:
                    if self._users()[user] is None or self._lost_at is not None:
                        break
                await self._changed.wait()
        raise BackendError from LiveError(f"{self._options.url} has not sent the current status of {user}")

    def get_user_now(self, user: str) -> UserInfo | None:
        """See `AnswersAtOnce`. LookupError for what `get_user` waits for, or cannot know."""
        if self._copy is None:
            raise LookupError(user)
        users = self._copy.users
        if user not in users:
            return None
        info = users[user]
        if info is None or (info.until is not None and info.until <= datetime.now(UTC)):
            raise LookupError(user)
        return info

    async def get_users(self) -> Sequence[str]:
        """See `ListsUsers`; in the origin's order, with new users at the end."""
        await trio.lowlevel.checkpoint()
        return list(self._users())

    async def get_recent(self, limit: int, before: Recency | None = None) -> Sequence[UserInfo]:
        """See `ListsRecent`. A status that has ended is left out until the origin has sent the next one."""
        await trio.lowlevel.checkpoint()
        users = self._users()
        order = None if self._copy is None else self._copy.order
        if order is None:
            raise AssertionError("the copy in force is complete")
        infos: list[UserInfo] = []
        while len(infos) < limit:
            names = order.first(limit) if before is None else order.behind(limit, before.since, before.user)
            for info in filter(None, map(users.get, names)):
                before = Recency.of(info)
                if info.until is None or info.until > datetime.now(UTC):
                    infos.append(info)
            if len(names) < limit:
                break
        return infos[:limit]

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """A feed of every change from now on; a slow reader finds each user in it once."""
        return self._hub.changes()

    def stale_since(self) -> datetime | None:
        """See `TellsStaleness`. The last contact if the origin is away; or what the origin reports of itself.

        Changes do not arrive during a snapshot, so a slow snapshot makes the old copy stale as well.
        """
        if self._copy is None:
            return None  # nothing is answered
        now = datetime.now(UTC)
        began = self._snapshot_began
        slow = began is not None and (now - began).total_seconds() > self._options.timeout
        since = [
            self._origin_stale,
            None if self._lost_at is None else self._received_at,
            began if slow else None,
        ]
        # Not later than now, whatever the origin's clock says.
        return min((min(when, now) for when in since if when is not None), default=None)

    async def run(self) -> None:
        """Follow the origin, and reconnect after every break. Never returns."""
        backoff = Backoff(*_BACKOFF)
        while True:
            began = trio.current_time()
            try:
                await self._follow()
            except RemoteError as error:
                self._log_break(error)
                too_large = isinstance(error, TooLargeError)
            if trio.current_time() - began > _BACKOFF[1]:
                backoff.reset()
            await trio.sleep(_TOO_LARGE_PAUSE if too_large else backoff.pause())

    async def _follow(self) -> NoReturn:
        """Follow the origin until the connection ends, which raises RemoteError."""
        options = self._options
        async with open_live(
            options.url,
            since=self._since,
            timeout=options.timeout,
            limit=options.limit,
            ssl_context=self._ssl_context,
        ) as feed:
            if not feed.hello.complete:
                raise LiveError("the origin's backend does not emit changes, so it cannot be mirrored")
            current = feed.hello.resumed and self._since is not None  # the copy is valid, except for what comes now
            if current:
                self._log_return()
            coming: StatusCopy | None = None  # an incomplete snapshot
            self._snapshot_began = None
            self._note(feed.hello)
            async for event in feed:
                self._note(event)
                if isinstance(event, live.SnapshotBegins):
                    coming, current = StatusCopy(options.memory, self._copy), False
                    self._snapshot_began = datetime.now(UTC)
                elif coming is not None:
                    current = self._add_to_snapshot(coming, event)
                    coming = None if current else coming
                elif current:
                    self._apply_change(event)
                elif not isinstance(event, live.Alive):
                    raise LiveError("the origin sent a change before a snapshot")
                self._since = feed.id if current else None
        raise AssertionError("a feed ends with an exception")

    def _note(self, message: live.Message) -> None:
        self._received_at = datetime.now(UTC)
        if isinstance(message, live.Hello | live.Alive):
            self._origin_stale = message.stale_since

    def _add_to_snapshot(self, coming: StatusCopy, event: live.Event) -> bool:
        """A part of a snapshot. Returns whether the snapshot is complete and in force now."""
        match event:
            case live.Present(info):
                coming.put(info.user, _user_info(info))
            case live.Unavailable(user):
                coming.put(user, None if self._copy is None else self._copy.users.get(user))
            case live.SnapshotEnds():
                self._replace(coming)
                return True
            case _:
                raise LiveError("the origin sent a change within a snapshot")
        return False

    def _apply_change(self, event: live.Event) -> None:
        copy = self._copy
        if copy is None:
            raise AssertionError("changes are accepted after a snapshot only")
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

    def _replace(self, coming: StatusCopy) -> None:
        """Put a complete snapshot in force, and emit the differences."""
        new, old = coming.users, self._copy.users if self._copy is not None else None
        self._copy = coming
        self._snapshot_began = None
        coming.complete()
        if old is None:
            self._emit([None])
        elif changed := [  # `StatusCopy.put` shares equal objects, so identity is enough, and fast for many users
            user for user in {**old, **new} if user not in new or user not in old or old[user] is not new[user]
        ]:
            self._emit(changed)
        elif list(old) != list(new):
            self._emit([None])
        self.filled.set()
        self._log_return()

    def _emit(self, users: Sequence[str | None]) -> None:
        self._hub.emit_all(users)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _users(self) -> dict[str, UserInfo | None]:
        if self._copy is None:
            raise BackendError from LiveError(f"no snapshot has been received from {self._options.url}")
        return self._copy.users

    def _log_break(self, error: RemoteError) -> None:
        """Log an outage of the origin once."""
        if self._lost_at is not None:
            return
        self._lost_at = trio.current_time()
        self._wake()
        meanwhile = "no user is known yet" if self._copy is None else "answers are as old as this message"
        _log.warning("the origin %s is unavailable, %s: %s", self._options.url, meanwhile, error)

    def _log_return(self) -> None:
        if self._lost_at is not None:
            seconds = trio.current_time() - self._lost_at
            _log.info("the origin %s is available again after %.1f s", self._options.url, seconds)
            self._lost_at = None


def _user_info(info: live.LiveUser) -> UserInfo:
    return UserInfo(info.user, info.status, info.name, info.since, info.until, info.details)


@asynccontextmanager
async def open_mirror(options: MirrorOptions) -> AsyncIterator[MirrorBackend]:
    """A live copy of another fingertrio, over its live feed. Opens without its origin too, and then knows no users."""
    backend = MirrorBackend(options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.run)
        with trio.move_on_after(options.wait):
            await backend.filled.wait()
        yield backend
        nursery.cancel_scope.cancel()
