"""One HTTP connection: the code between the socket and the protocols `http1` and `http2`.

It feeds the protocol what arrives, sends what the protocol hands out, and decides when the connection ends. Hypercorn's
own server is not used for this: there, an exception in one connection ends all of them, a send has no deadline, a close
can destroy the answer, and a client that closes its sending side gets no answer. The rules here:

- There is one reader, and the connection ends with it: at the client's end of input, when the protocol is done, when a
  send fails, or at a deadline. So an idle connection needs no second task.
- The end of a request does not interrupt a send: half a frame would break the other requests (`output`).
- A client may close its sending side and still get its answer (RFC 9112 section 9.6), within 10 s.
- An idle connection is closed only after one more look at the socket: a request that crosses the close is answered.
- This is the task of a connection that needs one. At rest, an HTTP/1 connection goes back to those without (`idle`).
- Whatever fails in a connection stays in it.
"""

from __future__ import annotations

import select
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf

import trio

from fingertrio.http.errand import Errand
from fingertrio.http.exchange import exchanges_of
from fingertrio.http.http1 import Http1
from fingertrio.http.http2 import PREFACE, Http2
from fingertrio.http.limits import HEADER_DEADLINE
from fingertrio.http.output import GONE, Output, Stream
from fingertrio.http.tls import BUSY_ALERT, TlsStream, shake_hands
from fingertrio.http.traffic import Traffic
from fingertrio.http.upgrade import UpgradedSession
from fingertrio.net.connection import Connection

# Bytes of one receive, unless the protocol can take more at once.
_RECEIVE = 16384

# Seconds for an answer after the client has closed its sending side: it may be waiting, or gone.
_HALF_CLOSED = 10.0

# Seconds for the first request of a connection that was accepted just before the door closed, and for its handshake.
_LATE_REQUEST = 0.25

# Seconds of rest after which a connection needs no task any more.
_REST = 1.0

# Seconds for the client's half of the TLS close; ours is sent at once.
_TLS_CLOSE = 0.1


class HttpConnection:
    """Serves one client; a `Carrier` for the protocol.

    Args:
        stream: of the connection, encrypted if the door is.
        errand: what to begin with.
    """

    def __init__(self, traffic: Traffic, connection: Connection, stream: Stream, errand: Errand) -> None:
        self.peer = connection.peer
        self.idle_since = inf
        self._connection = connection
        self._errand = errand
        self._lane_was_asked = errand.data is not None
        self._rests_with: bytes | None = None  # goes on without a task, with these bytes
        self._traffic = traffic
        self._stream = stream
        self._socket: trio.SocketStream = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        self._protocol: Http1 | Http2 | None = None
        self._session: UpgradedSession | None = None  # what runs after HTTP/1
        self._reading = trio.CancelScope()
        self._output = Output(traffic, connection.socket, self._reading.cancel)
        self._resting = trio.CancelScope()  # within `_reading`, while the connection is idle
        self._unfed = b""  # received behind the request for an upgrade
        self._idle, self._in_handshake = True, False
        self._idle_until = inf
        self._ended = False  # by us, with a close that could destroy the answer

    async def run(self) -> None:
        """Serve the connection. Raises nothing but Cancelled.

        When this returns, the socket is closed, unless it rests (`idle`), or the caller must close it (`net.linger`).
        """
        rests_with, leave_open = None, False
        self._traffic.connections.add(self)
        try:
            await self._converse()
            if not self._output.lost:
                rests_with, leave_open = self._rests_with, self._ended
        except* (OSError, *GONE):
            pass  # the client is gone
        except* Exception as group:  # noqa: BLE001 -- clients can make the parsers raise: one line, without a traceback
            self._traffic.observer.warning("http_connection_failed", peer=self.peer, exc=group)
        finally:
            self._protocol = None  # it has this object, too; 4 kB would wait for the garbage collector
            self._traffic.connections.discard(self)
            self._traffic.idle.pop(self, None)
            if rests_with is not None:
                tls = self._stream if isinstance(self._stream, trio.SSLStream) else None
                self._traffic.pool.put_back(self._connection, tls, rests_with, self.idle_since)
            elif not leave_open:
                await trio.aclose_forcefully(self._socket)

    def retire(self) -> None:
        """End now if idle, or else after the answers at work."""
        if self._session is not None:
            self._session.retire()
        elif self._idle:
            self._idle_until = self._resting.deadline = -inf
            if self._in_handshake:
                self._reading.cancel()
        elif isinstance(self._protocol, Http2):
            self._protocol.retire()

    # What the protocols call

    async def send(self, *parts: bytes | memoryview) -> None:
        await self._output.send(self._stream, *parts)

    def set_idle(self, *, idle: bool) -> None:
        self._idle = idle
        self._traffic.idle.pop(self, None)
        self._reading.deadline = inf
        self._idle_until = self._resting.deadline = inf
        if not idle:
            return
        if self._traffic.context.terminated.is_set():
            self._ended = True  # the client may still be reading the answer
            self._idle_until = -inf
        else:
            self._traffic.idle[self] = None
            self.idle_since = trio.current_time()
            self._idle_until = self.idle_since + self._traffic.config.keep_alive_timeout
        self._resting.deadline = self._rests_until()

    def end(self) -> None:
        self._ended = True
        self._reading.cancel()

    def abort(self) -> None:
        self._output.reset(self._socket)

    def report(self, reason: str) -> None:
        self._output.report(reason)

    def hand_over(self) -> None:
        self._reading.cancel()

    # The life of the connection

    async def _converse(self) -> None:
        traffic, tls = self._traffic, isinstance(self._stream, trio.SSLStream)
        async with exchanges_of(traffic, self._socket.socket, self.peer, tls=tls) as exchanges:
            with self._reading:
                await self._run_errand()
                if data := await self._greet():
                    protocol = self._protocol = (Http2 if self._is_http2(data) else Http1)(exchanges, self)
                    await self._read(protocol, data)
            if self._protocol is not None:
                await self._protocol.close()
        if isinstance(self._protocol, Http1) and self._protocol.session is not None and not self._output.lost:
            self._session, early = self._protocol.session, self._protocol.early + self._unfed
            if exchanges.closing:
                self._session.retire()
            self._protocol, self._unfed = None, b""
            del protocol, exchanges, data  # they would take two kilobytes for as long as the session runs
            self._ended = await self._session.run(self._stream, early)
        if isinstance(self._stream, trio.SSLStream) and not self._output.lost and self._rests_with is None:
            # RFC 8446 section 6.1: without the close alert, an answer could be truncated unnoticed.
            with suppress(*GONE), trio.move_on_after(_TLS_CLOSE):
                await self._stream.unwrap()

    async def _run_errand(self) -> None:
        """Send what the lane could not send without waiting."""
        errand = self._errand
        if errand.raw:
            await self._output.send(self._socket, errand.raw)
        if errand.answer:
            await self.send(*errand.answer)
        if errand.held:
            self._traffic.budgets.answers.release(errand.held)
            errand.held = b""
        if errand.ends:
            self.end()
        elif (errand.raw or errand.answer) and errand.data is None:
            self.set_idle(idle=True)
            self._rest(b"")

    def _rest(self, data: bytes) -> bool:
        """Let the connection go on without a task, if the door is not closing."""
        if self._output.lost or self._traffic.context.terminated.is_set():
            return False
        self._rests_with = data
        self._reading.cancel()
        return True

    async def _greet(self) -> bytes:
        """The TLS handshake, and the first bytes: enough to tell HTTP/1 from HTTP/2."""
        if self._reading.cancel_called:
            return b""
        if isinstance(self._stream, trio.SSLStream) and self._errand.tls is None:
            if not await self._shake_hands(self._stream):
                return b""
            if not self._is_http2(b"") and self._rest(b""):
                return b""
        closing = self._traffic.context.terminated.is_set()
        limit = _LATE_REQUEST if closing else min(self._traffic.config.keep_alive_timeout, HEADER_DEADLINE)
        self._reading.deadline = inf  # of the handshake
        self._idle_until = min(self._idle_until, trio.current_time() + limit)
        data = await self._next() if self._errand.data is None else self._errand.data
        self._idle_until = inf
        self._limit_reading(limit)
        while self._errand.is_first and 0 < len(data) < len(PREFACE) and PREFACE.startswith(data):
            if not (more := await self._receive()):
                break
            data += more
        return data

    async def _shake_hands(self, stream: TlsStream) -> bool:
        """The TLS handshake; False: it failed, or there is no memory for it, and the client was sent the alert."""
        closing = self._traffic.context.terminated.is_set()
        self._limit_reading(_LATE_REQUEST if closing else self._traffic.config.ssl_handshake_timeout)
        self._in_handshake = True
        await trio.lowlevel.wait_readable(self._socket.socket)
        await self._wait(self._traffic.wait_for_round)  # a signature takes a millisecond or two
        alert = await shake_hands(stream, self._traffic.budgets.handshakes)
        if alert is None:
            self._in_handshake = False
            return True
        if alert is BUSY_ALERT:
            self.report("memory")
        with suppress(*GONE), trio.move_on_after(_TLS_CLOSE):
            await self._socket.send_all(alert)
            self._ended = True
        return False

    def _is_http2(self, data: bytes) -> bool:
        if isinstance(self._stream, trio.SSLStream):
            return bool(self._stream.selected_alpn_protocol() == "h2")
        return self._errand.is_first and data.startswith(PREFACE)

    async def _read(self, protocol: Http1 | Http2, data: bytes) -> None:
        """Feed the protocol until no more input comes, and no answer is waited for."""
        if isinstance(protocol, Http2):
            await protocol.start()
            self.set_idle(idle=True)
        if isinstance(protocol, Http1):
            protocol.recording = self._errand.recording
        while data and not self._lane_has(protocol, data):
            await self._feed(protocol, data)
            if isinstance(protocol, Http1) and protocol.has_partial_request and self._reading.deadline == inf:
                self._limit_reading(HEADER_DEADLINE)
            data = await self._next()
        if isinstance(protocol, Http1) and protocol.answering and not self._output.lost:
            await protocol.receive(b"")
            self._limit_reading(_HALF_CLOSED)
            await trio.sleep_forever()  # until the protocol ends the connection

    def _lane_has(self, protocol: Http1 | Http2, data: bytes) -> bool:
        """Leave the request to the lane, if that has the response. Or have the response recorded for it."""
        if not isinstance(protocol, Http1) or not protocol.at_rest or self._lane_was_asked:
            self._lane_was_asked = False
            return False
        has_it, protocol.recording = self._traffic.pool.offer(self.peer, data)
        return has_it and self._rest(data)

    async def _feed(self, protocol: Http1 | Http2, data: bytes) -> None:
        """Feed the protocol in portions, and let others run in between: 64 kB can be thousands of frames or chunks."""
        position = 0
        while position < len(data) and not self._reading.cancel_called:
            if position or isinstance(self._stream, trio.SSLStream):  # else `_receive` has waited
                await self._wait(self._traffic.wait_for_turn)
            portion = data[position : position + protocol.portion]
            position += len(portion)
            self._unfed = data[position:]
            await protocol.receive(portion)

    async def _wait(self, turn: Callable[[], Awaitable[None]]) -> None:
        """Wait until this connection may use the processor. The client's time stands still meanwhile."""
        left = self._reading.deadline - trio.current_time()
        self._reading.deadline = inf
        await turn()
        if self._reading.deadline == inf:
            self._reading.deadline = trio.current_time() + left

    async def _next(self) -> bytes:
        """The next input; b"": the client has closed its sending side, or the connection was idle for too long."""
        with trio.CancelScope(deadline=self._rests_until()) as self._resting:
            return await self._receive()
        if self._idle_until > trio.current_time() and self._rest(b""):
            return b""
        return await self._receive() if self._has_input() else b""

    def _rests_until(self) -> float:
        """When an idle connection is closed, or goes on without a task."""
        if isinstance(self._protocol, Http1) and self._protocol.at_rest:
            return min(self._idle_until, self.idle_since + _REST)
        return self._idle_until

    def _has_input(self) -> bool:
        poll = select.poll()
        poll.register(self._socket.socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def _receive(self) -> bytes:
        try:
            if not isinstance(self._stream, trio.SSLStream):
                # What waits for its turn stays in the kernel: a thousand connections would hold 64 MB here.
                await trio.lowlevel.wait_readable(self._socket.socket)
                await self._wait(self._traffic.wait_for_turn)
            return bytes(
                await self._stream.receive_some(max(_RECEIVE, self._protocol.portion if self._protocol else 0))
            )
        except GONE:
            self._output.lost = True
            return b""

    def _limit_reading(self, seconds: float) -> None:
        self._reading.deadline = trio.current_time() + seconds
