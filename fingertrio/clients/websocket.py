"""Opens a WebSocket to another server: takes a URL, returns a connection of trio-websocket.

The connection is made by `dial`. Redirects are rejected, certificates are verified, compression is not offered.

trio-websocket is used through its public API, with two gaps closed. When the opening handshake ends early or is
malformed, trio-websocket would wait until the deadline; `_HandshakeStream` makes it fail at once. And exceptions of its
background task would cancel the caller's nursery; `_run_reader` contains them.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import cast

import trio
import trio_websocket

from fingertrio.clients.dial import AddressRule, RemoteError, Resolver, connect, resolve
from fingertrio.clients.tls import TLSError, start_tls
from fingertrio.wire.http_url import HTTP, HTTPURL, parse_http_url

_HANDSHAKE_LIMIT = 65536  # bytes of the server's handshake or of its error response

_CLOSE_TIMEOUT = 1.0  # seconds for the closing handshake

_NO_WEBSOCKET = "the server does not speak WebSocket"

_SCHEMES = {**HTTP, "ws": HTTP["http"], "wss": HTTP["https"]}


class HandshakeError(RemoteError):
    """The server accepted the connection, but the WebSocket handshake failed."""


class RefusedError(HandshakeError):
    """The server rejected the handshake with an HTTP status other than 101.

    Attributes:
        status: the HTTP status, such as 403 or 404, or 3xx for a redirect.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


WebSocketURL = HTTPURL


def parse_url(url: str) -> WebSocketURL:
    """`url`, parsed; http and https mean ws and wss. The path has no trailing slash.

    Raises:
        ValueError: the message says what is wrong with the URL.
    """
    target = parse_http_url(url, schemes=_SCHEMES)
    return replace(target, path=target.path.removesuffix("/"))


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
        target: the server and the path.
        query: the part after the question mark.
        timeout: seconds until the WebSocket is open.
        limit: bytes of one message.
        ssl_context: the trusted certificates; by default the system's.
        allow: see `dial.connect`.
        resolve: see `dial.connect`.

    Raises:
        RefusedError: the server rejects the handshake.
        RemoteError: the server cannot be reached, is not trusted, or does not speak WebSocket.
    """
    deadline = trio.current_time() + timeout
    failure: BaseException | None = None
    with _until(deadline, target, timeout):
        stream = await _dial(target, ssl_context, allow, resolve)
    try:
        async with trio.open_nursery() as nursery:
            try:
                with _until(deadline, target, timeout):
                    socket = await nursery.start(_run_reader, stream, target, f"{target.path}?{query}", limit)
                try:
                    yield socket
                finally:
                    with trio.move_on_after(_CLOSE_TIMEOUT):
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
        raise failure from failure.__cause__  # the nursery's group contained nothing else


@contextmanager
def _until(deadline: float, target: WebSocketURL, timeout: float) -> Iterator[None]:
    try:
        with trio.fail_at(deadline):
            yield
    except trio.TooSlowError:
        raise HandshakeError(f"{target.host}: no answer within {timeout:g} seconds") from None


async def _dial(
    target: WebSocketURL, ssl_context: ssl.SSLContext | None, allow: AddressRule | None, resolve: Resolver
) -> trio.abc.Stream:
    stream = await connect(target.host, target.port, allow=allow, resolve=resolve)
    if not target.tls:
        return stream
    try:
        return await start_tls(stream, target.host, ssl_context or ssl.create_default_context())
    except TLSError as error:
        raise HandshakeError(str(error)) from error.__cause__


async def _run_reader(
    stream: trio.abc.Stream,
    target: WebSocketURL,
    resource: str,
    limit: int,
    *,
    task_status: trio.TaskStatus[trio_websocket.WebSocketConnection],
) -> None:
    """Open a WebSocket over `stream`, report it as started, and run trio-websocket's reader until it ends.

    Exceptions of the reader become a HandshakeError before the start. After it, the reader has closed the message
    channel, so `get_message` raises ConnectionClosed and the exception itself tells nothing more.
    """
    opening = _HandshakeStream(stream)
    try:
        async with trio.open_nursery() as nursery:
            socket = await trio_websocket.wrap_client_stream(
                nursery,
                cast("trio.SocketStream", opening),  # documented as "a Trio stream", typed narrower
                target.host_header,
                resource,
                extra_headers=[(b"User-Agent", b"fingertrio")],
                max_message_size=limit,
            )
            opening.opened = True
            task_status.started(socket)
    except BaseExceptionGroup as group:
        failures, others = group.split(Exception)
        if others is not None:
            raise others from None
        if not opening.opened:
            raise _handshake_error(target, failures) from group


def _handshake_error(target: WebSocketURL, failures: BaseExceptionGroup[Exception] | None) -> HandshakeError:
    error = failures.exceptions[0] if failures is not None else None
    if isinstance(error, trio_websocket.ConnectionRejected):
        return RefusedError(f"{target.host}: HTTP status {error.status_code}", error.status_code)
    reason = str(error) if isinstance(error, _OpeningError) else _NO_WEBSOCKET
    return HandshakeError(f"{target.host}: the WebSocket handshake failed: {reason}")


class _OpeningError(Exception):
    """The opening handshake cannot be completed."""


class _HandshakeStream(trio.abc.Stream):
    """A stream that raises _OpeningError if it ends, or receives too much, before the WebSocket is open.

    In these cases trio-websocket's reader would stop without reporting that the handshake failed.

    Attributes:
        opened: set by the caller when the handshake has succeeded.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._received: bytearray | None = bytearray()  # None: the server has sent 101
        self.opened = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._received is None:
            return bytes(await self._stream.receive_some(max_bytes))
        with self._opening():
            data = bytes(await self._stream.receive_some(max_bytes))
        self._received += data
        if self._received.startswith(b"HTTP/1.1 101") and b"\r\n\r\n" in self._received:
            self._received = None
        elif not data:
            raise _OpeningError("the server closed the connection")
        elif len(self._received) > _HANDSHAKE_LIMIT:
            raise _OpeningError("the answer is too long")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._opening():
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()
        if not self.opened:  # trio-websocket closes the stream after an invalid answer
            raise _OpeningError(_NO_WEBSOCKET)

    @contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            yield
        except trio.BrokenResourceError as error:
            if self._received is None:
                raise
            raise _OpeningError("the connection was reset") from error
