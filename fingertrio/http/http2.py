"""HTTP/2 between a connection and the application: h2 does the framing, `exchange` runs the application.

This knows no socket, as `http1`. One bad request ends its stream and not the connection. A stream may carry a WebSocket
(RFC 8441, `upgrade`). The application's task sends its answer itself and waits for the client's flow-control window, so
nothing is buffered and the application produces no more than the client reads.

One connection carries many requests, and the client need not wait for any of them, so HTTP/2 needs limits of its own
(RFC 9113 section 10.5). A client that exceeds one of the last three gets GOAWAY with ENHANCE_YOUR_CALM:

- Few requests are at work at once. The settings announce how many, and more are refused unseen.
- Requests that the client cancels before they are answered are paid from a budget, which completed answers refill
  ("rapid reset", CVE-2023-44487). So are streams that we reset ("made you reset", CVE-2025-8671).
- Frames that do nothing are paid from another (`limits.FrameAllowance`).
- Answers must make progress as fast as in HTTP/1, where the kernel's buffer shows it. Here the client's window does.
"""

from __future__ import annotations

from contextlib import suppress

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RemoteSettingsChanged,
    RequestReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.events import Event as FrameEvent
from h2.exceptions import ProtocolError
from hypercorn.protocol.events import Body, EndBody, Event, Request, Response, StreamClosed
from hypercorn.typing import ConnectionState as RequestState
from hypercorn.utils import filter_pseudo_headers

from fingertrio.http.exchange import Carrier, Exchanges
from fingertrio.http.http2_sending import Sender
from fingertrio.http.http2_settings import STREAMS, TUNNELS, StreamLimit
from fingertrio.http.http2_stream import EndlessResponse, Stream, Tunnel
from fingertrio.http.limits import HEADER_LIMIT, UNCOUNTED, FrameAllowance
from fingertrio.http.request import Headers, has_valid_host, header_size, is_proper
from fingertrio.http.upgrade import Takeover, Upgrade, UpgradedSession

# How a client opens a connection, with or without TLS (RFC 9113 section 3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Bytes that h2 is given at once: twenty requests, if they are as small as possible, which take it 3 ms.
_PORTION = 512

# Requests that a client may cancel beyond those that were answered: thirty pages left before they were shown.
_SPARE = 100


class Http2:
    """One connection. The parts of a stream's life are in `http2_stream`."""

    portion = _PORTION

    def __init__(self, exchanges: Exchanges, carrier: Carrier) -> None:
        self._exchanges = exchanges
        self._carrier = carrier
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._limit = StreamLimit(self._h2)
        self._streams: dict[int, Stream] = {}
        self._frames = FrameAllowance(len(PREFACE), trio.current_time())
        self._spare = _SPARE
        self._out = Sender(self._h2, exchanges, carrier, self._frames)

    async def start(self) -> None:
        """Send the settings."""
        self._limit.start()
        await self._out.flush()

    async def receive(self, data: bytes) -> None:
        """Handle received bytes."""
        if not data or self._out.ended:
            return
        if not self._frames.spend(data, trio.current_time()):
            await self._send_away("flood")
            return
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:
            self._out.ended = True  # h2 has made the GOAWAY
            await self._out.flush()
            self._carrier.end()
            return
        # A request that is cancelled in the same portion is not even begun.
        cancelled = {event.stream_id for event in events if isinstance(event, StreamReset)}
        for event in events:
            if not (isinstance(event, RequestReceived) and event.stream_id in cancelled):
                await self._handle(event)
            if self._spare < 0:
                await self._send_away("flood")
                return
        await self._out.flush()

    def retire(self) -> None:
        """The door closes: end the WebSockets. Requests are answered."""
        for stream in self._streams.values():
            if stream.session is not None:
                stream.session.retire()

    async def close(self) -> None:
        """The connection has ended. Applications at work see a disconnect, and waiting answers are dropped."""
        await self.say_goodbye()
        self._out.ended = True
        for stream in list(self._streams.values()):
            await self._forget(stream)

    async def say_goodbye(self, reason: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Send GOAWAY (RFC 9113 section 6.8), unless one side has sent it."""
        if not self._out.ended:
            self._out.ended = True
            self._h2.close_connection(reason)
            await self._out.flush()

    # Received frames

    @property
    def _at_work(self) -> int:
        """Requests without a complete answer, as the client counts them."""
        return sum(1 for stream in self._streams.values() if not stream.is_tunnel and not stream.complete)

    async def _handle(self, event: FrameEvent) -> None:
        if isinstance(event, RequestReceived):
            await self._take_request(event.stream_id, event.headers)
        elif isinstance(event, DataReceived):
            await self._take_data(event)
        elif isinstance(event, StreamEnded | StreamReset):
            await self._end_stream(event)
        elif isinstance(event, WindowUpdated | RemoteSettingsChanged):
            for stream_id, stream in self._streams.items():
                if not isinstance(event, WindowUpdated) or event.stream_id in {0, stream_id}:
                    stream.wake()
        elif isinstance(event, SettingsAcknowledged):
            self._limit.tolerate()
        elif isinstance(event, ConnectionTerminated):
            self._out.ended = True
            self._carrier.end()

    async def _end_stream(self, event: StreamEnded | StreamReset) -> None:
        stream = self._streams.get(event.stream_id)
        if isinstance(event, StreamReset):
            self._spare -= 1
            if stream is not None:
                await self._forget(stream)
        elif stream is not None:
            await stream.end_input()

    async def _take_request(self, stream_id: int, headers: Headers) -> None:
        fields = dict(headers)
        is_tunnel = fields.get(b":method") == b"CONNECT"
        at_limit = self._tunnels >= TUNNELS if is_tunnel else self._at_work >= STREAMS
        if self._exchanges.closing:
            self._reset(stream_id, ErrorCodes.REFUSED_STREAM)  # the client may repeat it elsewhere
            return
        self._spare -= 1  # unless the request is begun
        if not is_proper(headers):
            self._reset(stream_id, ErrorCodes.PROTOCOL_ERROR)
        elif at_limit:
            self._reset(stream_id, ErrorCodes.REFUSED_STREAM)  # the client may repeat it
        elif header_size(headers) > HEADER_LIMIT:
            self._out.answer(stream_id, 431)
        elif not has_valid_host(headers):
            self._out.answer(stream_id, 400)
        elif is_tunnel and fields[b":protocol"] != b"websocket":
            self._out.answer(stream_id, 501)
        else:
            self._spare += 1
            self._frames.earn_by_request()
            await self._begin(stream_id, headers, b"GET" if is_tunnel else fields[b":method"], fields[b":path"])

    async def _begin(self, stream_id: int, headers: Headers, method: bytes, path: bytes) -> None:
        takeover = Upgrade(has_key=False) if (b":method", b"CONNECT") in headers else Takeover()
        stream = self._streams[stream_id] = Stream(stream_id, takeover)
        self._carrier.set_idle(idle=False)
        request = Request(
            stream_id=stream_id,
            headers=filter_pseudo_headers(list(headers)),
            http_version="2",
            method=method.decode(),
            raw_path=path,
            state=RequestState({}),
        )
        stream.exchange = await self._exchanges.begin(request, self._stream_send, takeover=takeover)
        if stream.wants_websocket:  # what follows is not the body of the request
            await stream.exchange.handle(EndBody(stream_id))

    async def _take_data(self, event: DataReceived) -> None:
        stream, size = self._streams.get(event.stream_id), len(event.data)
        self._frames.earn_by_payload(size)
        if stream is not None and stream.wants_websocket:
            stream.feed(event.data, event.flow_controlled_length)
            return
        if stream is not None and size:
            if self._exchanges.budgets.bodies.take(size):
                stream.held += size
                await stream.pass_body(event.data)
            else:
                self._carrier.report("memory")
                await self._give_up(stream, 503)
        # Also where the request has been answered: the connection's window must not run dry.
        self._out.acknowledge(event.stream_id, event.flow_controlled_length)

    # Answers

    async def _stream_send(self, event: Event) -> None:
        """Send a part of an answer. The application waits."""
        stream = self._streams.get(event.stream_id)
        if stream is None or stream.session is not None:  # cancelled, or ended; or only the session sends
            return
        if isinstance(event, StreamClosed):
            await self._finish(stream)
        elif isinstance(event, Response):
            if (session := stream.takeover.session) is not None and event.status_code in {101, 200}:
                await self._open_tunnel(stream, event.headers, session)
            else:
                stream.head = [(b":status", b"%d" % event.status_code), *event.headers]
        elif isinstance(event, Body):
            await self._send_body(stream, event.data)
        elif isinstance(event, EndBody):
            self._out.send_head(stream)
            with suppress(ProtocolError):
                self._h2.end_stream(stream.id)
            stream.complete = True
            self._spare = min(self._spare + 1, _SPARE)
            await self._out.flush()

    async def _send_body(self, stream: Stream, data: bytes) -> None:
        answers = self._exchanges.budgets.answers
        if len(data) <= UNCOUNTED:
            await self._send_data(stream, data)
        elif answers.hold(data):
            try:
                await self._send_data(stream, data)
            finally:
                answers.release(data)
        else:
            self._carrier.report("memory")
            await self._give_up(stream, 503)

    async def _send_data(self, stream: Stream, data: bytes) -> None:
        self._out.send_head(stream)
        if not await self._out.send_body(stream, data):
            await self._send_away("slow_reader")

    # The end of a stream, and of the connection

    async def _give_up(self, stream: Stream, status: int) -> None:
        """Answer with a status if nothing has been answered, or else reset the stream."""
        if not stream.answered:
            self._out.answer(stream.id, status, [(b"retry-after", b"5")])
            stream.complete = True
        await self._finish(stream)

    async def _finish(self, stream: Stream) -> None:
        """The answer is over. One that is not complete must not look so."""
        if not stream.complete:
            self._reset(stream.id, ErrorCodes.INTERNAL_ERROR)
        await self._out.flush()
        await self._forget(stream)

    async def _forget(self, stream: Stream) -> None:
        if self._streams.pop(stream.id, None) is not None:
            self._exchanges.budgets.bodies.give_back(stream.held)
            await stream.close()
            if not self._streams:
                self._carrier.set_idle(idle=True)

    def _reset(self, stream_id: int, reason: ErrorCodes) -> None:
        with suppress(ProtocolError):  # the client has closed it, or the connection
            self._h2.reset_stream(stream_id, reason)

    async def _send_away(self, reason: str) -> None:
        if not self._out.ended:
            self._carrier.report(reason)
            await self.say_goodbye(ErrorCodes.ENHANCE_YOUR_CALM)
            self._carrier.end()

    # WebSockets, and responses that do not end

    @property
    def _tunnels(self) -> int:
        return sum(stream.is_tunnel for stream in self._streams.values())

    async def _open_tunnel(self, stream: Stream, headers: Headers, session: UpgradedSession) -> None:
        if not stream.wants_websocket and self._tunnels >= TUNNELS:
            await self._give_up(stream, 503)
            return
        stream.accept(headers, session)
        self._out.send_head(stream)
        self._announce_limit()
        await self._out.flush()
        self._exchanges.spawn(self._run_tunnel, stream, session)

    async def _run_tunnel(self, stream: Stream, session: UpgradedSession) -> None:
        if self._exchanges.closing:
            session.retire()
        tunnel = (Tunnel if stream.wants_websocket else EndlessResponse)(self._out, stream)
        if await session.run(tunnel, b""):
            with suppress(ProtocolError):
                self._h2.end_stream(stream.id)
            stream.complete = True
            await self._out.flush()
            await tunnel.wait_for_end()
        self._reset(stream.id, ErrorCodes.NO_ERROR if stream.complete else ErrorCodes.CANCEL)
        stream.complete = True
        await self._finish(stream)
        self._announce_limit()
        await self._out.flush()

    def _announce_limit(self) -> None:
        if not self._out.ended:
            self._limit.announce(self._tunnels)
