"""HTTP/1.1 and 1.0 between a connection and the application: h11 does the parsing, `exchange` runs the application.

This knows no socket. Received bytes come in through `receive`, and answers leave through the `Carrier`.

- The response head waits for the first part of the body, as ASGI asks for, and both leave in one send. Until then a
  response that would exceed the memory budget can still become a 503.
- Response bodies are passed on without a copy: what a hundred slow clients read is in memory once.
- 100 Continue is sent when the application asks for the body. If it answers before, because the headers already show
  that it will refuse, the client is spared the body.
- Upgrades other than to WebSocket are ignored, as RFC 9110 section 7.8 permits; RFC 9113 section 3.1 deprecates h2c.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

import h11
import trio
from hypercorn.protocol.events import Body, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import ConnectionState as RequestState

from fingertrio.http.exchange import Carrier, Exchanges
from fingertrio.http.limits import HEADER_LIMIT, UNCOUNTED
from fingertrio.http.replay import Recording
from fingertrio.http.request import vet, wants_websocket
from fingertrio.http.upgrade import Takeover, Upgrade, UpgradedSession

# Bytes that h11 is given at once: two hundred chunks of one byte, which take it 2 ms. A body of known length is not
# parsed and needs no such limit.
_PORTION = 1024
_WHOLE = 65536

_EMPTY_LINES = re.compile(rb"\A(?:\r?\n)+")

_STREAM = 1  # HTTP/1 has one; Hypercorn wants it to have a number

_CLOSE = (b"connection", b"close")
_NO_BODY = [(b"content-length", b"0"), _CLOSE]
_BUSY = [*_NO_BODY, (b"retry-after", b"5")]


class Http1:
    """One connection.

    Attributes:
        session: what the connection is handed over to, after `Carrier.hand_over`.
        recording: of the response to the next request, which the caller knows; taken when that begins.
    """

    def __init__(self, exchanges: Exchanges, carrier: Carrier) -> None:
        self._exchanges = exchanges
        self._carrier = carrier
        self._stream: HTTPStream | None = None
        self._answered = trio.Event()
        self._takeover = Takeover()
        self._head: h11.Response | None = None  # it waits for the body
        self._given_up = False  # the application's answer was replaced or aborted
        self._held = 0  # bytes of the request's body
        self._ended = False
        self._recorded: Recording | None = None  # of the present answer
        self.session: UpgradedSession | None = None
        self.recording: Recording | None = None
        self._start(b"")

    @property
    def answering(self) -> bool:
        """Whether a request is being answered."""
        return self._stream is not None

    @property
    def has_partial_request(self) -> bool:
        """Whether the first bytes of a request are here, and the rest of its headers is not."""
        return self._stream is None and bool(self._cr or self._h11.trailing_data[0])

    @property
    def at_rest(self) -> bool:
        """Whether nothing has arrived since the last request was answered."""
        return self._stream is None and not self._fed and not self._ended

    @property
    def portion(self) -> int:
        """The most bytes that one call of `receive` should get."""
        return min(_WHOLE, max(_PORTION, self._expected))

    @property
    def early(self) -> bytes:
        """Bytes received behind the request that led to the session."""
        return self._h11.trailing_data[0]

    async def receive(self, data: bytes) -> None:
        """Handle received bytes; b"" is the end of the client's input."""
        self._feed(data)
        body = bytearray()  # in one message for the application, however many chunks it came in
        while not self._ended:
            try:
                event = self._next_event()
                if isinstance(event, h11.Data):
                    body += event.data
                    self._expected -= len(event.data)
                    continue
                if body:
                    await self._pass_body(bytes(body))
                    body.clear()
                if isinstance(event, h11.Request):
                    await self._begin(event)
                    continue
            except h11.RemoteProtocolError as error:
                await self._reject(error.error_status_hint)
                return
            if event is h11.PAUSED:  # the next request is here; this one is still being answered
                await self._answered.wait()
            elif not isinstance(event, h11.EndOfMessage):
                return
            elif self._stream is not None:
                await self._stream.handle(EndBody(_STREAM))

    async def close(self) -> None:
        """The connection has ended. The application, if it is at work, sees a disconnect."""
        self._ended = True
        if self._stream is not None:
            await self._stream.handle(StreamClosed(_STREAM))
            self._free()

    # Requests

    def _start(self, rest: bytes, *, at_end: bool = False) -> None:
        """Expect a request, `rest` being what has arrived of it."""
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_LIMIT)
        self._fed = 0  # bytes since the end of the request before
        self._cr = b""
        self._expected = 0  # bytes of a body of known length
        if rest:
            self._feed(rest)
        if at_end:
            self._h11.receive_data(b"")

    def _feed(self, data: bytes) -> None:
        self._fed += len(data)
        if data and self._h11.their_state is h11.IDLE and not self._h11.trailing_data[0]:
            # Empty lines before a request line are ignored (RFC 9112 section 2.2). They count for the limit.
            data = _EMPTY_LINES.sub(b"", self._cr + data, count=1)
            self._cr = data if data == b"\r" else b""
            if not data or self._cr:
                return
        self._h11.receive_data(data)

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        event = self._h11.next_event()
        if event is h11.NEED_DATA and self._h11.their_state is h11.IDLE and self._fed > HEADER_LIMIT:
            raise h11.RemoteProtocolError("too many empty lines", error_status_hint=431)
        return event

    async def _begin(self, received: h11.Request) -> None:
        # h11 has a limit for incomplete headers only. This is the same one for those that arrive in one piece.
        if self._fed - len(self._h11.trailing_data[0]) > HEADER_LIMIT:
            raise h11.RemoteProtocolError("the headers are too long", error_status_hint=431)
        request = vet(received)
        self._takeover = Upgrade(has_key=True) if wants_websocket(received) else Takeover()
        self._carrier.set_idle(idle=False)
        self._answered = trio.Event()
        self._given_up = False
        self._recorded, self.recording = self.recording, None
        self._expected = sum(int(value) for name, value in request.headers if name == b"content-length")
        self._stream = await self._exchanges.begin(
            Request(
                stream_id=_STREAM,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode(),
                raw_path=request.target,
                state=RequestState({}),
            ),
            self._stream_send,
            takeover=self._takeover,
            invite=self._invite if self._h11.they_are_waiting_for_100_continue else None,
            recording=self._recorded,
        )

    async def _pass_body(self, data: bytes) -> None:
        """Pass on a part of the request's body, unless the request has been answered already."""
        if self._stream is None:
            return
        if self._exchanges.budgets.bodies.take(len(data)):
            self._held += len(data)
            await self._stream.handle(Body(_STREAM, data))
        else:
            self._carrier.report("memory")
            await self._reject(503)

    async def _reject(self, status: int) -> None:
        """Answer with a status alone, if nothing has been answered, and close."""
        self._ended = self._given_up = True
        if self._h11.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._head = self._response(status, _BUSY if status == 503 else _NO_BODY)
            await self._write(h11.EndOfMessage())
        self._carrier.end()

    async def _invite(self) -> None:
        if self._h11.they_are_waiting_for_100_continue and self._h11.our_state is h11.SEND_RESPONSE:
            await self._write(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))

    # Answers

    async def _stream_send(self, event: Event) -> None:
        """Send a part of the answer. The application waits."""
        if isinstance(event, StreamClosed):
            await self._finish()
        elif self.session is not None or self._given_up:  # the rest of an answer that is not sent
            return
        elif isinstance(event, Response):
            await self._take_head(event)
        elif isinstance(event, Body):
            await self._send_body(event.data)
        elif isinstance(event, EndBody):
            await self._write(h11.EndOfMessage())

    async def _take_head(self, event: Response) -> None:
        headers = list(event.headers)
        if self._takeover.session is not None and event.status_code in {101, 200}:
            if event.status_code == 101:
                await self._write(h11.InformationalResponse(status_code=101, headers=headers, reason=_reason(101)))
            else:  # h11 would add chunks, and every event would have to be wrapped for each client
                await self._carrier.send(_endless_head(headers + self._exchanges.response_headers("h11")))
            self.session, self._stream = self._takeover.session, None
            self._carrier.hand_over()
            return
        if self._exchanges.closing or self._h11.they_are_waiting_for_100_continue:
            headers.append(_CLOSE)  # this answer is the last
        self._head = self._response(event.status_code, headers)
        if self._recorded is not None:
            self._recorded.status = event.status_code

    async def _send_body(self, data: bytes) -> None:
        answers = self._exchanges.budgets.answers
        if len(data) <= UNCOUNTED:
            await self._write(h11.Data(data=data))
        elif answers.hold(data):
            try:
                await self._write(h11.Data(data=data))
            finally:
                answers.release(data)
        elif self._head is not None:
            self._carrier.report("memory")
            await self._reject(503)
        else:
            self._given_up = True
            self._carrier.report("memory")
            self._carrier.abort()

    async def _write(self, event: h11.Event) -> None:
        """Send an event, behind the head if that has waited."""
        parts: list[bytes] = []
        head, self._head = self._head, None
        if head is not None and self._h11.their_state is h11.SEND_BODY and _CLOSE not in head.headers:
            # The rest of the body will not be read, so this answer is the last (RFC 9112 section 9.6).
            head = h11.Response(status_code=head.status_code, headers=[*head.headers, _CLOSE], reason=head.reason)
        try:
            if head is not None:
                parts.append(b"".join(self._h11.send_with_data_passthrough(head) or ()))
            body = self._h11.send_with_data_passthrough(event) or []
            if self._recorded is not None:
                self._recorded.add(parts[0] if parts else b"", body)
            parts += body
        except h11.LocalProtocolError:
            if self._h11.their_state is not h11.ERROR:  # else the client broke the protocol, and has been answered
                raise
        await self._carrier.send(*parts)

    def _response(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> h11.Response:
        headers = [*headers, *self._exchanges.response_headers("h11")]
        return h11.Response(status_code=status, headers=headers, reason=_reason(status))

    async def _finish(self) -> None:
        """The application has ended. Reuse the connection if both sides are done with the request, or close it."""
        if self._stream is None:
            return
        await self._stream.handle(StreamClosed(_STREAM))
        self._free()
        self._complete_recording()
        both_done = self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE
        if self._h11.our_state is h11.SEND_BODY:  # the application failed in the middle of its answer
            self._carrier.abort()
        elif not both_done:
            self._carrier.end()
        else:
            rest, at_end = self._h11.trailing_data
            self._start(rest, at_end=at_end)
            self._carrier.set_idle(idle=True)
        self._answered.set()

    def _complete_recording(self) -> None:
        recorded, self._recorded = self._recorded, None
        if recorded is None or self._given_up or self._exchanges.closing:
            return
        # Our closing of a connection must not become part of a response that is repeated on another.
        if self._h11.our_state is h11.DONE or (self._h11.our_state is h11.MUST_CLOSE and recorded.request.close):
            recorded.complete()

    def _free(self) -> None:
        self._stream = None
        self._exchanges.budgets.bodies.give_back(self._held)
        self._held = 0


def _endless_head(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The head of a response that ends with its connection (RFC 9112 section 6.3, item 8)."""
    fields = [*headers, (b"connection", b"close")]
    return b"HTTP/1.1 200 OK\r\n" + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"


def _reason(status: int) -> bytes:
    """The reason phrase. An empty one is legal, but some clients reject it."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Status %d" % status
