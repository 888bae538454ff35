"""One HTTP connection: the code between the socket and the protocols `http1` and `http2`.

It feeds the protocol what arrives, sends what the protocol hands out, and decides when the connection ends. Hypercorn's
own server is not used for this: there, an exception in one connection ends all of them, a send has no deadline, a close
can destroy the answer, and a client that closes its sending side gets no answer. The rules here:

- There is one reader, and the connection ends with it: at the client's end of input, when the protocol is done, when a
  send fails, or at a deadline. So an idle connection needs no second task.
- The end of a request does not interrupt a send: half a frame would break the other requests of the connection. Each
  slice has a deadline instead, and once the door is cancelled, all sends together get a short one.
- A client may close its sending side and still get its answer (RFC 9112 section 9.6), within 10 s.
- An idle connection is closed only after one more look at the socket: a request that crosses the close is answered.
- Whatever fails in a connection stays in it.
"""

from __future__ import annotations

import select
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from socket import SO_LINGER, SOL_SOCKET

import trio
from hypercorn.utils import parse_socket_addr

from fingertrio.http.exchange import Exchanges
from fingertrio.http.http1 import Http1
from fingertrio.http.http2 import PREFACE, Http2
from fingertrio.http.limits import HANDSHAKE_COST, HEADER_DEADLINE
from fingertrio.http.tls import BUSY_ALERT, unsent_alert
from fingertrio.http.traffic import Traffic
from fingertrio.http.upgrade import UpgradedSession

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

# Bytes sent under one deadline.
_SLICE = 65536

# Bytes of one receive, unless the protocol can take more at once.
_RECEIVE = 16384

# Parts of an answer that are joined to one send; larger ones would be copied for nothing.
_JOIN = 16384

# Seconds in which a client must take one slice: 2 kB/s, slower than any modem.
_SEND_DEADLINE = 30.0

# Seconds for an answer after the client has closed its sending side: it may be waiting, or gone.
_HALF_CLOSED = 10.0

# Seconds for the first request of a connection that was accepted just before the door closed.
_LATE_REQUEST = 0.25

# Seconds for the client's half of the TLS close; ours is sent at once.
_TLS_CLOSE = 0.1

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class HttpConnection:
    """Serves one client; a `Carrier` for the protocol.

    When `run` returns, the socket is closed, unless a close could still destroy the answer. Then it stays open, for the
    caller to close (`net.linger`).
    """

    def __init__(self, traffic: Traffic, stream: Stream, peer: str) -> None:
        self.peer = peer
        self._traffic = traffic
        self._stream = stream
        self._socket: trio.SocketStream = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        self._protocol: Http1 | Http2 | None = None
        self._session: UpgradedSession | None = None  # what runs after HTTP/1
        self._send_lock = trio.Lock()
        self._reading = trio.CancelScope()
        self._resting = trio.CancelScope()  # within `_reading`, while the connection is idle
        self._unfed = b""  # received behind the request for an upgrade
        self._in_handshake = False
        self._idle = True
        self._idle_until = inf
        self._ended = False  # by us, with a close that could destroy the answer
        self._lost = False  # nothing more can be sent, or will be received

    async def run(self) -> None:
        """Serve the connection. Raises nothing but Cancelled."""
        leave_open = False
        self._traffic.connections.add(self)
        try:
            await self._converse()
            leave_open = self._ended and not self._lost
        except* (OSError, *_GONE):
            pass  # the client is gone
        except* Exception as group:  # noqa: BLE001 -- clients can make the parsers raise: one line, without a traceback
            self._traffic.observer.warning("http_connection_failed", peer=self.peer, exc=group)
        finally:
            self._traffic.connections.discard(self)
            self._traffic.idle.pop(self, None)
            if not leave_open:
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
        traffic = self._traffic
        with traffic.shielded() as scope:
            async with self._send_lock:
                for data in [b"".join(parts)] if sum(map(len, parts)) <= _JOIN else parts:
                    for start in range(0, len(data), _SLICE):
                        if self._lost:
                            return
                        traffic.limit(scope, _SEND_DEADLINE)
                        try:
                            await self._stream.send_all(memoryview(data)[start : start + _SLICE])
                        except _GONE:
                            self._lose()
        if scope.cancelled_caught:
            self.report("slow_reader")
            self._lose()

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
            self._idle_until = trio.current_time() + self._traffic.config.keep_alive_timeout
        self._resting.deadline = self._idle_until

    def end(self) -> None:
        self._ended = True
        self._reading.cancel()

    def abort(self) -> None:
        with suppress(OSError):
            self._socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self._lose()

    def report(self, reason: str) -> None:
        if not self._lost:
            self._traffic.observer.refused(self._traffic.door, reason)

    def hand_over(self) -> None:
        self._reading.cancel()

    # The life of the connection

    async def _converse(self) -> None:
        async with self._exchanges() as exchanges:
            with self._reading:
                if data := await self._greet():
                    protocol = self._protocol = (Http2 if self._is_http2(data) else Http1)(exchanges, self)
                    await self._read(protocol, data)
            if self._protocol is not None:
                await self._protocol.close()
        if isinstance(self._protocol, Http1) and self._protocol.session is not None and not self._lost:
            self._session = self._protocol.session
            if exchanges.closing:
                self._session.retire()
            self._ended = await self._session.run(self._stream, self._protocol.early + self._unfed)
        if isinstance(self._stream, trio.SSLStream) and not self._lost:
            # RFC 8446 section 6.1: without the close alert, an answer could be truncated unnoticed.
            with suppress(*_GONE), trio.move_on_after(_TLS_CLOSE):
                await self._stream.unwrap()

    def _exchanges(self) -> Exchanges:
        traffic, socket = self._traffic, self._socket.socket
        return Exchanges(
            traffic.app,
            traffic.config,
            traffic.context,
            traffic.budgets,
            tls=isinstance(self._stream, trio.SSLStream),
            client=parse_socket_addr(socket.family, socket.getpeername()),
            server=parse_socket_addr(socket.family, socket.getsockname()),
        )

    async def _greet(self) -> bytes:
        """The TLS handshake, and the first bytes: enough to tell HTTP/1 from HTTP/2."""
        if isinstance(self._stream, trio.SSLStream) and not await self._shake_hands(self._stream):
            return b""
        closing = self._traffic.context.terminated.is_set()
        limit = _LATE_REQUEST if closing else min(self._traffic.config.keep_alive_timeout, HEADER_DEADLINE)
        self._reading.deadline = inf  # of the handshake
        self._idle_until = min(self._idle_until, trio.current_time() + limit)
        data = await self._next()
        self._idle_until = inf
        self._limit_reading(limit)
        while data and len(data) < len(PREFACE) and PREFACE.startswith(data) and (more := await self._receive()):
            data += more
        return data

    async def _shake_hands(self, stream: trio.SSLStream[trio.SocketStream]) -> bool:
        """The TLS handshake; False: it failed, or there is no memory for it, and the client was sent the alert."""
        handshakes, alert = self._traffic.budgets.handshakes, BUSY_ALERT
        self._limit_reading(self._traffic.config.ssl_handshake_timeout)
        self._in_handshake = True
        await trio.lowlevel.wait_readable(self._socket.socket)
        await self._wait(self._traffic.wait_for_round)  # a signature takes a millisecond or two
        if handshakes.take(HANDSHAKE_COST):
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError:
                alert = unsent_alert(stream)
            else:
                self._in_handshake = False
                return True
            finally:
                handshakes.give_back(HANDSHAKE_COST)
        else:
            self.report("memory")
        with suppress(*_GONE), trio.move_on_after(_TLS_CLOSE):
            await self._socket.send_all(alert)
            self._ended = True
        return False

    def _is_http2(self, data: bytes) -> bool:
        if isinstance(self._stream, trio.SSLStream):
            return bool(self._stream.selected_alpn_protocol() == "h2")
        return data.startswith(PREFACE)

    async def _read(self, protocol: Http1 | Http2, data: bytes) -> None:
        """Feed the protocol until no more input comes, and no answer is waited for."""
        if isinstance(protocol, Http2):
            await protocol.start()
            self.set_idle(idle=True)
        while data:
            await self._feed(protocol, data)
            if isinstance(protocol, Http1) and protocol.has_partial_request and self._reading.deadline == inf:
                self._limit_reading(HEADER_DEADLINE)
            data = await self._next()
        if isinstance(protocol, Http1) and protocol.answering and not self._lost:
            await protocol.receive(b"")
            self._limit_reading(_HALF_CLOSED)
            await trio.sleep_forever()  # until the protocol ends the connection

    async def _feed(self, protocol: Http1 | Http2, data: bytes) -> None:
        """Feed the protocol in portions, and let others run in between: 64 kB can be thousands of frames or chunks."""
        position = 0
        while position < len(data) and not self._reading.cancel_called:
            if position or isinstance(self._stream, trio.SSLStream):  # else `_receive` has waited
                await self._wait_for_turn()
            portion = data[position : position + protocol.portion]
            position += len(portion)
            self._unfed = data[position:]
            await protocol.receive(portion)

    async def _wait_for_turn(self) -> None:
        await self._wait(self._traffic.wait_for_turn)

    async def _wait(self, turn: Callable[[], Awaitable[None]]) -> None:
        """Wait until this connection may use the processor. The client's time stands still meanwhile."""
        left = self._reading.deadline - trio.current_time()
        self._reading.deadline = inf
        await turn()
        if self._reading.deadline == inf:
            self._reading.deadline = trio.current_time() + left

    async def _next(self) -> bytes:
        """The next input; b"": the client has closed its sending side, or the connection was idle for too long."""
        with trio.CancelScope(deadline=self._idle_until) as self._resting:
            return await self._receive()
        return await self._receive() if self._has_input() else b""

    def _has_input(self) -> bool:
        poll = select.poll()
        poll.register(self._socket.socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def _receive(self) -> bytes:
        try:
            if not isinstance(self._stream, trio.SSLStream):
                # What waits for its turn stays in the kernel: a thousand connections would hold 64 MB here.
                await trio.lowlevel.wait_readable(self._socket.socket)
                await self._wait_for_turn()
            return bytes(
                await self._stream.receive_some(max(_RECEIVE, self._protocol.portion if self._protocol else 0))
            )
        except _GONE:
            self._lost = True
            return b""

    def _limit_reading(self, seconds: float) -> None:
        self._reading.deadline = trio.current_time() + seconds

    def _lose(self) -> None:
        self._lost = True
        self._reading.cancel()
