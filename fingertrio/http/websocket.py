"""The server side of a WebSocket on which only the server sends messages (RFC 6455). It does not know what a status is.

wsproto parses what the client sends. Frames to the client are built here: a server's frame is its payload behind a few
bytes, the same for every client, so one frame is built once and sent to many (`text_frame`).

Each connection has two tasks. The *sender*, given by the caller, sends. The *reader* receives everything: pings need a
pong, a close frame needs an answer, and unread frames would fill the kernel's buffers and hide the close behind them.
A client that sends long messages or many of them is disconnected.

The close frame gives the first reason to end: 1000 the sender returned, 1001 the server stops, 1002 or 1007 the client
broke the protocol or sent invalid UTF-8, 1008 too many frames, 1009 a message too long, 1011 the sender failed, 1013
the client does not read. A close frame can follow only a whole frame, so a send is never interrupted. When the
connection ends, the current frame gets a last deadline; if that expires, the connection ends without a close frame.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Awaitable, Callable
from enum import IntEnum

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping, Pong
from wsproto.utilities import LocalProtocolError, generate_accept_token

from fingertrio.http.upgrade import ByteStream

# Seconds in which a client must read one slice of what is sent, or answer a ping.
PATIENCE = 30.0

# Seconds for the frame that is being sent, and for the close frame after it, when the connection ends.
_LAST_WORDS = 1.0

_SLICE = 65536  # bytes sent under one deadline: 2 kB/s, as for HTTP

# What a client may send. It needs to send nothing; small numbers tolerate clients that do it anyway.
_MESSAGE_LIMIT = 1024  # bytes of one message
_FRAMES = 50.0  # at once
_FRAMES_A_SECOND = 5.0

_RECEIVE = 4096  # bytes of one receive; a thousand connections need a buffer each

_PING = b"\x89\x00"

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Code(IntEnum):
    """Why a connection is closed (RFC 6455 section 7.4.1, and 1013 of the IANA's registry)."""

    OVER = 1000
    GOING_AWAY = 1001
    POLICY = 1008
    TOO_BIG = 1009
    FAILED = 1011
    TRY_AGAIN_LATER = 1013


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


class WebSocket:
    """A connection after its handshake. `run` is called once.

    Args:
        stream: the connection; the caller closes it.
        early: bytes received behind the handshake.
        patience: seconds, see PATIENCE.
    """

    def __init__(self, stream: ByteStream, early: bytes = b"", *, patience: float = PATIENCE) -> None:
        self._stream = stream
        self._patience = patience
        self._incoming = Connection(ConnectionType.SERVER, [], early)
        self._message_size = 0
        self._frames = _FRAMES  # that the client may send now
        self._counted = trio.current_time()
        self._turn = trio.Lock()  # to send
        self._sending: trio.CancelScope | None = None
        self._hurried = False
        self._half_sent = False  # a frame was cut off: no frame can follow
        self._pinged: float | None = None  # the time of the ping that has no pong yet
        self._scope = trio.CancelScope()
        self._ending: tuple[int, str] | None = None

    @property
    def ending(self) -> int | None:
        """The code of the close frame, once the connection ends."""
        return None if self._ending is None else self._ending[0]

    async def run(self, sender: Callable[[], Awaitable[None]]) -> bool:
        """Read, and run `sender`, until one side ends the connection. Then send the close frame.

        After a cancellation this returns within about a second.

        Returns:
            Whether a close frame was sent, so that the socket must not be closed at once (`net.linger`).

        Raises:
            Exception: what `sender` raised, in a group.
        """
        closed = False
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read)
                    await sender()
                    self.end(Code.OVER)
        except* _GONE:
            self._half_sent = True  # nothing more can be sent
        except* Exception:
            self.end(Code.FAILED, "Internal error in server")
            raise
        finally:
            self.end(Code.FAILED, "Internal error in server")  # cancelled without a reason
            closed = await self._send_close()
        return closed

    def end(self, code: int, reason: str = "") -> None:
        """End the connection, with this reason unless there is an earlier one. Returns at once; `run` returns soon."""
        if self._ending is None:
            self._ending = (code, reason)
        self._scope.cancel()

    async def send(self, frames: bytes) -> None:
        """Send whole frames. Returns when the kernel has taken them. Ends the connection of a slow reader.

        Raises:
            trio.BrokenResourceError: the client is gone, or did not read before the deadline.
        """
        try:
            self._turn.acquire_nowait()
        except trio.WouldBlock:
            await self._turn.acquire()
        try:
            if self._half_sent:
                raise trio.BrokenResourceError
            if rest := memoryview(frames)[self._send_now(frames) :]:  # no copy: many clients may share the frames
                await self._send_patiently(rest)
        finally:
            self._turn.release()
        await trio.lowlevel.checkpoint()

    def _send_now(self, frames: bytes) -> int:
        """Send what the kernel takes at once: usually everything, at half the cost of a send that can wait."""
        if not isinstance(self._stream, trio.SocketStream):
            return 0
        try:
            return os.write(self._stream.socket.fileno(), frames)
        except BlockingIOError:
            return 0

    async def _send_patiently(self, frames: memoryview) -> None:
        slow = False
        with trio.CancelScope(shield=True) as scope:
            self._sending, self._half_sent = scope, True
            for start in range(0, len(frames), _SLICE):
                begun = trio.current_time()
                scope.deadline = begun + (0 if self._hurried else self._patience) + _LAST_WORDS
                await self._stream.send_all(frames[start : start + _SLICE])
                slow = slow or trio.current_time() - begun > self._patience
            self._half_sent = False
        self._sending = None
        if slow or scope.cancelled_caught:
            self._fail_to_read()
        if scope.cancelled_caught:
            raise trio.BrokenResourceError

    async def beat(self, frames: bytes) -> None:
        """Send `frames` and a ping. End the connection if the previous ping has waited too long for its pong.

        This alone detects a client that reads nothing while the kernel's buffers hold everything sent so far.
        """
        now = trio.current_time()
        if self._pinged is not None and now - self._pinged >= self._patience:
            self._fail_to_read()
        if self._pinged is None:
            self._pinged = now
        await self.send(frames + _PING)

    def _fail_to_read(self) -> None:
        self.end(Code.TRY_AGAIN_LATER, "too slow")

    async def _read(self) -> None:
        try:
            await self._handle_frames()  # those in `early`
            while data := await self._stream.receive_some(_RECEIVE):
                self._incoming.receive_data(bytes(data))
                await self._handle_frames()
            raise trio.BrokenResourceError  # the client closed without a close frame
        finally:  # also after a cancellation, from which a send is shielded
            self._hurried = True
            if self._sending is not None:
                self._sending.deadline = min(self._sending.deadline, trio.current_time() + _LAST_WORDS)

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

    async def _send_close(self) -> bool:
        """Send the close frame, if one can still be sent."""
        if self._half_sent or self._ending is None:
            return False
        try:
            frame = self._incoming.send(CloseConnection(*self._ending))
        except LocalProtocolError:
            return False
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _LAST_WORDS):
            try:
                await self._stream.send_all(frame)
            except _GONE:
                return False
            return True
        return False
