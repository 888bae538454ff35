"""The other end of a WebSocket: wsproto, and nothing hidden, so that a test sees every frame and can send any."""

from __future__ import annotations

import json
import secrets
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, TextMessage

from tests.frontends.web.kit import Client, Site

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
)


def handshake(path: str, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return HANDSHAKE.format(path=path, headers=lines).encode()


def frame(payload: bytes, *, opcode: int = 1, fin: bool = True, masked: bool = True, size: int | None = None) -> bytes:
    """A client's frame; `size` is what its header says of the payload's."""
    size = len(payload) if size is None else size
    head = bytes([opcode | (0x80 if fin else 0)])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    if not masked:
        return head + payload
    mask = secrets.token_bytes(4)
    return head + mask + bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))


class WebSocketClient:
    """Reads frames. Pings are answered unless `answers_pings` is False."""

    def __init__(self, stream: trio.abc.Stream, early: bytes = b"") -> None:
        self.stream = stream
        self.frames = Connection(ConnectionType.CLIENT, [], early)
        self.events: deque[Event] = deque()
        self.answers_pings = True
        self.pings = 0

    async def event(self) -> Event | None:
        """The next one; None: the connection ended."""
        while not self.events:
            self.events += self.frames.events()
            if not self.events:
                with trio.fail_after(60):
                    data = await self.stream.receive_some(65536)
                if not data:
                    return None
                self.frames.receive_data(bytes(data))
        return self.events.popleft()

    async def next(self) -> TextMessage | CloseConnection | None:
        """The next message or close frame."""
        text = ""
        while True:
            event = await self.event()
            if isinstance(event, Ping):
                self.pings += 1
                if self.answers_pings:
                    await self.stream.send_all(self.frames.send(event.response()))
            elif isinstance(event, TextMessage):
                text += event.data
                if event.message_finished:
                    return TextMessage(text)
            elif event is None or isinstance(event, CloseConnection):
                return event

    async def message(self) -> dict[str, Any]:
        """The next message, which must be one."""
        found = await self.next()
        assert isinstance(found, TextMessage), found
        message = json.loads(found.data)
        assert isinstance(message, dict)
        return message

    async def messages(self, count: int) -> list[dict[str, Any]]:
        return [await self.message() for _ in range(count)]

    async def closed(self) -> int | None:
        """The code of the close frame, whatever comes before it; None: there was none."""
        while isinstance(found := await self.next(), TextMessage):
            pass
        return None if found is None else found.code


def set_buffer(client: Client, buffer: int) -> None:
    """Limit how many bytes the kernel of the client takes without being read."""
    stream = client.stream.transport_stream if isinstance(client.stream, trio.SSLStream) else client.stream
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, buffer)


@asynccontextmanager
async def watching(
    site: Site, query: str = "", *, buffer: int | None = None, **headers: str
) -> AsyncIterator[WebSocketClient]:
    """A client of the feed, whose handshake is done; `buffer` is how many bytes its kernel takes without being read."""
    async with await site.connect() as client:
        if buffer is not None:
            set_buffer(client, buffer)
        yield await opened(client, query, **headers)


async def opened(client: Client, query: str = "", **headers: str) -> WebSocketClient:
    await client.send(handshake(f"/api/watch{query}", **headers))
    head = await client.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in head.lower()
    assert b"extensions" not in head.lower()
    return WebSocketClient(client.stream, client.received)


class EventsClient:
    """The other end of an event stream: parses as WHATWG HTML section 9.2.6 says, and keeps what a browser keeps.

    Attributes:
        last_id: what a browser would send as Last-Event-ID.
        retry: milliseconds before a browser would reconnect.
        pings: the comments.
    """

    def __init__(self, stream: trio.abc.Stream, early: bytes = b"") -> None:
        self.stream = stream
        self.received = early
        self.last_id = ""
        self.retry: int | None = None
        self.pings = 0

    async def block(self) -> str | None:
        """The next event with its comments, without the empty line behind it; None: the stream ended."""
        while b"\n\n" not in self.received:
            with trio.fail_after(60):
                data = await self.stream.receive_some(65536)
            if not data:
                assert not self.received, f"an event was cut off: {self.received!r}"
                return None
            self.received += bytes(data)
        block, _, self.received = self.received.partition(b"\n\n")
        return block.decode()

    async def next(self) -> str | None:
        """The data of the next event; None: the stream ended."""
        while (block := await self.block()) is not None:
            data = None
            for line in block.split("\n"):
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if field == "":
                    self.pings += 1
                elif field == "id":
                    self.last_id = value
                elif field == "retry":
                    self.retry = int(value)
                else:
                    assert field == "data", block
                    assert data is None, block
                    data = value
            if data is not None:
                return data
        return None

    async def message(self) -> dict[str, Any]:
        """The next message, which must be one. Its id is the event's."""
        data = await self.next()
        assert data is not None, "the stream ended"
        message = json.loads(data)
        assert isinstance(message, dict)
        assert message.get("id") is None or message["id"] == self.last_id
        return message

    async def messages(self, count: int) -> list[dict[str, Any]]:
        return [await self.message() for _ in range(count)]

    async def closed(self) -> int | None:
        """None when the stream has ended, whatever comes before: it has no close codes."""
        while await self.next() is not None:
            pass
        return None


AnyClient = WebSocketClient | EventsClient


@asynccontextmanager
async def listening(
    site: Site, query: str = "", *, buffer: int | None = None, **headers: str
) -> AsyncIterator[EventsClient]:
    """A client of the event stream, with the same arguments as `watching`."""
    async with await site.connect() as client:
        if buffer is not None:
            set_buffer(client, buffer)
        yield await listened(client, query, **headers)


async def listened(client: Client, query: str = "", **headers: str) -> EventsClient:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    await client.send(f"GET /api/events{query} HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode())
    head = await client.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
    assert b"\r\ncontent-type: text/event-stream\r\n" in head
    assert b"length" not in head.lower()
    assert b"encoding" not in head.lower()
    return EventsClient(client.stream, client.received)
