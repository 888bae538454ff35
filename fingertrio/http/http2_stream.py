"""One HTTP/2 stream: a request and its answer, a WebSocket, or an endless response."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import trio
from hypercorn.protocol.events import Body, EndBody, StreamClosed
from hypercorn.protocol.http_stream import HTTPStream

from fingertrio.http.upgrade import Takeover, Upgrade, UpgradedSession

# Fields of the answer to an upgrade that HTTP/2 does not have (RFC 8441 section 5).
_HTTP1_ONLY = frozenset({b"connection", b"upgrade", b"sec-websocket-accept"})

# Bytes sent at once: less than a frame's usual maximum, so that answers on other streams take turns.
_PIECE = 16384

_FAREWELL = 1.0  # seconds for the client to close its side of a WebSocket after us


class Stream:
    """The state of a stream that the client has opened.

    Attributes:
        takeover: where the application puts a session.
        session: the WebSocket or the endless response, once the application has put it there.
        exchange: the application's side.
        head: the response head, until it is sent with the first part of the body.
        answered: whether the head was sent.
        complete: whether END_STREAM was sent.
        closed: whether nothing can be sent or received any more.
        held: bytes of the request's body, taken from the budget.
    """

    def __init__(self, stream_id: int, takeover: Takeover) -> None:
        self.id = stream_id
        self.takeover = takeover
        self.wants_websocket = isinstance(takeover, Upgrade)
        self.session: UpgradedSession | None = None
        self.exchange: HTTPStream | None = None
        self.head: list[tuple[bytes, bytes]] | None = None
        self.answered = False
        self.complete = False
        self.closed = False
        self.held = 0
        self.received: deque[tuple[bytes, int]] = deque()  # for the WebSocket: payload, and its share of the window
        self.at_end = False
        self._changed = trio.Event()

    @property
    def is_tunnel(self) -> bool:
        """Whether this may stay open for days, and so does not count as a request at work."""
        return self.wants_websocket or self.session is not None

    def accept(self, headers: Sequence[tuple[bytes, bytes]], session: UpgradedSession) -> None:
        """The application puts a session here, with these fields, which are those of HTTP/1."""
        self.head = [(b":status", b"200"), *(field for field in headers if field[0].lower() not in _HTTP1_ONLY)]
        self.session = session

    async def wait(self) -> None:
        """Return when the client's window opens, input arrives, or the stream is closed."""
        await self._changed.wait()

    def wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def feed(self, data: bytes, size: int) -> None:
        """Take input of a WebSocket. The client's window bounds how much waits."""
        self.received.append((data, size))
        self.wake()

    async def pass_body(self, data: bytes) -> None:
        if self.exchange is not None:
            await self.exchange.handle(Body(self.id, data))

    async def end_input(self) -> None:
        self.at_end = True
        self.wake()
        if self.exchange is not None and not self.wants_websocket:
            await self.exchange.handle(EndBody(self.id))

    async def close(self) -> None:
        self.closed = True
        self.wake()
        if self.exchange is not None:
            await self.exchange.handle(StreamClosed(self.id))


class Connection(Protocol):
    """What a WebSocket needs of its connection."""

    def room(self, stream_id: int) -> int: ...
    def acknowledge(self, stream_id: int, size: int) -> None: ...
    async def send_piece(self, stream_id: int, piece: bytes) -> None: ...
    async def flush(self) -> None: ...


class Tunnel:
    """A stream as a `ByteStream`, for a WebSocket."""

    def __init__(self, connection: Connection, stream: Stream) -> None:
        self._connection = connection
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything, as the client's window permits.

        Raises:
            trio.BrokenResourceError: the stream is closed.
        """
        stream, rest = self._stream, bytes(data)
        while rest:
            if stream.closed:
                raise trio.BrokenResourceError
            if (room := self._connection.room(stream.id)) > 0:
                piece, rest = rest[: min(room, _PIECE)], rest[min(room, _PIECE) :]
                await self._connection.send_piece(stream.id, piece)
            else:
                await stream.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Some bytes, or b"" at the end of the client's input."""
        stream, data = self._stream, b""
        while not data:
            if stream.received:
                data, size = stream.received.popleft()
                if max_bytes is not None and len(data) > max_bytes:
                    stream.received.appendleft((data[max_bytes:], size))
                    return data[:max_bytes]
                self._connection.acknowledge(stream.id, size)
                await self._connection.flush()
            elif stream.at_end or stream.closed:
                return b""
            else:
                await stream.wait()
        return data

    async def wait_for_end(self) -> None:
        """Discard input until the client has closed its side, or a second has passed."""
        with trio.move_on_after(_FAREWELL):
            while await self.receive_some():
                pass


class EndlessResponse(Tunnel):
    """A stream as a `ByteStream` on which only we send: the client's side ended with the request."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002 -- the signature of ByteStream
        """Wait until the stream is closed."""
        while not self._stream.closed:
            await self._stream.wait()
        return b""

    async def wait_for_end(self) -> None:
        """Nothing: the client has no side to close."""
