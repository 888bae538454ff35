"""A server on this machine for the tests of HTTP clients: each connection is a function of the test."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

Handler = Callable[[trio.SocketStream | trio.SSLStream[trio.SocketStream]], Awaitable[None]]
CRLF = b"\r\n\r\n"


async def read_request(stream: trio.abc.ReceiveStream) -> tuple[bytes, bytes]:
    data = b""
    while CRLF not in data:
        data += await stream.receive_some()
    head, body = data.split(CRLF, 1)
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += await stream.receive_some()
    return head, body


def answering(response: bytes) -> Handler:
    async def handler(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(response)

    return handler


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server on this machine."""

    async def guarded(stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await handler(stream)
            await stream.aclose()
        except trio.BrokenResourceError:
            pass  # the client disconnected

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        if context is None:
            nursery.start_soon(trio.serve_listeners, guarded, [listener])
        else:
            nursery.start_soon(trio.serve_listeners, guarded, [trio.SSLListener(listener, context)])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()
