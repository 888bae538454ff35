"""Plain clients: send bytes to a port of 127.0.0.1 and return the answer; also with resets and small windows."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import trio

PATIENCE = 10.0  # seconds for one exchange, which normally takes milliseconds

# ip(7): choose the port at the connect, when the destination is known. Without it, a source address has only the
# kernel's 28,000 ports for all destinations, including those of connections that ended within the last minute.
BIND_ADDRESS_NO_PORT = 24


async def dial(port: int, source: str = "", *, window: int = 0) -> trio.SocketStream:
    """A connection.

    Args:
        port: on 127.0.0.1.
        source: the address that it comes from; empty: 127.0.0.1.
        window: bytes of the receive buffer, for a client that will not read; 0: the kernel's default.
    """
    sock = trio.socket.socket()
    try:
        if source:
            sock.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
            await sock.bind((source, 0))
        if window:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        await sock.connect(("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Everything until the server closes. Raises trio.BrokenResourceError if it resets instead."""
    return b"".join([chunk async for chunk in stream])


async def exchange(port: int, data: bytes, *, end: bool = False, source: str = "", within: float = PATIENCE) -> bytes:
    """Send `data`, end the input if `end`, and return everything until the server closes.

    Raises:
        OSError, trio.BrokenResourceError: refused or reset.
        trio.TooSlowError: not within `within` seconds.
    """
    with trio.fail_after(within):
        async with await dial(port, source) as stream:
            await stream.send_all(data)
            if end:
                await stream.send_eof()
            return await read_all(stream)


async def get(port: int, path: str, *, source: str = "", within: float = PATIENCE) -> bytes:
    """A whole HTTP response."""
    return await exchange(port, request(path), source=source, within=within)


def request(path: str, *headers: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    """A plain HTTP/1 request with "Connection: close", unless a header says otherwise."""
    lines = [f"{method} {path} HTTP/{version}", "Host: test", *headers]
    if not any(header.lower().startswith("connection:") for header in headers):
        lines.append("Connection: close")
    if body and not any(header.lower().startswith(("content-length:", "transfer-encoding:")) for header in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def websocket(path: str = "/api/watch") -> bytes:
    """A request for a WebSocket; by default, the live feed."""
    return request(
        path,
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    )


def http_body(response: bytes) -> bytes:
    """The bytes after the head."""
    return response.partition(b"\r\n\r\n")[2]


def http_status(response: bytes) -> int:
    """The number in the first line; 0: there is none."""
    words = response.split(None, 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else 0


async def reset(stream: trio.SocketStream) -> None:
    """End a connection as a crash does, with RST."""
    with suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)


def addresses(count: int, net: int = 1) -> Iterator[str]:
    """`count` loopback addresses in turn, without end. Each `net` has others."""
    while True:
        for number in range(count):
            yield f"127.{64 + net}.{number // 250}.{1 + number % 250}"
