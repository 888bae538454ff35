"""Send the frames of one HTTP/2 connection, as fast as the client's windows permit.

Each answer is sent by its own task, in pieces, so that the answers of a connection take turns. If no answer makes
progress for too long, the client does not read: in HTTP/1 the kernel's buffer shows that, here the window does.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf

import trio
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

from fingertrio.http.exchange import Carrier, Exchanges
from fingertrio.http.http2_stream import Stream
from fingertrio.http.limits import FrameAllowance
from fingertrio.http.request import Headers

# Bytes of an answer in one DATA frame at most.
_PIECE = 16384

# Seconds in which the client must take so many bytes of what waits for it, or all of it: 2 kB/s, as in HTTP/1.
_PATIENCE = 30.0
_PROGRESS = 65536


class Sender:
    """Sends what h2 has ready.

    Attributes:
        ended: whether the connection has ended, and nothing is sent any more.
    """

    def __init__(
        self, connection: H2Connection, exchanges: Exchanges, carrier: Carrier, frames: FrameAllowance
    ) -> None:
        self._h2 = connection
        self._exchanges = exchanges
        self._carrier = carrier
        self._frames = frames
        self._waiting = 0  # answers that wait for the client's window
        self._taken = 0  # bytes since the deadline was set
        self._deadline = inf
        self.ended = False

    async def flush(self) -> None:
        """Send what h2 has ready."""
        if data := self._h2.data_to_send():
            await self._carrier.send(data)

    def acknowledge(self, stream_id: int, size: int) -> None:
        """Let the client send `size` bytes more. `flush` tells it."""
        if size and not self.ended:
            self._h2.acknowledge_received_data(size, stream_id)

    def send_head(self, stream: Stream) -> None:
        """Make HEADERS of the response head, which waits for the body as in HTTP/1."""
        head, stream.head = stream.head, None
        if head is not None:
            stream.answered = True
            with suppress(ProtocolError):
                self._h2.send_headers(stream.id, [*head, *self._exchanges.response_headers("h2")])

    def answer(self, stream_id: int, status: int, headers: Headers = ()) -> None:
        """Answer with a status alone, without the application."""
        with suppress(ProtocolError):
            head = [(b":status", b"%d" % status), (b"content-length", b"0"), *headers]
            self._h2.send_headers(stream_id, [*head, *self._exchanges.response_headers("h2")], end_stream=True)

    async def send_body(self, stream: Stream, data: bytes) -> bool:
        """Send bytes of an answer, as the client's windows permit; False: no answer makes progress."""
        if not self._waiting:
            self._expect_progress()
        self._waiting += 1
        try:
            sent = 0
            while sent < len(data) and not self.ended and not stream.closed:
                if (room := self.room(stream.id)) <= 0:
                    if not await self._wait_for_room(stream):
                        return False
                    continue
                await self.send_piece(stream.id, piece := data[sent : sent + min(room, _PIECE)])
                sent += len(piece)
                self._taken += len(piece)
                if self._taken >= _PROGRESS:
                    self._expect_progress()
        finally:
            self._waiting -= 1
        return True

    async def _wait_for_room(self, stream: Stream) -> bool:
        """Wait for the client's window to open; False: no answer has made progress for too long."""
        await self.flush()  # the head, if nothing of the body fits
        with trio.move_on_at(self._deadline):
            await stream.wait()
        return trio.current_time() < self._deadline

    def room(self, stream_id: int) -> int:
        """Bytes that the client's windows and its frame size permit now."""
        with suppress(ProtocolError):  # the stream is closed; the caller will notice
            return min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
        return 0

    async def send_piece(self, stream_id: int, piece: bytes) -> None:
        """Send one DATA frame, for which there is room."""
        with suppress(ProtocolError):
            self._h2.send_data(stream_id, piece)
        self._frames.earn_by_sending()
        await self.flush()

    def _expect_progress(self) -> None:
        self._taken = 0
        self._deadline = trio.current_time() + _PATIENCE
