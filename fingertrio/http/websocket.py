"""The server's side of a WebSocket on which only the server has something to say (RFC 6455). It knows no statuses.

wsproto reads what the client sends; sending is done here, since a frame of ours is its payload behind a few bytes and
the same for everybody: who tells many clients the same builds the frame once (`text_frame`).

Two tasks belong to a connection. The *talk*, which the caller brings, sends. The *listener* reads whatever comes, even
though nothing is expected: pings want an answer, a close wants to be noticed, and frames that nobody read would fill
the kernel's buffers until the close behind them could not be seen. What a client sends is small and rare, or it goes.

How it ends is said in a close frame, and the first reason wins: 1000 the talk is over, 1001 the server stops, 1002,
1007 what came is not WebSocket or not text, 1008 too many frames, 1009 too long a message, 1011 the talk failed, 1013
the client does not read. A close frame can only follow a whole frame, so a send is never cut off in the middle: once
the connection is to end, it has a last moment to become whole, and if it does not, the connection ends without words.
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

from fingertrio.http.http1 import Stream

# Seconds that a client may take to read what it was sent: one slice of it, or a ping.
PATIENCE = 30.0

# Seconds for a frame that is on its way, and for the close frame after it, once the connection is to end.
_LAST_WORDS = 1.0

_SLICE = 65536  # bytes that are sent under one deadline: two kilobytes a second, as for HTTP

# What a client may send. It has nothing to say; these let those pass who say it anyway, once or out of habit.
_MESSAGE_LIMIT = 1024  # bytes of one message
_FRAMES = 50.0  # at once
_FRAMES_A_SECOND = 5.0

_RECEIVE = 4096  # bytes; there is next to nothing to receive, and a thousand connections to keep buffers for

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
    """What Sec-WebSocket-Accept says to Sec-WebSocket-Key; None: `key` is not one (RFC 6455 section 4.2.1)."""
    try:
        nonce = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return None
    return generate_accept_token(key.encode()) if len(nonce) == 16 else None


def text_frame(payload: bytes) -> bytes:
    """A whole text message in one frame, as a server sends it: unmasked (RFC 6455 section 5.2). `payload` is UTF-8."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


class WebSocket:
    """A connection whose handshake is over. `run` is called once.

    Args:
        stream: the connection; it is not closed here.
        early: what was received after the handshake.
        patience: seconds, see PATIENCE.
    """

    def __init__(self, stream: Stream, early: bytes = b"", *, patience: float = PATIENCE) -> None:
        self._stream = stream
        self._patience = patience
        self._incoming = Connection(ConnectionType.SERVER, [], early)
        self._message_size = 0
        self._frames = _FRAMES  # that it may send now
        self._counted = trio.current_time()
        self._turn = trio.Lock()  # to send
        self._sending: trio.CancelScope | None = None
        self._hurried = False
        self._half_sent = False  # a frame was cut off: nothing can follow it
        self._pinged: float | None = None  # when, if no pong has come since
        self._scope = trio.CancelScope()
        self._ending: tuple[int, str] | None = None

    @property
    def ending(self) -> int | None:
        """The code with which it is closed, or was."""
        return None if self._ending is None else self._ending[0]

    async def run(self, talk: Callable[[], Awaitable[None]]) -> bool:
        """Listen and talk until one of the two sides ends it, and close.

        Cancelled, it takes no more than a moment.

        Returns:
            Whether a close frame was sent, so that the socket should be closed with patience (`net.linger`).

        Raises:
            Exception: what `talk` raised, in a group.
        """
        said = False
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._listen)
                    await talk()
                    self.end(Code.OVER)
        except* _GONE:
            self._half_sent = True  # nothing can be sent any more
        except* Exception:
            self.end(Code.FAILED, "Internal error in server")
            raise
        finally:
            self.end(Code.FAILED, "Internal error in server")  # cancelled, and nobody said why
            said = await self._say_goodbye()
        return said

    def end(self, code: int, reason: str = "") -> None:
        """Close it, for this reason if there is no earlier one. Returns at once; `run` returns soon."""
        if self._ending is None:
            self._ending = (code, reason)
        self._scope.cancel()

    async def send(self, frames: bytes) -> None:
        """Send whole frames. Returns when the kernel has taken them; where the client is too slow to read, it ends.

        Raises:
            trio.BrokenResourceError: the client is gone, or took none of it until it was too late.
        """
        try:
            self._turn.acquire_nowait()
        except trio.WouldBlock:
            await self._turn.acquire()
        try:
            if self._half_sent:
                raise trio.BrokenResourceError
            if rest := frames[self._send_now(frames) :]:
                await self._send_patiently(rest)
        finally:
            self._turn.release()
        await trio.lowlevel.checkpoint()

    def _send_now(self, frames: bytes) -> int:
        """Send what the kernel takes at once: usually everything, at half the cost of being ready to wait."""
        if not isinstance(self._stream, trio.SocketStream):
            return 0
        try:
            return os.write(self._stream.socket.fileno(), frames)
        except BlockingIOError:
            return 0

    async def _send_patiently(self, frames: bytes) -> None:
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
        """Send `frames` with a ping, or end it where the ping before has waited for its pong too long.

        Whoever reads nothing, and is sent so little that the kernel holds it all, shows by this alone.
        """
        now = trio.current_time()
        if self._pinged is not None and now - self._pinged >= self._patience:
            self._fail_to_read()
        if self._pinged is None:
            self._pinged = now
        await self.send(frames + _PING)

    def _fail_to_read(self) -> None:
        self.end(Code.TRY_AGAIN_LATER, "too slow")

    async def _listen(self) -> None:
        try:
            await self._attend()  # to what came early
            while data := await self._stream.receive_some(_RECEIVE):
                self._incoming.receive_data(bytes(data))
                await self._attend()
            raise trio.BrokenResourceError  # it left without a close frame
        finally:  # also where everything is cancelled; a send is shielded from that and has to be told
            self._hurried = True
            if self._sending is not None:
                self._sending.deadline = min(self._sending.deadline, trio.current_time() + _LAST_WORDS)

    async def _attend(self) -> None:
        """Deal with the frames that have come."""
        for event in self._incoming.events():
            if isinstance(event, CloseConnection):  # theirs, or wsproto's word for what is no WebSocket
                self.end(event.code)
            elif not self._may_pass(event):
                self.end(Code.POLICY, "nothing needs to be sent here")
            elif isinstance(event, Ping):
                await self.send(self._incoming.send(event.response()))
            elif isinstance(event, Pong):
                self._pinged = None
            elif isinstance(event, Message) and self._message_size > _MESSAGE_LIMIT:
                self.end(Code.TOO_BIG, f"more than {_MESSAGE_LIMIT} bytes")
            if self._ending is not None:
                await trio.sleep_forever()  # until the cancellation, which has been called for, is delivered

    def _may_pass(self, event: Event) -> bool:
        """Count a frame, which may come in parts."""
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

    async def _say_goodbye(self) -> bool:
        """Send the close frame, where one can still be sent."""
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
