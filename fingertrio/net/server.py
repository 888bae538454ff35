"""The accept loop that every TCP door stands behind, and its express lane.

What makes a small answer expensive under Trio is neither the socket nor the protocol but the spawning: a task, a
nursery's bookkeeping and two wake-ups for something that is in memory already. So the loop waits once for readability,
accepts a bounded burst, and tries a non-blocking receive on each connection. What the door's *lane*, a plain function,
can answer is answered there and then. All the rest (a partial query, an answer that must be fetched, a full send
buffer) becomes an ordinary task with the bytes already read. After each burst the loop goes back to Trio.

A connection's failure ends that connection. Running out of descriptors pauses accepting and says so once a second.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Protocol
from weakref import WeakKeyDictionary

import trio

from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.linger import LingerPool
from fingertrio.net.listen import address_of

# Connections taken in one turn. Large enough to share one wake-up among all that arrived meanwhile, small enough that
# no other task waits for more than about two milliseconds.
BURST = 64

# Bytes tried at first sight: a whole query with room to see that something follows it.
FIRST_READ = 1024

# Seconds that a peer may take to read an answer that did not fit into the kernel's send buffer.
SEND_DEADLINE = 30.0

_DONT_WAIT = socket.MSG_DONTWAIT
_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_RESOURCE_PAUSE = 0.1  # seconds until accepting is tried again; recovery must take less than one second

# When it was last said that accepting fails, by who was told. It is the process that has run out, not one door, and the
# doors that share a log have one line a second together.
_complained: WeakKeyDictionary[Reports, float] = WeakKeyDictionary()


class Reports(Protocol):
    """What the loop tells, and to whom: the observer, or a test."""

    def refused(self, door: str, reason: str) -> None: ...
    def connected(self, door: str, change: int) -> None: ...
    def warning(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None: ...
    def error(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None: ...
    def flush(self) -> None: ...


class Connection:
    """An accepted connection as a task gets it. The server closes it, properly, when the handler returns.

    Attributes:
        socket: the descriptor's owner; a bare one until `stream` was asked for.
        peer: the address as text; empty for a unix socket.
        data: what was received already.
        accepted: trio's time at which the connection was seen.
    """

    __slots__ = ("_stream", "accepted", "data", "peer", "socket")

    def __init__(self, sock: socket.SocketType, peer: str, data: bytes, accepted: float) -> None:
        self.socket = sock
        self._stream: trio.SocketStream | None = None
        self.peer = peer
        self.data = data
        self.accepted = accepted

    @property
    def stream(self) -> trio.SocketStream:
        """To read from and to write to. Made when it is first asked for: many an answer can do without."""
        if self._stream is None:
            bare = self.socket
            self.socket = sock = socket.socket(bare.family, bare.type, bare.proto, fileno=bare.detach())
            self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        return self._stream

    async def send(self, data: bytes, deadline: float) -> bool:
        """Send `data` within `deadline` seconds; False: the peer does not read, and the connection is closed.

        Where the kernel has room for all of it, there is no checkpoint.

        Raises:
            trio.BrokenResourceError: the peer has gone.
        """
        try:
            data = data[self.socket.send(data, _DONT_WAIT) :]
        except BlockingIOError:
            pass
        except OSError as error:
            raise trio.BrokenResourceError from error
        if data:
            with trio.move_on_after(deadline) as scope:
                await self.stream.send_all(data)
            if scope.cancelled_caught:
                _break_off(self.socket)
                return False
        return True


def _break_off(sock: socket.SocketType) -> None:
    """Close amid an answer, with a reset: an end would make what arrived look whole, and the kernel keep the rest."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


Handler = Callable[[Connection], Awaitable[None]]

# Given the bytes received so far and the peer, the whole answer, or None: let a task do it. Synchronous and quick.
Lane = Callable[[bytes, str], bytes | None]


class Server:
    """Serves listening sockets with a handler, until it is told to stop.

    Args:
        door: the name under which it reports.
        listeners: bound, listening, non-blocking; they are not closed here, so that a restart finds them.
        handler: called with each connection the lane did not serve, in a task of its own.
        lane: the express lane, if the protocol has one.
        caps: how many connections may be open at once.
        rate: how often one address may connect, in both lanes.
        refusal: bytes for whom a limit keeps out; the protocol's own words. Empty: closed without a word.
        reports: told of everything that happens.
    """

    def __init__(
        self,
        door: str,
        listeners: Sequence[socket.socket],
        handler: Handler,
        *,
        reports: Reports,
        caps: ConnectionCaps,
        lane: Lane | None = None,
        rate: RateLimiter | None = None,
        refusal: bytes = b"",
    ) -> None:
        self._door = door
        self._listeners = listeners
        self._handler = handler
        self._lane = lane
        self._refusal = refusal
        self._caps = caps
        self._rate = rate
        self._reports = reports
        self._linger = LingerPool()

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept and answer until `stopping` is set, then return when what is in flight has ended.

        `task_status.started` is called with the addresses once connections are being accepted. Cancellation ends every
        connection at once.
        """
        async with trio.open_nursery() as lingering:
            await lingering.start(self._linger.run)
            async with trio.open_nursery() as handlers:
                async with trio.open_nursery() as acceptors:
                    for listener in self._listeners:
                        acceptors.start_soon(self._accept, listener, handlers)
                    task_status.started([address_of(listener) for listener in self._listeners])
                    await stopping.wait()
                    acceptors.cancel_scope.cancel()
            await self._linger.wait_empty()
            lingering.cancel_scope.cancel()

    async def _accept(self, listener: socket.socket, handlers: trio.Nursery) -> None:
        family, kind, protocol = int(listener.family), int(listener.type), listener.proto
        named = family != socket.AF_UNIX
        # socket.accept makes a Python object around this one, and that takes a twentieth of a query's whole time.
        accept: Callable[[], tuple[int, tuple[str, int]]] = listener._accept  # type: ignore[attr-defined]  # noqa: SLF001
        while True:
            await trio.lowlevel.wait_readable(listener)
            now = trio.current_time()
            for _ in range(BURST):
                try:
                    descriptor, address = accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _RESOURCES:
                        await self._out_of_resources(error)
                        break
                    continue  # the peer was gone before we came (ECONNABORTED and what accept(2) passes on)
                sock = socket.SocketType(family, kind, protocol, descriptor)
                self._greet(sock, address[0] if named else "", now, handlers)
            self._reports.flush()

    def _greet(self, sock: socket.SocketType, peer: str, now: float, handlers: trio.Nursery) -> None:
        """Serve a new connection in the lane, or start its task."""
        if self._rate is not None and not self._rate.allow(peer, now):
            self._refuse(sock, "rate")
            return
        data = b""
        if self._lane is not None:
            try:
                data = sock.recv(FIRST_READ, _DONT_WAIT)
            except BlockingIOError:
                pass
            except OSError:
                sock.close()
                return
            else:
                if (answer := self._ask_lane(self._lane, data, peer)) is not None:
                    self._express(sock, peer, answer, handlers)
                    return
        self._admit(Connection(sock, peer, data, now), self._handler, handlers)

    def _ask_lane(self, lane: Lane, data: bytes, peer: str) -> bytes | None:
        """The lane's answer. A lane that fails must not end the loop: its connection takes the ordinary way."""
        try:
            return lane(data, peer)
        except Exception as error:  # noqa: BLE001 -- this is the guard
            self._reports.error("lane_failed", door=self._door, peer=peer, exc=error)
            return None

    def _express(self, sock: socket.SocketType, peer: str, answer: bytes, handlers: trio.Nursery) -> None:
        """Send an answer without waiting; what the kernel does not take at once becomes a task's work."""
        try:
            sent = sock.send(answer, _DONT_WAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            sock.close()
            return
        if sent == len(answer):
            self._linger.add(sock)
        else:
            self._admit(Connection(sock, peer, answer[sent:], 0.0), self._send_rest, handlers)

    def _refuse(self, sock: socket.SocketType, reason: str) -> None:
        """Say no in the protocol's own words, without waiting."""
        self._reports.refused(self._door, reason)
        try:
            sock.send(self._refusal, _DONT_WAIT)
        except OSError:
            sock.close()
        else:
            self._linger.add(sock)

    def _admit(self, connection: Connection, handler: Handler, handlers: trio.Nursery) -> None:
        """Start a task for a connection, or turn it away where a cap says so."""
        reason = self._caps.admit(connection.peer)
        if reason is None:
            handlers.start_soon(self._guarded, connection, handler)
        elif handler == self._send_rest:  # words amid an answer would be part of it
            self._reports.refused(self._door, reason)
            _break_off(connection.socket)
        else:
            self._refuse(connection.socket, reason)

    async def _guarded(self, connection: Connection, handler: Handler) -> None:
        """Run a connection's task; its failure stays its own. Close as `net.linger` explains."""
        self._reports.connected(self._door, 1)
        finished = False
        try:
            await handler(connection)
            finished = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer went away; whether that matters is the protocol's business, and the handler's
        except Exception as error:  # noqa: BLE001 -- this is the guard
            self._reports.error("connection_failed", door=self._door, peer=connection.peer, exc=error)
        finally:
            self._reports.connected(self._door, -1)
            self._caps.release(connection.peer)
            sock = connection.socket
            if sock.fileno() >= 0:
                if finished:
                    self._linger.add(sock)
                else:
                    sock.close()

    async def _send_rest(self, connection: Connection) -> None:
        if not await connection.send(connection.data, SEND_DEADLINE):
            self._reports.refused(self._door, "slow_reader")

    async def _out_of_resources(self, error: OSError) -> None:
        """Let those who hold descriptors finish, and say so at most once a second."""
        now = trio.current_time()
        if now - _complained.get(self._reports, -inf) >= 1.0:
            _complained[self._reports] = now
            self._reports.warning("cannot_accept", door=self._door, reason=os.strerror(error.errno or 0))
        self._reports.refused(self._door, "resources")
        await trio.sleep(_RESOURCE_PAUSE)
