"""Hypercorn's HTTP/2, made strict about what it takes and exact about how it ends, as `protocols` does for HTTP/1.

- PRIORITY frames are ignored (deprecated by RFC 9113 section 5.3): they cost memory before any request.
- One bad request ends its stream and not its connection, and a late DATA frame ends nothing.

One connection carries many requests, of which the client need not wait for any, so that what the number of connections
bounds in HTTP/1 needs bounds of its own here (RFC 9113 section 10.5). Who passes one of the last two is sent away, by
GOAWAY with ENHANCE_YOUR_CALM:

- Few requests are at work at once, the client is told how many, and what it asks beyond that is refused unseen.
- Of an answer, Hypercorn is given little more than the client takes. The application waits.
- Requests that are taken back unanswered are paid from a budget, into which every answer that was taken pays ("rapid
  reset", CVE-2023-44487). So are those that we reset ("made you reset", CVE-2025-8671).
- An answer that waits has to get on, as fast as in HTTP/1. There the kernel's buffer tells, here the peer's window.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import Any

import h2.events
import h2.exceptions
import trio
from h2.connection import ConnectionState
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypercorn.events import Closed, Event, Updated
from hypercorn.protocol.events import Body, EndBody, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol

# How a client opens a connection, with or without TLS (RFC 9113 section 3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Streams that h2 lets a client open before it ends the connection. It must be more than the client is told: what it
# sends before it has heard of that is to be refused, not punished. Clients believe in a hundred until then.
_TOLERATED = 100

# Bytes of an answer that are copied at once: a frame of the usual size, and less than makes Hypercorn's buffer wait.
_PIECE = 16384

# Requests that may be taken back beyond those that were answered: thirty pages left before anything was there.
_SPARE = 100

# Seconds in which the client takes so many bytes of what waits for it, or all: two kilobytes a second, as in HTTP/1.
_PATIENCE = 30.0
_PROGRESS = 65536


class Refused(Event):
    """The connection ends because of what the client did: `reason` is the observer's word for the limit."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Http2(H2Protocol):
    """HTTP/2."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._endings: dict[int, trio.Event] = {}
        self._spare = _SPARE
        self._refused = False
        self._sending = trio.CancelScope()  # its deadline is when something must have been taken
        self._taken = 0  # bytes, since that deadline was set

    async def initiate(self, *upgraded: Any) -> None:
        await super().initiate(*upgraded)
        settings = self.connection.local_settings  # the client has been sent those that this was made with
        settings[SettingCodes.MAX_CONCURRENT_STREAMS] = _TOLERATED
        settings.acknowledge()

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        if isinstance(event, Closed):
            # Whoever waits for the peer's window waits for nothing now, and is past hearing of it (`exchange`).
            for buffer in self.stream_buffers.values():
                await buffer.close()
            for ending in self._endings.values():
                ending.set()

    async def send_task(self) -> None:
        """Send what waits, as the peer's windows allow, unless they do not for too long."""
        with self._sending:
            await super().send_task()
        if self._sending.cancelled_caught:
            await self._refuse("slow_reader")

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, Body):
            await self._send_body(event)
            return
        if isinstance(event, StreamClosed):
            await self._reset_unfinished(event.stream_id)
        await super().stream_send(event)
        if isinstance(event, EndBody) and not self.closed and event.stream_id in self.stream_buffers:
            # Its last bytes have been taken, but END_STREAM has not been sent; a GOAWAY now would forbid it for ever.
            self._endings[event.stream_id] = trio.Event()
            await self._endings[event.stream_id].wait()

    async def say_goodbye(self, reason: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Tell the peer that we close (RFC 9113 section 6.8), unless one of us has said so."""
        if self.connection.state_machine.state is not ConnectionState.CLOSED:
            self.connection.close_connection(reason)
            await self._flush()

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        # What was taken back in the same breath is not even begun.
        taken_back = {event.stream_id for event in events if isinstance(event, h2.events.StreamReset)}
        for event in events:
            if isinstance(event, h2.events.RequestReceived) and event.stream_id in taken_back:
                continue
            if not self._disposes_of(event):
                await super()._handle_events([event])
            if isinstance(event, h2.events.StreamReset):
                self._spare -= 1
                await self._forget(event.stream_id)
                await self.send(Updated(idle=self.idle))  # Hypercorn forgets that this, too, can be the last one
            if self._spare < 0:
                await self._refuse("flood")
                return
        await self._flush()

    def _disposes_of(self, event: h2.events.Event) -> bool:
        """Deal with what Hypercorn must not see; False: it is Hypercorn's."""
        if isinstance(event, h2.events.RequestReceived):
            if self.context.terminated.is_set():
                self._reset(event.stream_id, ErrorCodes.REFUSED_STREAM)  # it may be asked elsewhere
                return True
            refusal = (
                ErrorCodes.PROTOCOL_ERROR
                if not is_proper(event.headers)
                else ErrorCodes.REFUSED_STREAM  # it may be asked again
                if self._at_work >= self.config.h2_max_concurrent_streams
                else None
            )
            if refusal is not None:
                self._spare -= 1
                self._reset(event.stream_id, refusal)
            return refusal is not None
        if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
            # Answered before its body had come: let it go by, without letting the connection's window run dry.
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            return True
        return isinstance(event, h2.events.PriorityUpdated)

    @property
    def _at_work(self) -> int:
        """Requests that were taken and whose answer has not gone out whole, as the client counts them."""
        streams = self.connection.streams
        return sum(1 for stream_id in self.stream_buffers if stream_id in streams and streams[stream_id].open)

    async def _send_body(self, event: Body) -> None:
        """Hand it over in pieces, each when the one before is gone.

        Hypercorn's buffer takes whatever it is given, and its way to hold up who gives fails if the window is zero.
        """
        for start in range(0, len(event.data), _PIECE):
            buffer = self.stream_buffers.get(event.stream_id)
            if buffer is not None and buffer.buffer:
                await buffer.drain()
            if buffer is None or buffer.complete:  # they have closed it
                return
            if self._sending.deadline == inf:
                self._expect_progress()
            await super().stream_send(Body(stream_id=event.stream_id, data=event.data[start : start + _PIECE]))

    async def _send_data(self, stream_id: int) -> None:
        self._taken += self._sendable(stream_id)
        await super()._send_data(stream_id)
        if stream_id not in self.stream_buffers and stream_id in self._endings:
            self._endings.pop(stream_id).set()
            if stream_id in self.streams:  # or it was reset
                self._spare = min(self._spare + 1, _SPARE)
        if not any(buffer.buffer for buffer in self.stream_buffers.values()):
            self._sending.deadline = inf
        elif self._taken >= _PROGRESS:
            self._expect_progress()

    def _expect_progress(self) -> None:
        self._taken = 0
        self._sending.deadline = trio.current_time() + _PATIENCE

    def _sendable(self, stream_id: int) -> int:
        """How many bytes of a stream will be sent next."""
        buffer = self.stream_buffers.get(stream_id)
        with suppress(h2.exceptions.ProtocolError):  # they have closed it
            window = self.connection.local_flow_control_window(stream_id)
            return min(len(buffer.buffer) if buffer else 0, max(0, window), self.connection.max_outbound_frame_size)
        return 0

    async def _refuse(self, reason: str) -> None:
        if not self._refused:
            self._refused = True
            await self.say_goodbye(ErrorCodes.ENHANCE_YOUR_CALM)
            await self.send(Refused(reason))

    async def _reset_unfinished(self, stream_id: int) -> None:
        """An answer that was given up must not look like one that is still coming."""
        buffer = self.stream_buffers.get(stream_id)
        if buffer is not None and not buffer.complete:
            self._reset(stream_id, ErrorCodes.INTERNAL_ERROR)
            await self._flush()
            await self._forget(stream_id)

    async def _forget(self, stream_id: int) -> None:
        """Of a stream that was reset nothing waits any more. Hypercorn would keep it, as long as its window is shut."""
        if (buffer := self.stream_buffers.get(stream_id)) is not None:
            await buffer.close()
            await self._window_updated(stream_id)  # wakes the sending task, which throws it away

    def _reset(self, stream_id: int, reason: ErrorCodes) -> None:
        with suppress(h2.exceptions.ProtocolError):  # they have closed it, or the connection, in the meantime
            self.connection.reset_stream(stream_id, reason)


def is_proper(headers: list[Any]) -> bool:
    """Whether an HTTP/2 request has a method other than CONNECT and a path, both ASCII."""
    pseudo = {name: value for name, value in headers if name in {b":method", b":path"}}
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    return method not in {b"", b"CONNECT"} and path.startswith(b"/") and (method + path).isascii()
