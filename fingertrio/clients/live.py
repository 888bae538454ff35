"""A client of the live feed: takes a URL, returns typed events until the connection ends; docs/reference/live-feed.md.

It never reconnects: when the connection ends, the iteration raises, and the caller decides when to connect again, with
the last id. The server is not trusted: messages have a size limit and a form, text is cleaned, and a server that is
silent for longer than it announced is treated as lost.
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

TIMEOUT = 10.0  # seconds until the connection is open, and then until the server's hello

# Bytes of one message. The longest status that can be set has 16 KiB; a plan file, as JSON, several times as much.
MESSAGE_LIMIT = 1024 * 1024

# Characters. Cleaning text takes up to 0.5 us for each, so parsing a longer message would delay other tasks by 16 ms.
_LARGE = 32 * 1024

# A server that is silent for this many times its announced interval is treated as lost: one "alive" may be late.
_SILENT_INTERVALS = 2.5

_NO_CLOSE_FRAME = 1006  # the connection ended without a close frame (RFC 6455 section 7.4.1)


class LiveError(RemoteError):
    """The feed has ended, or a message is invalid."""


class ClosedError(LiveError):
    """The server closed the feed with a close frame.

    Attributes:
        code: of the close frame: 1001 the server stops, 1011 it failed, 1013 too many watchers or this client is too
            slow.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class LiveFeed:
    """One connection to the feed: an asynchronous iterator of events, which ends only with an exception.

    Attributes:
        hello: the server's first message.
        id: the `since` for the next connection; None: the next connection needs a snapshot.
    """

    def __init__(self, socket: trio_websocket.WebSocketConnection, host: str, hello: live.Hello) -> None:
        self._socket = socket
        self._host = host
        self._silence = hello.alive * _SILENT_INTERVALS
        self.hello = hello
        self.id = hello.id

    def __aiter__(self) -> LiveFeed:
        return self

    async def __anext__(self) -> live.Event:
        """The next event.

        Raises:
            ClosedError: the server closed the feed.
            LiveError: the connection broke, or a message is invalid.
        """
        while True:
            match message := await _read(self._socket, self._host, self._silence):
                case live.Hello():
                    raise LiveError(f"{self._host}: the server sent a second hello")
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
        url: of the web door, as in a browser.
        users: the users to watch; by default all.
        snapshot: whether the current statuses are sent first.
        since: the last id received; the changes since then are sent first, or a snapshot if the server no longer has
            them.
        timeout: seconds until the connection is open, and then until the server's hello.
        limit: bytes of one message.
        ssl_context: the trusted certificates; by default the system's.
        allow: see `dial.connect`.
        resolve: see `dial.connect`.

    Raises:
        ValueError: `url` is not a valid URL.
        RefusedError: the server rejects the request.
        RemoteError: the server cannot be reached, or its feed is invalid.
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
            raise LiveError(f"{target.host}: the feed does not start with a hello")
        yield LiveFeed(socket, target.host, hello)


async def _read(socket: trio_websocket.WebSocketConnection, host: str, silence: float) -> live.Message | None:
    """The next message; None: its type is unknown to this version."""
    try:
        with trio.fail_after(silence):
            message = await socket.get_message()
    except trio.TooSlowError:
        raise LiveError(f"{host}: the server sent nothing for {silence:g} seconds") from None
    except trio_websocket.ConnectionClosed as error:
        reason = error.reason
        if reason is None or reason.code == _NO_CLOSE_FRAME:
            raise LiveError(f"{host}: the connection broke") from error
        text = clean_line(reason.reason or "")[:200] or reason.name.lower().replace("_", " ")
        raise ClosedError(f"{host}: closed with {reason.code}: {text}", reason.code) from error
    if isinstance(message, bytes):
        raise LiveError(f"{host}: message is not text")
    try:
        return live.parse(message) if len(message) < _LARGE else await _parse_aside(message)
    except ProtocolError as error:
        raise LiveError(f"{host}: {error}") from error


async def _parse_aside(message: str) -> live.Message | None:
    """Parse a large message in a thread, then rest twice as long: a server that sends many must not block other tasks.

    Measured with a server that sends nothing else: each message blocked other tasks for 155 ms, and does for at most 20
    ms like this, with a median of 0.2 ms.
    """
    began = trio.current_time()
    parsed = await trio.to_thread.run_sync(live.parse, message)
    await trio.sleep(2 * (trio.current_time() - began))
    return parsed
