"""One HTTP connection: the part of Hypercorn's server that touches the socket, written so that it can be trusted.

Hypercorn's protocols do the talking; this feeds them what arrives, sends what they hand out, and decides when a
connection is over. Stock Hypercorn 0.18 leaves all of this to luck: an exception in one connection ends the nursery of
all; a send is shielded from cancellation without a deadline; a socket is closed on top of what it has not read; a
client that closes its sending side loses its answer. Its `TCPServer` is subclassed for the contract that the protocols
expect, but every method that touches the socket is replaced, and the rules are these:

- There is one reader, and a connection is over when it ends: at the peer's end of input, when the protocol is done,
  when a send has failed, or at its deadline, which is the keep-alive time-out while nothing is being answered. So an
  idle connection needs no task to watch it.
- A send is not interrupted by whatever ends the request, since half a frame breaks the connection for all the others
  on it. It has a deadline for each slice instead, and a short one for all once the door itself is cancelled.
- A client may close its sending side and still get its answer (RFC 9112 section 9.6), if that does not take long.
- Whatever goes wrong in a connection stays in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from fingertrio.http.exchange import Exchanges
from fingertrio.http.http1 import Http1, Stream, Upgraded, UpgradedSession
from fingertrio.http.http2 import PREFACE, Http2, Refused
from fingertrio.observe.observer import Observer

# What one receive may bring, and the most that is sent under one deadline.
_SLICE = 65536

# Bytes that HTTP/2 is given at once: twenty requests, if they are as small as can be, which take it 3 ms.
_PORTION = 512

# Seconds of work on what one connection has sent after which it is another's turn.
_TURN = 0.001

# Seconds that a peer may take for one slice: two kilobytes a second, slower than any modem.
_SEND_DEADLINE = 30.0

# Seconds that sends may go on once the door has been cancelled. A second after its grace the program must have ended,
# and the end of the interpreter takes up to two thirds of that.
_LAST_WORDS = 0.2

# Seconds that an answer may take once the client has ended its input: it may be waiting, or gone for good.
_HALF_CLOSED = 10.0

# Seconds that a connection which was accepted in the last moment has to make its request.
_LATECOMER = 0.25

# Seconds for the peer's half of the TLS farewell; ours is sent at once.
_FAREWELL = 0.1

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class Traffic:
    """What the connections of one door have in common."""

    def __init__(self, app: AppWrapper, config: Config, door: str, observer: Observer) -> None:
        self.app = app
        self.config = config
        self.door = door
        self.observer = observer
        self.context = WorkerContext(None)
        self.connections: set[HttpConnection] = set()
        self._turns = trio.Lock()
        self._sends: set[trio.CancelScope] = set()
        self._latest = inf

    async def retire(self) -> None:
        """Close what is idle, and let what is busy finish the request that it is at."""
        await self.context.terminated.set()
        for connection in list(self.connections):
            connection.retire()

    async def hurry_when_cancelled(self) -> None:
        """Stand in the door's nursery; when that is cancelled, leave the shielded sends no more than a moment."""
        try:
            await trio.sleep_forever()
        finally:
            self._latest = trio.current_time() + _LAST_WORDS
            for scope in self._sends:
                self.limit(scope, inf)

    async def wait_for_turn(self) -> None:
        """Let the rest of the program on. Of all connections that wait here, the loop's next round takes one."""
        async with self._turns:
            pass

    def limit(self, scope: trio.CancelScope, seconds: float) -> None:
        """Let a send take so long from now on."""
        scope.deadline = min(trio.current_time() + seconds, self._latest)

    @contextmanager
    def shielded(self) -> Iterator[trio.CancelScope]:
        """A scope in which only `limit` can stop a send."""
        with trio.CancelScope(shield=True, deadline=self._latest) as scope:
            self._sends.add(scope)
            try:
                yield scope
            finally:
                self._sends.discard(scope)


class HttpConnection(TCPServer):
    """Talks to one client until one of the two has had enough.

    When `run` returns, the socket has been closed, unless closing it could still destroy the answer on its way. Then it
    is left open, for whoever gave it (`net.linger`).
    """

    protocol: Http1 | Http2  # type: ignore[assignment]  # no wrapper is needed to tell them apart
    stream: Stream  # type: ignore[assignment]  # Hypercorn's type forgets those without TLS

    def __init__(self, traffic: Traffic, stream: Stream, peer: str) -> None:
        super().__init__(traffic.app, traffic.config, traffic.context, {}, stream)  # type: ignore[arg-type]  # not TLS only
        self._traffic = traffic
        self._peer = peer
        self._socket: trio.SocketStream = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        self._reading = trio.CancelScope()
        self._idle = True  # nothing is being answered
        self._ended = False  # we are the first to close, after an answer
        self._lost = False  # nothing more can be sent, or will be received
        self._session: UpgradedSession | None = None  # whose the connection is, once it no longer speaks HTTP

    async def run(self) -> None:
        """Serve the connection. Raises nothing but Cancelled."""
        leave_open = False
        self._traffic.connections.add(self)
        try:
            await self._converse()
            leave_open = self._ended and not self._lost
        except* (OSError, *_GONE):
            pass  # the peer is gone
        except* Exception as group:  # noqa: BLE001 -- this is the guard
            # Strangers can make Hypercorn and its parsers raise. That is worth a line in the log, but no traceback.
            self._traffic.observer.warning("http_connection_failed", peer=self._peer, exc=group)
        finally:
            self._traffic.connections.discard(self)
            if not leave_open:
                await trio.aclose_forcefully(self._socket)

    def retire(self) -> None:
        """The door closes: end now if idle. If not, the protocol ends the connection after its answer."""
        if self._session is not None:
            self._session.retire()
        elif self._idle:
            self._reading.cancel()

    async def protocol_send(self, event: Event) -> None:
        """What the protocols call to send bytes, and to tell that they are done, idle or busy."""
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Closed):
            self._end()
        elif isinstance(event, Upgraded):
            self._reading.cancel()
        elif isinstance(event, Refused):
            if not self._lost:
                self._traffic.observer.refused(self._traffic.door, event.reason)
            self._end()
        elif isinstance(event, Updated):
            self._idle = event.idle
            if event.idle and self.context.terminated.is_set():
                self._end()
            else:
                self._limit_reading(self.config.keep_alive_timeout if event.idle else inf)

    def _end(self) -> None:
        self._ended = True
        self._reading.cancel()

    def _limit_reading(self, seconds: float) -> None:
        self._reading.deadline = trio.current_time() + seconds

    async def _converse(self) -> None:
        async with Exchanges() as self._task_group:
            protocol = None
            with self._reading:
                if data := await self._greet():
                    protocol = self.protocol = self._choose_protocol(data)
                    await protocol.initiate()
                    await self._read(protocol, data)
            if protocol is None:
                return
            if isinstance(protocol, Http2):
                await protocol.say_goodbye()
            await protocol.handle(Closed())
        if isinstance(protocol, Http1) and protocol.session is not None and not self._lost:
            self._session = protocol.session
            if self.context.terminated.is_set():
                self._session.retire()
            self._ended = await self._session.run(self.stream, protocol.early)
        if isinstance(self.stream, trio.SSLStream) and not self._lost:
            # RFC 8446 section 6.1: who closes says so, lest somebody else cut the answer short unnoticed.
            with suppress(*_GONE), trio.move_on_after(_FAREWELL):
                await self.stream.unwrap()

    async def _greet(self) -> bytes:
        """Shake hands where TLS wants it, and wait for the first bytes, enough of them to choose a protocol by."""
        if isinstance(self.stream, trio.SSLStream):
            self._limit_reading(self.config.ssl_handshake_timeout)
            await self.stream.do_handshake()
        self._limit_reading(_LATECOMER if self.context.terminated.is_set() else self.config.keep_alive_timeout)
        data = await self._receive()
        while len(data) < len(PREFACE) and PREFACE.startswith(data) and (more := await self._receive()):
            data += more
        return data

    def _choose_protocol(self, data: bytes) -> Http1 | Http2:
        is_tls = isinstance(self.stream, trio.SSLStream)
        if isinstance(self.stream, trio.SSLStream):
            is_http2 = self.stream.selected_alpn_protocol() == "h2"
        else:
            is_http2 = data.startswith(PREFACE)
        socket = self._socket.socket
        return (Http2 if is_http2 else Http1)(
            self.app,
            self.config,
            self.context,
            self._task_group,
            ConnectionState({}),
            is_tls,
            parse_socket_addr(socket.family, socket.getpeername()),
            parse_socket_addr(socket.family, socket.getsockname()),
            self.protocol_send,
        )

    async def _read(self, protocol: Http1 | Http2, data: bytes) -> None:
        """Feed the protocol until there is nothing more to feed it, and nothing more to wait for."""
        while data:
            if isinstance(protocol, Http2):
                await self._feed(protocol, data)
            else:
                await protocol.handle(RawData(data))
            data = await self._receive()
        if isinstance(protocol, Http1) and not self._lost:
            await protocol.handle(RawData(b""))
            if protocol.answering:
                self._limit_reading(_HALF_CLOSED)
                await trio.sleep_forever()  # until the protocol is done

    async def _feed(self, protocol: Http2, data: bytes) -> None:
        """Feed HTTP/2, for which 64 kB can be two thousand requests, so that nobody waits for all of it."""
        began = time.perf_counter()
        for start in range(0, len(data), _PORTION):
            await protocol.handle(RawData(data[start : start + _PORTION]))
            if self._reading.cancel_called:
                return
            if time.perf_counter() - began > _TURN:
                await self._traffic.wait_for_turn()
                began = time.perf_counter()

    async def _receive(self) -> bytes:
        try:
            return bytes(await self.stream.receive_some(_SLICE))
        except _GONE:
            self._lost = True
            return b""

    async def _send(self, data: bytes) -> None:
        traffic = self._traffic
        view = memoryview(data)  # slices without a copy: many clients may share the data
        with traffic.shielded() as scope:
            async with self.send_lock:
                for start in range(0, len(data), _SLICE):
                    if self._lost:
                        return
                    traffic.limit(scope, _SEND_DEADLINE)
                    try:
                        await self.stream.send_all(view[start : start + _SLICE])
                    except _GONE:
                        self._lose()
        if scope.cancelled_caught:
            traffic.observer.refused(traffic.door, "slow_reader")
            self._lose()

    def _lose(self) -> None:
        self._lost = True
        self._reading.cancel()
