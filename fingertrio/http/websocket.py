"""The server side of a WebSocket on which only the server sends messages (RFC 6455). It does not know what a status is.

wsproto parses what the client sends. Frames to the client are built here: a server's frame is its payload behind a few
bytes, the same for every client, so one frame is built once and sent to many (`text_frame`).

`pushing` has the tasks and deadlines. The reader receives everything: pings need a pong, a close frame needs an answer,
and unread frames would fill the kernel's buffers and hide the close behind them. A client that sends long messages or
many of them is disconnected.

The close frame gives the first reason to end: 1000 the sender returned, 1001 the server stops, 1002 or 1007 the client
broke the protocol or sent invalid UTF-8, 1008 too many frames, 1009 a message too long, 1011 the sender failed, 1013
the client does not read.
"""

from __future__ import annotations

import base64
import binascii

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping, Pong
from wsproto.utilities import LocalProtocolError, generate_accept_token

from fingertrio.http.pushing import PATIENCE, Code, Push
from fingertrio.http.upgrade import ByteStream

# What a client may send. It needs to send nothing; small numbers tolerate clients that do it anyway.
_MESSAGE_LIMIT = 1024  # bytes of one message
_FRAMES = 50.0  # at once
_FRAMES_A_SECOND = 5.0

_RECEIVE = 4096  # bytes of one receive; a thousand connections need a buffer each

_PING = b"\x89\x00"


def accept_token(key: str) -> bytes | None:
    """The Sec-WebSocket-Accept value for a Sec-WebSocket-Key; None: the key is invalid (RFC 6455 section 4.2.1)."""
    try:
        nonce = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return None
    return generate_accept_token(key.encode()) if len(nonce) == 16 else None


def text_frame(payload: bytes) -> bytes:
    """A text message in one unmasked frame (RFC 6455 section 5.2). `payload` is UTF-8."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


class WebSocket(Push):
    """A connection after its handshake. `run` is called once.

    Args:
        stream: the connection; the caller closes it.
        early: bytes received behind the handshake.
        patience: seconds in which a client must read one slice of what is sent, or answer a ping.
    """

    def __init__(self, stream: ByteStream, early: bytes = b"", *, patience: float = PATIENCE) -> None:
        super().__init__(stream, patience=patience)
        self._incoming = Connection(ConnectionType.SERVER, [], early)
        self._message_size = 0
        self._frames = _FRAMES  # that the client may send now
        self._counted = trio.current_time()
        self._pinged: float | None = None  # the time of the ping that has no pong yet

    async def beat(self, messages: bytes) -> None:
        """Send `messages` and a ping. End the connection if the previous ping has waited too long for its pong.

        This alone detects a client that reads nothing while the kernel's buffers hold everything sent so far.
        """
        now = trio.current_time()
        if self._pinged is not None and now - self._pinged >= self._patience:
            self._fail_to_read()
        if self._pinged is None:
            self._pinged = now
        await self.send(messages + _PING)

    async def _read(self) -> None:
        await self._handle_frames()  # those in `early`
        while data := await self._stream.receive_some(_RECEIVE):
            self._incoming.receive_data(bytes(data))
            await self._handle_frames()

    async def _handle_frames(self) -> None:
        for event in self._incoming.events():
            if isinstance(event, CloseConnection):  # the client's, or wsproto's for a protocol error
                self.end(event.code)
            elif not self._is_within_limits(event):
                self.end(Code.POLICY, "too many frames; this server expects no messages")
            elif isinstance(event, Ping):
                await self.send(self._incoming.send(event.response()))
            elif isinstance(event, Pong):
                self._pinged = None
            elif isinstance(event, Message) and self._message_size > _MESSAGE_LIMIT:
                self.end(Code.TOO_BIG, f"more than {_MESSAGE_LIMIT} bytes")
            if self._ending is not None:
                await trio.sleep_forever()  # until the requested cancellation is delivered

    def _is_within_limits(self, event: Event) -> bool:
        """Count a frame, which may arrive in parts."""
        if isinstance(event, Message):
            self._message_size += len(event.data)
            if not event.frame_finished:
                return True
            if event.message_finished and self._message_size <= _MESSAGE_LIMIT:
                self._message_size = 0
        now = trio.current_time()
        self._frames = min(self._frames + (now - self._counted) * _FRAMES_A_SECOND, _FRAMES) - 1
        self._counted = now
        return self._frames >= 0

    def _last_word(self, code: int, reason: str) -> bytes:
        try:
            return self._incoming.send(CloseConnection(code, reason))
        except LocalProtocolError:
            return b""
