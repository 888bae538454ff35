"""The accept loop of every TCP door, with its express lane.

Under Trio, most of the cost of a small answer is the task: a nursery's bookkeeping and two wake-ups, for an answer that
is in memory. So the loop waits once for readability, accepts a bounded burst of connections, and tries a non-blocking
receive on each. The door's *lane*, a plain function, may answer at once. Everything else (a partial query, an answer
that must be fetched, a full send buffer) becomes an ordinary task with the bytes already read. After each burst the
loop returns to Trio.

A failing connection ends only itself. When `accept` fails, the loop pauses and logs a warning, at most one a second. If
it fails for 10 s for another reason than a lack of descriptors or memory, the door fails and its supervisor takes over.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from math import inf
from weakref import WeakKeyDictionary

import trio

from fingertrio.net.connection import Connection, abort
from fingertrio.net.keeper import Handler, Keeper, Tasks
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.linger import LingerPool
from fingertrio.net.listen import address_of
from fingertrio.net.reports import Guard, Reports

# Connections accepted in one round: enough to share one wake-up, and few enough that other tasks wait at most 2 ms.
BURST = 64

# Bytes of the first receive: a whole query, with room to see that more follows.
FIRST_READ = 1024

# Seconds in which a peer must read an answer that did not fit into the kernel's send buffer.
SEND_DEADLINE = 30.0

_DONT_WAIT = int(socket.MSG_DONTWAIT)

# For an answer that the end of the connection follows at once: both leave in one packet, which is half the work of the
# kernel on both sides. What the kernel holds back meanwhile, it sends with the FIN, or after 200 ms in any case.
_END_FOLLOWS = _DONT_WAIT | int(socket.MSG_MORE)
_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

# Errors of one connection that ended before it was accepted (accept(2)). The next call can succeed.
_ABORTED = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EPERM,
        errno.EPROTO,
    }
)

_PAUSE = 0.1  # seconds before `accept` is tried again; after a lack of descriptors, recovery must take less than 1 s
_FAILS_AFTER = 10.0  # seconds of failing `accept` after which the door fails

# When a failing `accept` was last logged, for each log. A lack of descriptors concerns the process, so all doors that
# share a log write one line a second together.
_last_warning: WeakKeyDictionary[Reports, float] = WeakKeyDictionary()


# From the bytes received so far and the peer, the whole answer, or None for a task. Must be quick.
Lane = Callable[[bytes, str], bytes | None]


def raw_accept(listener: socket.socket) -> Callable[[], tuple[int, tuple[str, int]]]:
    """A function that accepts a connection and returns its descriptor and address.

    This is private to the standard library's `socket` module. The public `accept` wraps each connection in a Python
    object, which takes a twentieth of the whole time of a query.
    """
    accept: Callable[[], tuple[int, tuple[str, int]]] = listener._accept  # type: ignore[attr-defined]  # noqa: SLF001
    return accept


class Server:
    """Serves the connections of listening sockets with a handler.

    Args:
        door: the name of the front end in reports.
        listeners: bound, listening, non-blocking. They stay open, so that a restarted front end can use them.
        handler: called in a task of its own with each connection that the lane did not serve.
        lane: the express lane, if the protocol has one with one answer for each connection.
        keeper: gets each admitted connection instead of `handler`, if the protocol has connections without a task.
        caps: limits of open connections.
        rate: the limit of connections per address and second, in both lanes.
        refusal: what a refused client is sent, in the terms of the protocol. Empty: the connection is just closed.
        reclaim: called when a limit of `caps` is reached, with the peer, or with None if the limit is the total. Closes
            a connection that is idle, of that peer if one is given, and returns whether there was one.
        reports: receives every event.
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
        keeper: Keeper | None = None,
        rate: RateLimiter | None = None,
        refusal: bytes = b"",
        reclaim: Callable[[str | None], bool] | None = None,
    ) -> None:
        self._door = door
        self._listeners = listeners
        self._handler = handler
        self._lane = lane
        self._keeper = keeper
        self._refusal = refusal
        self._reclaim = reclaim
        self._caps = caps
        self._rate = rate
        self._reports = reports
        self._linger = LingerPool()

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept and answer until `stopping` is set, then return when all connections have ended.

        `task_status.started` gets the addresses once connections are accepted. A cancellation ends every connection at
        once.

        Raises:
            OSError: accepting connections has failed for 10 s, in a group.
        """
        async with trio.open_nursery() as lingering:
            await lingering.start(self._linger.run)
            async with trio.open_nursery() as handlers:
                if self._keeper is not None:
                    await handlers.start(self._keeper.run, Tasks(handlers, self._guarded, self._end))
                async with trio.open_nursery() as acceptors:
                    for listener in self._listeners:
                        acceptors.start_soon(self._accept, listener, handlers)
                    task_status.started([address_of(listener) for listener in self._listeners])
                    await stopping.wait()
                    acceptors.cancel_scope.cancel()
            await self._linger.finish()
            lingering.cancel_scope.cancel()

    async def _accept(self, listener: socket.socket, handlers: trio.Nursery) -> None:
        family, kind, protocol = int(listener.family), int(listener.type), listener.proto
        named = family != socket.AF_UNIX
        accept = raw_accept(listener)
        failures = 0  # of single connections, without a success between them
        failing_since = inf
        while True:
            await trio.lowlevel.wait_readable(listener)
            now = trio.current_time()
            for _ in range(BURST):
                try:
                    descriptor, address = accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    failures += 1
                    if error.errno in _ABORTED and failures < BURST:
                        continue
                    failing_since = min(failing_since, now) if error.errno not in _RESOURCES else inf
                    await self._pause_accepting(error, failed_for=now - failing_since)
                    break
                failures, failing_since = 0, inf
                sock = socket.SocketType(family, kind, protocol, descriptor)
                self._greet(sock, address[0] if named else "", now, handlers)
            self._reports.flush()

    def _greet(self, sock: socket.SocketType, peer: str, now: float, handlers: trio.Nursery) -> None:
        """Answer a new connection from the lane, or start its task."""
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
                    self._express(sock, peer, answer, now, handlers)
                    return
        self._admit(Connection(sock, peer, data, now), self._handler, handlers)

    def _ask_lane(self, lane: Lane, data: bytes, peer: str) -> bytes | None:
        """The lane's answer. After a failure of the lane, a task serves the connection: the loop must go on."""
        try:
            return lane(data, peer)
        except Exception as error:  # noqa: BLE001 -- a bug must not end the loop
            self._reports.error("lane_failed", door=self._door, peer=peer, exc=error)
            return None

    def _express(self, sock: socket.SocketType, peer: str, answer: bytes, now: float, handlers: trio.Nursery) -> None:
        """Send an answer without waiting. A task sends what the kernel does not take at once."""
        try:
            sent = sock.send(answer, _END_FOLLOWS)
        except BlockingIOError:
            sent = 0
        except OSError:
            sock.close()
            return
        if sent == len(answer):
            self._linger.add(sock, now)
        else:
            self._admit(Connection(sock, peer, answer[sent:], 0.0), self._send_rest, handlers)

    def _refuse(self, sock: socket.SocketType, reason: str) -> None:
        """Send the refusal, without waiting, and close."""
        self._reports.refused(self._door, reason)
        try:
            sock.send(self._refusal, _END_FOLLOWS)
        except OSError:
            sock.close()
        else:
            self._linger.add(sock)

    def _admit(self, connection: Connection, handler: Handler, handlers: trio.Nursery) -> None:
        """Start a task for a connection, or refuse the connection if a limit is reached."""
        reason = self._caps.admit(connection.peer)
        if reason is not None and self._has_reclaimed(None if reason == "connections" else connection.peer):
            # The reclaimed connection counts until its task has ended, in the next round of the loop.
            reason = self._caps.admit(connection.peer, beyond=True)
        if reason is None:
            self._reports.connected(self._door, 1)
            if self._keeper is not None:
                self._keeper.take(connection)
            else:
                handlers.start_soon(self._guarded, connection, handler)
        elif handler == self._send_rest:  # a refusal here would become part of the answer
            self._reports.refused(self._door, reason)
            abort(connection.socket)
        else:
            self._refuse(connection.socket, reason)

    def _has_reclaimed(self, peer: str | None) -> bool:
        return self._reclaim is not None and self._reclaim(peer)

    async def _guarded(self, connection: Connection, handler: Handler) -> None:
        """Run a connection's task. A failure ends that connection only. Close as `net.linger` explains."""
        finished = connection.kept = False
        try:
            with Guard(self._reports, self._door, connection.peer):
                await handler(connection)
                finished = True
        finally:
            if not connection.kept:
                self._end(connection, lingering=finished)

    def _end(self, connection: Connection, *, lingering: bool) -> None:
        """A connection has ended: count it, and close it if it is open."""
        self._reports.connected(self._door, -1)
        self._caps.release(connection.peer)
        sock = connection.socket
        if sock.fileno() >= 0:
            if lingering:
                self._linger.add(sock)
            else:
                sock.close()

    async def _send_rest(self, connection: Connection) -> None:
        if not await connection.send(connection.data, SEND_DEADLINE):
            self._reports.refused(self._door, "slow_reader")

    async def _pause_accepting(self, error: OSError, *, failed_for: float) -> None:
        """Log a failing `accept`, at most once a second, and wait. Raises `error` if it fails for too long.

        After a lack of descriptors or memory (`failed_for` is then negative), existing connections will end and free
        some. Other errors may never end.
        """
        if failed_for >= _FAILS_AFTER:
            raise error
        now = trio.current_time()
        if now - _last_warning.get(self._reports, -inf) >= 1.0:
            _last_warning[self._reports] = now
            self._reports.warning("cannot_accept", door=self._door, reason=os.strerror(error.errno or 0))
        self._has_reclaimed(None)
        self._reports.refused(self._door, "resources" if error.errno in _RESOURCES else "accept")
        await trio.sleep(_PAUSE)
