"""A client of the live feed: a URL in, typed events out, until the connection ends; docs/reference/live-feed.md.

It makes one connection and never another: when that ends, for whatever reason, the iteration raises, and whoever asked
decides when to come back, with the last id. What comes is believed as little as any stranger's: messages have a size
and a form, text is clean, and a server that is silent for longer than it promised is gone.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlencode

import trio
import trio_websocket

from fingertrio.clients.dial import AddressRule, RemoteError, Resolver, resolve
from fingertrio.clients.websocket import open_websocket, parse_url
from fingertrio.wire import ProtocolError, live
from fingertrio.wire.text import clean_line

TIMEOUT = 10.0  # seconds until the connection is open, and then until the server has said hello

# Bytes of one message. The longest status that can be set makes 16 KiB; a plan file, in JSON, a few times as much.
MESSAGE_LIMIT = 1024 * 1024

# A server that is silent for this many times its own promise is taken for gone: one sign of life may be late.
_SILENCES = 2.5

_BROKEN = 1006  # trio-websocket's word for an end without a close frame (RFC 6455 section 7.4.1)


class LiveError(RemoteError):
    """The feed has ended, or what comes makes no sense."""


class ClosedError(LiveError):
    """The server ended the feed, and said why.

    Attributes:
        code: of the close frame: 1001 it stops, 1011 it failed, 1013 it has too many watchers, or we were too slow.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class LiveFeed:
    """One connection to the feed: an asynchronous iterator of events, which ends with an exception and not otherwise.

    Attributes:
        hello: the server's first message.
        id: where to go on after this connection has ended (`since`); None: with a snapshot.
    """

    def __init__(self, socket: trio_websocket.WebSocketConnection, host: str, hello: live.Hello) -> None:
        self._socket = socket
        self._host = host
        self._silence = hello.alive * _SILENCES
        self.hello = hello
        self.id = hello.id

    def __aiter__(self) -> LiveFeed:
        return self

    async def __anext__(self) -> live.Event:
        """The next event.

        Raises:
            ClosedError: the server ended the feed.
            LiveError: the connection broke, or what came makes no sense.
        """
        while True:
            match message := await _read(self._socket, self._host, self._silence):
                case live.Hello():
                    raise LiveError(f"{self._host}: a second hello")
                case live.SnapshotBegins() | live.Alive(id=None):
                    self.id = None
                case live.SnapshotEnds(id=at) | live.Changed(id=at) | live.Removed(id=at) | live.Alive(id=at):
                    self.id = at
            if message is not None:
                return message


@asynccontextmanager
async def open_live(
    url: str,
    *,
    users: Sequence[str] = (),
    snapshot: bool = True,
    since: str | None = None,
    timeout: float = TIMEOUT,
    limit: int = MESSAGE_LIMIT,
    ssl_context: ssl.SSLContext | None = None,
    allow: AddressRule | None = None,
    resolve: Resolver = resolve,
) -> AsyncIterator[LiveFeed]:
    """The live feed of the fingertrio at `url`; the connection is closed when the context ends.

    Args:
        url: of its web door, as one would open it in a browser.
        users: whom to watch; by default everybody.
        snapshot: whether to be told first what holds now.
        since: the last id that was told; what changed since comes first, or a snapshot, if that cannot be told.
        timeout: seconds until the connection is open, and then until the server has said hello.
        limit: bytes of one message.
        ssl_context: whom to trust; by default, whom the system trusts.
        allow: see `dial.connect`.
        resolve: see `dial.connect`.

    Raises:
        ValueError: `url` is not one.
        RefusedError: there is a server, and it does not let us watch.
        RemoteError: there is none, or no feed that can be understood.
    """
    target = parse_url(url)
    query: list[tuple[str, str]] = [("user", user) for user in users]
    query += [("snapshot", "1")] * snapshot + ([("since", since)] if since is not None else [])
    async with open_websocket(
        replace(target, path=target.path + live.PATH),
        urlencode(query),
        timeout=timeout,
        limit=limit,
        ssl_context=ssl_context,
        allow=allow,
        resolve=resolve,
    ) as socket:
        hello = await _read(socket, target.host, timeout)
        if not isinstance(hello, live.Hello):
            raise LiveError(f"{target.host}: the feed does not begin with a hello")
        yield LiveFeed(socket, target.host, hello)


async def _read(socket: trio_websocket.WebSocketConnection, host: str, silence: float) -> live.Message | None:
    """The next message; None: it is of a kind that is not known here."""
    try:
        with trio.fail_after(silence):
            message = await socket.get_message()
    except trio.TooSlowError:
        raise LiveError(f"{host}: nothing was heard for {silence:g} seconds") from None
    except trio_websocket.ConnectionClosed as error:
        reason = error.reason
        if reason is None or reason.code == _BROKEN:
            raise LiveError(f"{host}: the connection broke") from error
        words = clean_line(reason.reason or "")[:200] or reason.name.lower().replace("_", " ")
        raise ClosedError(f"{host}: closed with {reason.code}: {words}", reason.code) from error
    if isinstance(message, bytes):
        raise LiveError(f"{host}: a message that is not text")
    try:
        return live.parse(message)
    except ProtocolError as error:
        raise LiveError(f"{host}: {error}") from error
