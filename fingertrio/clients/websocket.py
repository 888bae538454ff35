"""A WebSocket to another server: a URL in, trio-websocket's connection out, with what that leaves open closed.

The address is dialed as everywhere here (`dial`). A redirect is a refusal, certificates are verified, compression is
not offered. An opening handshake that ends early, goes on for ever or is none fails at once, where trio-websocket would
wait for its time to pass; and its background task cannot raise into the caller's nursery.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import trio
import trio_websocket

from fingertrio.clients.dial import AddressRule, RemoteError, Resolver, connect, resolve
from fingertrio.wire.text import clean_line

_HANDSHAKE_LIMIT = 65536  # bytes of the server's part of the handshake, or of its refusal

_FAREWELL = 1.0  # seconds for the closing handshake

_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_.-]{0,252})|[0-9a-f:.]+)\Z")

_SCHEMES = {"http": (False, 80), "ws": (False, 80), "https": (True, 443), "wss": (True, 443)}


class HandshakeError(RemoteError):
    """There is a server, and no WebSocket."""


class RefusedError(HandshakeError):
    """The server answered with something else than yes.

    Attributes:
        status: of HTTP: 403 not from here, 404 there is no such thing, 3xx it is elsewhere ...
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class WebSocketURL:
    """Where a WebSocket is: what a URL says. `path` is without a slash at its end."""

    host: str
    port: int
    tls: bool
    path: str

    @property
    def host_header(self) -> str:
        """With the port, where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def parse_url(url: str) -> WebSocketURL:
    """What `url` says; http and https are understood as ws and wss.

    Raises:
        ValueError: with a reason for people.
    """
    shown = f'"{clean_line(url)}"'
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if ":" not in host:
            host = host.encode("idna").decode()  # also for its check of the lengths, which wsproto would stumble over
    except ValueError:  # UnicodeError is one
        raise ValueError(f"{shown} is not a URL") from None
    if parts.scheme not in _SCHEMES or not _HOST.match(host):
        raise ValueError(f"{shown} is not a URL that starts with http:// or https:// and a host")
    if "@" in parts.netloc or parts.query or parts.fragment or port == 0:
        raise ValueError(f"{shown}: only scheme, host, port and path mean something here")
    if not (parts.path.isascii() and parts.path.isprintable()) or " " in parts.path:
        raise ValueError(f"{shown}: its path is not one")
    tls, standard = _SCHEMES[parts.scheme]
    return WebSocketURL(host, port or standard, tls, parts.path.removesuffix("/"))


@asynccontextmanager
async def open_websocket(
    target: WebSocketURL,
    query: str,
    *,
    timeout: float,
    limit: int,
    ssl_context: ssl.SSLContext | None = None,
    allow: AddressRule | None = None,
    resolve: Resolver = resolve,
) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """A WebSocket at `target`, closed when the context ends.

    Args:
        target: where it is.
        query: what follows the question mark.
        timeout: seconds until it is open.
        limit: bytes of one message.
        ssl_context: whom to trust; by default, whom the system trusts.
        allow: see `dial.connect`.
        resolve: see `dial.connect`.

    Raises:
        RefusedError: the server does not want to.
        RemoteError: it cannot be reached, or trusted, or it speaks no WebSocket.
    """
    deadline = trio.current_time() + timeout
    failure: BaseException | None = None
    with _until(deadline, target):
        stream = await _dial(target, ssl_context, allow, resolve)
    try:
        async with trio.open_nursery() as nursery:
            try:
                with _until(deadline, target):
                    socket = await _shake_hands(stream, target, f"{target.path}?{query}", nursery, limit)
                try:
                    yield socket
                finally:
                    with trio.move_on_after(_FAREWELL):
                        await socket.aclose()
            except BaseException as error:
                failure = error
                raise
            finally:
                await trio.aclose_forcefully(stream)
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        _, others = group.split(lambda error: error is failure or isinstance(error, trio.Cancelled))
        if failure is None or others is not None:
            raise
        raise failure from failure.__cause__  # without the nursery's packaging, in which it was alone


@contextmanager
def _until(deadline: float, target: WebSocketURL) -> Iterator[None]:
    try:
        with trio.fail_at(deadline):
            yield
    except trio.TooSlowError:
        raise HandshakeError(f"{target.host}: no answer in time") from None


async def _dial(
    target: WebSocketURL, ssl_context: ssl.SSLContext | None, allow: AddressRule | None, resolve: Resolver
) -> trio.abc.Stream:
    stream = await connect(target.host, target.port, allow=allow, resolve=resolve)
    if not target.tls:
        return stream
    context = ssl_context or ssl.create_default_context()
    secured = trio.SSLStream(stream, context, server_hostname=target.host, https_compatible=True)
    try:
        await secured.do_handshake()
    except BaseException as error:
        await trio.aclose_forcefully(stream)
        if not isinstance(error, trio.BrokenResourceError):
            raise
        reason = getattr(error.__cause__, "verify_message", "") or "no TLS is spoken there"
        raise HandshakeError(f"{target.host}: {reason}") from error
    return secured


async def _shake_hands(
    stream: trio.abc.Stream, target: WebSocketURL, resource: str, nursery: trio.Nursery, limit: int
) -> trio_websocket.WebSocketConnection:
    """A WebSocket over `stream`, whose reader runs in `nursery` and raises nothing there."""
    reader = _Reader(nursery)
    with reader.opening:
        return await trio_websocket.wrap_client_stream(
            reader,  # type: ignore[arg-type]  # all that is wanted of a nursery is start_soon
            _Line(stream),  # type: ignore[arg-type]  # any stream will do
            target.host_header,
            resource,
            extra_headers=[(b"User-Agent", b"fingertrio")],
            max_message_size=limit,
        )
    error = reader.failure
    if isinstance(error, trio_websocket.ConnectionRejected):
        raise RefusedError(f"{target.host}: HTTP status {error.status_code}", error.status_code) from error
    raise HandshakeError(f"{target.host}: the connection was not made: {_reason(error)}") from error


def _reason(error: BaseException | None) -> str:
    if isinstance(error, _LineError):
        return str(error)
    return "no WebSocket is spoken there" if error is not None else "it broke"


class _LineError(Exception):
    """The opening handshake cannot come to an end."""


class _Reader:
    """Stands where trio-websocket wants a nursery, and runs its reader so that the end of it is noticed.

    Attributes:
        opening: cancelled when the reader ends.
        failure: what it ended of.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.opening = trio.CancelScope()
        self.failure: Exception | None = None

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._run, task)

    async def _run(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except Exception as error:  # noqa: BLE001 -- wsproto's and trio-websocket's own errors, which belong to who reads
            self.failure = error
        self.opening.cancel()


class _Line(trio.abc.Stream):
    """A stream whose other end must not hang up, nor talk without end, until it has said 101."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._received = bytearray()
        self._opened = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self._stream.receive_some(max_bytes))
        if self._opened:
            return data
        self._received += data
        if self._received.startswith(b"HTTP/1.1 101") and b"\r\n\r\n" in self._received:
            self._opened = True
            self._received.clear()
        elif not data:
            raise _LineError("the server hung up")
        elif len(self._received) > _HANDSHAKE_LIMIT:
            raise _LineError("the answer is too long")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()
