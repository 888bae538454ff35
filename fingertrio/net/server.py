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

import socket
from collections.abc import Callable, Sequence
from functools import partial
from math import inf

import trio

from fingertrio.net import accept_errors
from fingertrio.net.connection import Connection, abort
from fingertrio.net.keeper import Handler, Keeper, Tasks
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.linger import LingerPool
from fingertrio.net.listen import address_of
from fingertrio.net.proxies import TrustedProxies, receive_header, take_header
from fingertrio.net.reports import Guard, Reports
from fingertrio.wire.proxy import ProxyHeaderError

# Connections accepted in one round: enough to share one wake-up, and few enough that other tasks wait at most 2 ms.
BURST = 64

# Bytes of the first receive: a whole query, with room to see that more follows.
FIRST_READ = 1024

# Seconds in which a peer must read an answer that did not fit into the kernel's send buffer.
SEND_DEADLINE = 30.0

# Seconds between two log lines about invalid PROXY headers: a wrong setting concerns every connection.
_REJECTION_PAUSE = 60.0

_DONT_WAIT = int(socket.MSG_DONTWAIT)

# For an answer that the end of the connection follows at once: both leave in one packet, which is half the work of the
# kernel on both sides. What the kernel holds back meanwhile, it sends with the FIN, or after 200 ms in any case.
_END_FOLLOWS = _DONT_WAIT | int(socket.MSG_MORE)
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
        rate: the limit of connections per address and second.
        refusal: what a refused client is sent, in the terms of the protocol. Empty: the connection is just closed.
        reclaim: called when a limit of `caps` is reached, with the peer, or with None if the limit is the total. Closes
            a connection that is idle, of that peer if one is given, and returns whether there was one.
        reports: receives every event.
        proxies: which peers send the PROXY header; see `trust`.
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
        proxies: TrustedProxies | None = None,
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
        self._rejected = -inf  # when a header was last logged as wrong
        self._proxies: TrustedProxies | None = None
        if proxies is not None:
            self.trust(proxies)

    def trust(self, proxies: TrustedProxies | None) -> None:
        """From now on, these proxies begin their connections with the PROXY header; None: no peer does.

        The header gives the connection its client, in limits, logs and `Connection.peer`. A connection of the proxy
        itself, or without its header yet, counts for the total of `caps` only.
        """
        self._proxies = proxies
        self._caps.is_proxy = None if proxies is None else proxies.includes

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
                    if error.errno in accept_errors.ABORTED and failures < BURST:
                        continue
                    failing_since = min(failing_since, now) if error.errno not in accept_errors.RESOURCES else inf
                    self._has_reclaimed(None)
                    await accept_errors.pause(error, self._door, self._reports, failed_for=now - failing_since)
                    break
                failures, failing_since = 0, inf
                sock = socket.SocketType(family, kind, protocol, descriptor)
                peer = address[0] if named else ""
                if self._proxies is None or not self._proxies.includes(peer):
                    self._greet(sock, peer, now, handlers)
                else:
                    self._introduce(sock, peer, now, handlers)
            self._reports.flush()

    def _introduce(self, sock: socket.SocketType, proxy: str, now: float, handlers: trio.Nursery) -> None:
        """Serve the client of a trusted proxy. If the header is not here yet, a task waits for it."""
        try:
            header = take_header(sock, taken := bytearray())
        except ProxyHeaderError as error:
            self._reject(sock, proxy, error)
        except (EOFError, OSError):
            sock.close()
        else:
            if header is None:
                self._admit(Connection(sock, proxy, bytes(taken), now), partial(self._await_header, handlers), handlers)
            else:
                self._greet(sock, header.client or proxy, now, handlers, limited=not header.is_local)

    async def _await_header(self, handlers: trio.Nursery, connection: Connection) -> None:
        sock = connection.socket
        try:
            header = await receive_header(sock, bytearray(connection.data))
        except ProxyHeaderError as error:
            self._reject(sock, connection.peer, error)
        except trio.TooSlowError:
            self._reports.refused(self._door, "deadline")
            abort(sock)
        except (EOFError, OSError):
            sock.close()
        else:
            connection.kept = True  # from now on it is the client's, and is counted as that
            self._forget(connection)
            client = header.client or connection.peer
            self._greet(sock, client, trio.current_time(), handlers, limited=not header.is_local)
            self._reports.flush()

    def _reject(self, sock: socket.SocketType, proxy: str, error: ProxyHeaderError) -> None:
        """Abort the connection, so that the proxy notices, and log it once a minute."""
        abort(sock)
        self._reports.refused(self._door, "proxy_header")
        now = trio.current_time()
        if now - self._rejected >= _REJECTION_PAUSE:
            self._rejected = now
            self._reports.warning("proxy_header_rejected", door=self._door, peer=proxy or "unix", reason=str(error))

    def _greet(
        self, sock: socket.SocketType, peer: str, now: float, handlers: trio.Nursery, *, limited: bool = True
    ) -> None:
        """Answer a new connection from the lane, or start its task. `limited`: the limit of the address applies."""
        if limited and self._rate is not None and not self._rate.allow(peer, now):
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
            if self._keeper is not None and handler is self._handler:
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
        self._forget(connection)
        sock = connection.socket
        if sock.fileno() >= 0:
            if lingering:
                self._linger.add(sock)
            else:
                sock.close()

    def _forget(self, connection: Connection) -> None:
        self._reports.connected(self._door, -1)
        self._caps.release(connection.peer)

    async def _send_rest(self, connection: Connection) -> None:
        if not await connection.send(connection.data, SEND_DEADLINE):
            self._reports.refused(self._door, "slow_reader")
