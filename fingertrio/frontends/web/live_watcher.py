"""One client of the live feed, from its handshake to the last word, over a WebSocket or as an event stream."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import partial

import trio

from fingertrio.backend import BackendError
from fingertrio.frontends.web.live_fanout import Subscription
from fingertrio.frontends.web.live_hub import LiveHub
from fingertrio.frontends.web.live_rendering import BATCH, PAGE, Form, batches, text
from fingertrio.http.event_stream import PREAMBLE, EventStream, event
from fingertrio.http.pushing import PATIENCE, Code, Push
from fingertrio.http.upgrade import ByteStream
from fingertrio.http.websocket import WebSocket
from fingertrio.net.limits import ConnectionCaps
from fingertrio.observe.observer import Observer
from fingertrio.wire import live

# Seconds between two heartbeats. Proxies and routers drop a connection that is idle for a minute.
ALIVE = 15.0

_RETRY = 2.0  # seconds before a snapshot that failed is tried again

# Bytes: smaller frames are joined until they are this many, and only then sent. A larger frame is sent alone, from the
# buffer that all watchers share, so this is all that a slow client makes one watcher hold.
_ENOUGH = 8192

# The metrics' reason for each close code.
_REFUSALS: Mapping[int, str] = {Code.TRY_AGAIN_LATER: "slow_reader", Code.POLICY: "flood", Code.TOO_BIG: "body"}


@dataclass(frozen=True, slots=True)
class Medium:
    """A kind of connection.

    Attributes:
        form: how it puts a message into bytes.
        connect: the connection over a stream, with bytes received early, and the patience of the policy.
        preamble: what comes before the first message.
    """

    form: Form
    connect: Callable[[ByteStream, bytes, float], Push]
    preamble: bytes = b""


WEBSOCKET = Medium(text, lambda stream, early, patience: WebSocket(stream, early, patience=patience))
EVENTS = Medium(event, lambda stream, _early, patience: EventStream(stream, patience=patience), PREAMBLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePolicy:
    """The limits and rules of the live feed.

    Attributes:
        caps: how many clients may watch at once.
        origins: origins whose pages may watch, such as "https://example.org"; "*": all.
        patience: seconds that a client may take to read what was sent.
        alive: seconds between two heartbeats.
    """

    caps: ConnectionCaps = field(default_factory=lambda: ConnectionCaps(total=2000, per_address=64))
    origins: Collection[str] = ()
    patience: float = PATIENCE
    alive: float = ALIVE


@dataclass(frozen=True, slots=True)
class Start:
    """Where a client wants to start: after the id `since` if possible; with a snapshot; or with the next change."""

    snapshot: bool
    since: str | None


class _State(Enum):
    """What a watcher has to do next."""

    SNAPSHOT_FAILED = "wait, then try the snapshot again"
    SENT = "look for further changes"
    UP_TO_DATE = "wait for a change"


class Watcher:
    """One client of the feed: an `http1.Session`.

    Args:
        hub: the source of changes.
        observer: counts refusals and logs failures.
        policy: the limits.
        peer: the client's address.
        users: the users to watch; None: all.
        start: where to start.
        medium: the kind of connection.
    """

    def __init__(
        self,
        hub: LiveHub,
        observer: Observer,
        policy: LivePolicy,
        peer: str,
        users: tuple[str, ...] | None,
        start: Start,
        medium: Medium = WEBSOCKET,
    ) -> None:
        self._hub = hub
        self._observer = observer
        self._policy = policy
        self._peer = peer
        self._users = users
        self._start = start
        self._medium = medium
        self._form = medium.form
        self._owes_snapshot = False
        self._retired = False
        self._socket: Push | None = None

    def retire(self) -> None:
        """The server stops: send the last word and end."""
        self._retired = True
        if self._socket is not None:
            self._socket.end(Code.GOING_AWAY, "the server stops")

    async def run(self, stream: ByteStream, early: bytes) -> bool:
        """Watch until one side ends it. Returns whether the socket needs a lingering close; see `Push.run`."""
        socket = self._socket = self._medium.connect(stream, early, self._policy.patience)
        if self._retired:
            self.retire()
        caps = self._policy.caps
        if (reason := caps.admit(self._peer)) is not None:
            self._observer.refused("watch", reason)
            socket.end(Code.TRY_AGAIN_LATER, "too many watchers")
            return await socket.run(trio.lowlevel.checkpoint)
        self._observer.connected("watch", 1)
        lingers = False
        try:
            lingers = await socket.run(partial(self._watch, socket))
        except* Exception as group:  # noqa: BLE001 -- a bug; the client has received close code 1011
            self._observer.error("watch_failed", peer=self._peer, exc=group)
        finally:
            self._observer.connected("watch", -1)
            caps.release(self._peer)
            if reason := _REFUSALS.get(socket.ending or 0):
                self._observer.refused("watch", reason)
        return lingers

    async def _watch(self, socket: Push) -> None:
        with self._hub.subscribe(self._users, self._form) as feed:
            resumed = self._resume(feed)
            self._owes_snapshot = not resumed and (self._start.snapshot or self._start.since is not None)
            stale_since = self._stale_since
            await socket.send(self._medium.preamble + self._hello(feed, resumed=resumed))
            next_beat = trio.current_time() + self._policy.alive
            while True:
                await socket.flush()
                state = await self._send_pending(socket, feed)
                if trio.current_time() >= next_beat or stale_since != self._stale_since:
                    next_beat = trio.current_time() + self._policy.alive
                    stale_since = self._stale_since
                    at = self._id(feed)
                    await socket.beat(self._form(live.render_alive(at, stale_since), at))
                else:
                    await self._wait(state, socket, feed, next_beat)

    async def _send_pending(self, socket: Push, feed: Subscription) -> _State:
        """Send the snapshot or the changes that are due."""
        pending = None if self._owes_snapshot else feed.pending()
        if pending is None:
            self._owes_snapshot = not await self._send_snapshot(socket, feed)
            return _State.SNAPSHOT_FAILED if self._owes_snapshot else _State.SENT
        if not pending:
            return _State.UP_TO_DATE
        await self._send_changes(socket, feed, pending)
        return _State.SENT

    async def _wait(self, state: _State, socket: Push, feed: Subscription, next_beat: float) -> None:
        """Wait until there may be something to send, until `next_beat` at most. Changes are sent meanwhile."""
        if state is _State.SNAPSHOT_FAILED:
            await trio.sleep_until(min(next_beat, trio.current_time() + _RETRY))
        elif state is _State.UP_TO_DATE:
            with trio.move_on_at(next_beat):
                await feed.wait(partial(_deliver, socket, feed))

    @property
    def _stale_since(self) -> datetime | None:
        return self._hub.service.staleness.since

    def _id(self, feed: Subscription) -> str | None:
        """The id from which the client may resume; None while a snapshot is due."""
        return None if self._owes_snapshot else self._hub.id(feed.number)

    def _resume(self, feed: Subscription) -> bool:
        """Continue after the id that the client sent, if the log reaches it."""
        number = None if self._start.since is None else self._hub.number(self._start.since)
        if number is None or not self._hub.log.reaches(number):
            return False
        feed.number = number
        return True

    def _hello(self, feed: Subscription, *, resumed: bool) -> bytes:
        hello = live.render_hello(
            epoch=self._hub.epoch,
            at=self._id(feed),
            resumed=resumed,
            complete=self._hub.service.hears_changes,
            alive=self._policy.alive,
            stale_since=self._stale_since,
        )
        return self._form(hello, self._id(feed))

    async def _send_changes(self, socket: Push, feed: Subscription, pending: Sequence[tuple[int, str]]) -> None:
        """Send the current state of the users that changed."""
        frames = _Frames(socket)
        for batch in batches(pending, BATCH):
            rendered = await self._hub.render([user for _, user in batch])
            for number, user in batch:
                if user in rendered:
                    await frames.add(rendered[user].change(self._hub.id(number), self._form))
        await frames.flush()
        feed.number = pending[-1][0]

    async def _send_snapshot(self, socket: Push, feed: Subscription) -> bool:
        """Send the current state of all watched users. False: the backend cannot list them now."""
        number = self._hub.log.number  # changes from here on are sent again, after the snapshot
        try:
            users = await self._hub.list_users() if self._users is None else self._users
        except BackendError:  # logged by the service
            return False
        frames = _Frames(socket)
        await frames.add(self._form(live.SNAPSHOT, None))
        for batch in batches(users, PAGE):
            page = await self._hub.pages.page(batch, self._form)  # held until it is sent, for other watchers to find
            await frames.add(page.frames)
        at = self._hub.id(number)
        await frames.add(self._form(live.render_end(at), at))
        await frames.flush()
        feed.number = number
        return True


def _deliver(socket: Push, feed: Subscription, messages: bytes) -> bool:
    """Send changes while the watcher waits; see `Subscription.deliver`."""
    sent = socket.send_at_once(messages)
    if socket.has_rest:
        feed.wake()  # to flush it
    return sent


class _Frames:
    """Sends frames in few calls, without a copy of large ones."""

    def __init__(self, socket: Push) -> None:
        self._socket = socket
        self._small = bytearray()

    async def add(self, frame: bytes) -> None:
        """Send `frame` after the earlier ones, now or with later ones."""
        if len(frame) < _ENOUGH:
            self._small += frame
            if len(self._small) >= _ENOUGH:
                await self.flush()
        else:
            await self.flush()
            await self._socket.send(frame)

    async def flush(self) -> None:
        """Send what has been held back."""
        if self._small:
            small = bytes(self._small)
            self._small.clear()
            await self._socket.send(small)
