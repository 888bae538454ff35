"""The live feed at /api/watch: whoever opens a WebSocket there is told of every change (docs/reference/live-feed.md).

Opening is an ordinary request, answered here like any other, with 101 or with what is wrong with it. Then the
connection is handed over (`http1.Upgrade`) and a `Watcher` runs on it. What it tells comes from the hub; what is
its own is a number, up to which it has told everything, and how fast its client reads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import trio
from quart import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, NotFound

from fingertrio.backend import BackendError
from fingertrio.frontends.web.api import NO_LIST, PREFIX
from fingertrio.frontends.web.live_hub import LiveHub, Subscription
from fingertrio.http.http1 import Stream, offered_upgrade
from fingertrio.http.websocket import PATIENCE, Code, WebSocket, accept_token, text_frame
from fingertrio.names import is_user_name
from fingertrio.net.limits import ConnectionCaps
from fingertrio.observe.observer import Observer
from fingertrio.wire import live

_T = TypeVar("_T")

# Seconds between two signs of life. Proxies and routers drop a connection on which nothing happens after a minute.
ALIVE = 15.0

# Users that one client may name. Who is interested in more can as well watch everybody.
_NAMES = 100

_BATCH = 16  # users who are asked for at once, and the most that is held of them for one watcher

_RETRY = 2.0  # seconds before a snapshot that could not be made is tried again

_ENOUGH = 32768  # bytes for one send

# By close code, the word for metrics.
_REFUSALS: Mapping[int, str] = {Code.TRY_AGAIN_LATER: "slow_reader", Code.POLICY: "flood", Code.TOO_BIG: "body"}

_SNAPSHOT = text_frame(live.SNAPSHOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePolicy:
    """The feed's numbers and rules.

    Attributes:
        caps: how many may watch at once.
        origins: pages of other sites that may watch, such as "https://example.org"; "*": of all.
        patience: seconds that a client may take to read what it was sent.
        alive: seconds between two signs of life.
    """

    caps: ConnectionCaps = field(default_factory=lambda: ConnectionCaps(total=2000, per_address=64))
    origins: Collection[str] = ()
    patience: float = PATIENCE
    alive: float = ALIVE


@dataclass(frozen=True, slots=True)
class Start:
    """How a client wants to begin: where `since` ends, as well as that can be; with a snapshot; or now."""

    snapshot: bool
    since: str | None


def live_blueprint(hub: LiveHub, observer: Observer, policy: Callable[[], LivePolicy]) -> Blueprint:
    """The route of the feed; each handshake asks for the `policy`, which its watcher keeps."""
    blueprint = Blueprint("live", __name__)

    @blueprint.get(live.PATH)
    async def watch() -> Response:
        token = _check_handshake()
        rules = policy()
        if not _is_welcome(request.headers.get("Origin"), request.headers.get("Host", ""), rules.origins):
            raise Forbidden("Pages of other sites may not watch here")
        watcher = Watcher(hub, observer, rules, _peer(), _users(hub), _start())
        upgrade = offered_upgrade(request.scope)
        if upgrade is None:
            raise AssertionError("the handshake has been checked")
        upgrade.session = watcher
        response = Response(b"", 101, headers={"Upgrade": "websocket", "Connection": "Upgrade"})
        response.headers["Sec-WebSocket-Accept"] = token.decode()
        for name in ("Content-Type", "Content-Length"):
            response.headers.pop(name, None)
        return response

    return blueprint


class _UpgradeRequired(HTTPException):
    code = 426
    description = "This is a WebSocket: ask for it with Upgrade: websocket, in version 13, over HTTP/1.1"

    def get_headers(self, *_: object) -> list[tuple[str, str]]:
        if request.http_version.startswith("2"):  # which has no such headers (RFC 9113 section 8.2.2)
            return []
        return [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")]


def _check_handshake() -> bytes:
    """What to say to the client's key (RFC 6455 section 4.2.1)."""
    upgrade = offered_upgrade(request.scope)
    headers = request.headers
    if upgrade is None or request.method != "GET" or headers.get("Sec-WebSocket-Version") != "13":
        raise _UpgradeRequired
    if headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers:
        raise BadRequest("A WebSocket is not opened with a body")
    token = accept_token(headers.get("Sec-WebSocket-Key", ""))
    if token is None:
        raise BadRequest("Sec-WebSocket-Key is not 16 bytes in base64")
    return token


def _is_welcome(origin: str | None, host: str, allowed: Collection[str]) -> bool:
    """Whether a page of `origin` may watch; None: it is no page, or a browser of long ago.

    Browsers let any page open a WebSocket anywhere, and say only where the page is from (RFC 6455 section 10.2). The
    scheme is not compared: behind a proxy that does TLS, we do not know our own.
    """
    if origin is None or "*" in allowed:
        return True
    origin = origin.lower()
    return origin in allowed or (origin != "null" and _place(origin.partition("://")[2]) == _place(host.lower()))


def _place(host: str) -> str:
    return host.removesuffix(":80").removesuffix(":443")


def _peer() -> str:
    client = request.scope.get("client")
    return client[0] if client else ""


def _users(hub: LiveHub) -> tuple[str, ...] | None:
    users = tuple(dict.fromkeys(request.args.getlist("user")))
    if not users:
        if not hub.service.can_list:
            raise NotFound(f"{NO_LIST}; name those whom you watch: {PREFIX}watch?user=NAME&user=NAME")
        return None
    if len(users) > _NAMES:
        raise BadRequest(f"At most {_NAMES} users can be named; without any, everybody is watched")
    if not all(map(is_user_name, users)):
        raise BadRequest("One of the users could not be called so")
    return users


def _start() -> Start:
    snapshot = request.args.get("snapshot", "0")
    if snapshot not in {"0", "1"}:
        raise BadRequest("snapshot is 0 or 1")
    return Start(snapshot == "1", request.args.get("since"))


class Watcher:
    """One client of the feed, from the handshake to the close frame: a `http1.UpgradedSession`.

    Args:
        hub: whose changes are told.
        observer: told of refusals and failures.
        policy: the numbers.
        peer: the client's address.
        users: whom it watches; None: everybody.
        start: how it wants to begin.
    """

    def __init__(
        self,
        hub: LiveHub,
        observer: Observer,
        policy: LivePolicy,
        peer: str,
        users: tuple[str, ...] | None,
        start: Start,
    ) -> None:
        self._hub = hub
        self._observer = observer
        self._policy = policy
        self._peer = peer
        self._users = users
        self._start = start
        self._retired = False
        self._socket: WebSocket | None = None

    def retire(self) -> None:
        """The door closes: say so and leave."""
        self._retired = True
        if self._socket is not None:
            self._socket.end(Code.GOING_AWAY, "the server stops")

    async def run(self, stream: Stream, early: bytes) -> bool:
        """Watch until one side ends it. Whether the socket should be closed with patience; see `WebSocket.run`."""
        socket = self._socket = WebSocket(stream, early, patience=self._policy.patience)
        if self._retired:
            self.retire()
        caps = self._policy.caps
        if (reason := caps.admit(self._peer)) is not None:
            self._observer.refused("watch", reason)
            socket.end(Code.TRY_AGAIN_LATER, "too many watchers")
            return await socket.run(trio.lowlevel.checkpoint)
        self._observer.connected("watch", 1)
        said = False
        try:
            said = await socket.run(partial(self._talk, socket))
        except* Exception as group:  # noqa: BLE001 -- a bug of ours, and the client has been told that there is one
            self._observer.error("watch_failed", peer=self._peer, exc=group)
        finally:
            self._observer.connected("watch", -1)
            caps.release(self._peer)
            if reason := _REFUSALS.get(socket.ending or 0):
                self._observer.refused("watch", reason)
        return said

    async def _talk(self, socket: WebSocket) -> None:
        with self._hub.subscribe(self._users) as feed:
            resumed = self._resume(feed)
            behind = not resumed and (self._start.snapshot or self._start.since is not None)  # a snapshot is owed
            stale_since = self._hub.service.staleness.since
            await socket.send(self._hello(feed, resumed=resumed, behind=behind))
            next_beat = trio.current_time() + self._policy.alive
            while True:
                pending = None if behind else feed.pending()
                if pending is None:
                    behind = not await self._tell_all(socket, feed)
                elif pending:
                    await self._tell(socket, feed, pending)
                now = trio.current_time()
                if now >= next_beat or stale_since != self._hub.service.staleness.since:
                    next_beat = now + self._policy.alive
                    stale_since = self._hub.service.staleness.since
                    at = None if behind else self._hub.id(feed.number)
                    await socket.beat(text_frame(live.render_alive(at, stale_since)))
                elif behind:
                    await trio.sleep_until(min(next_beat, now + _RETRY))
                elif pending == []:
                    with trio.move_on_at(next_beat):
                        await feed.wait()

    def _resume(self, feed: Subscription) -> bool:
        """Go back to where the client left off, if the log does."""
        number = None if self._start.since is None else self._hub.number(self._start.since)
        if number is None or not self._hub.log.reaches(number):
            return False
        feed.number = number
        return True

    def _hello(self, feed: Subscription, *, resumed: bool, behind: bool) -> bytes:
        return text_frame(
            live.render_hello(
                epoch=self._hub.epoch,
                at=None if behind else self._hub.id(feed.number),
                resumed=resumed,
                complete=self._hub.service.hears_changes,
                alive=self._policy.alive,
                stale_since=self._hub.service.staleness.since,
            )
        )

    async def _tell(self, socket: WebSocket, feed: Subscription, pending: Sequence[tuple[int, str]]) -> None:
        """Tell what holds of those who changed."""
        frames = bytearray()
        for batch in _batches(pending):
            rendered = await self._hub.render([user for _, user in batch])
            for number, user in batch:
                if user in rendered:
                    frames += rendered[user].change(self._hub.id(number))
            if len(frames) >= _ENOUGH:
                await socket.send(bytes(frames))
                frames.clear()
        await socket.send(bytes(frames))
        feed.number = pending[-1][0]

    async def _tell_all(self, socket: WebSocket, feed: Subscription) -> bool:
        """Tell what holds of everybody who is watched; False: nobody can say now who that is."""
        number = self._hub.log.number  # what changes from here on is told once more, afterwards
        try:
            users = await self._hub.service.get_users() if self._users is None else self._users
        except BackendError:  # which the log knows of
            return False
        frames = bytearray(_SNAPSHOT)
        for batch in _batches(users):
            rendered = await self._hub.render(batch)
            for user in batch:
                if user not in rendered:
                    frames += text_frame(live.present(live.render_unavailable(user)))
                elif rendered[user].exists:
                    frames += text_frame(live.present(rendered[user].part))
            if len(frames) >= _ENOUGH:
                await socket.send(bytes(frames))
                frames.clear()
        await socket.send(bytes(frames) + text_frame(live.render_end(self._hub.id(number))))
        feed.number = number
        return True


def _batches(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
