"""HTTP connections between two requests: they have no task, and the lane answers here.

One task waits for all of them with an epoll of its own, which Trio waits for as for a socket. In each round of Trio's
loop it takes a bounded number of connections that have sent something. What the lane can answer is sent at once
(`express`); every other connection gets a task (`connection`) with the bytes already read, and comes back when it is at
rest again. So an idle connection costs about a kilobyte, and a hot request neither a task nor a wake-up of its own.

A connection gets one answer a turn: requests that were sent at once (pipelining) wait for the next round. The TLS
handshake, the closing alert and HTTP/2 need a task.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import chain
from math import inf

import trio

from fingertrio.http.errand import Deadlines, Errand, IdleConnection
from fingertrio.http.express import Express, Turn
from fingertrio.http.lane import RENEWAL, Lane
from fingertrio.http.limits import HEADER_DEADLINE
from fingertrio.http.replay import Recording
from fingertrio.http.tls import TlsStream
from fingertrio.http.traffic import Traffic
from fingertrio.net.connection import Connection
from fingertrio.net.keeper import Handler, Tasks

# Connections served in one round of the loop, and seconds of it: other doors wait about as long as for finger's burst.
_BURST = 64
_TURN = 0.004

# Seconds for a body whose head is here: many clients send the two separately. Then a task waits for it.
_PARTIAL = 0.25

# No memory, or fs.epoll.max_user_watches is reached; or `run` was cancelled in this round of the loop (ValueError).
_CANNOT_KEEP = (OSError, ValueError)


class IdlePool:
    """Keeps the connections of a door that are between two requests. A `net.keeper.Keeper`.

    Args:
        traffic: of the door.
        lane: its responses; None: every request gets a task.
        serve: makes the handler for a connection that needs a task.
        encrypted: whether new connections begin with a TLS handshake.
    """

    def __init__(
        self,
        traffic: Traffic,
        lane: Lane | None,
        serve: Callable[[Errand], Handler],
        encrypted: Callable[[], bool],
    ) -> None:
        self._traffic = traffic
        self._lane = lane
        self._express = Express(traffic, lane, self._go_on)
        self._serve = serve
        self._encrypted = encrypted
        self._tasks: Tasks | None = None
        self._poll = select.epoll()
        self._by_descriptor: dict[int, IdleConnection] = {}
        self._ready: deque[IdleConnection] = deque()  # have data for another turn
        self._partial = Deadlines(_PARTIAL)
        self._waiting = Deadlines(RENEWAL)  # for the response to another request
        self._before: list[Deadlines] = []  # idle since before another `keep_alive`: they keep theirs
        self._begin(traffic.config.keep_alive_timeout)
        self._sleep = trio.CancelScope()
        traffic.pool = self

    def __len__(self) -> int:
        return len(self._by_descriptor)

    # Connections come and go

    def take(self, connection: Connection) -> None:
        """Keep a new connection; answer its first request if that is here and in memory."""
        if self._encrypted() or self._traffic.context.terminated.is_set():
            self._running().start(connection, self._serve(Errand(is_new=True)))
            return
        try:
            idle = self._keep(connection, None)
        except _CANNOT_KEEP:
            self._running().start(connection, self._serve(Errand(is_new=True)))
            return
        self._list(idle, self._fresh)
        self._give_turn(idle, self._express.receive)

    def put_back(self, connection: Connection, tls: TlsStream | None, data: bytes, since: float) -> None:
        """Keep a connection whose task ends.

        Args:
            connection: is at rest, whatever its task had begun.
            tls: its encryption.
            data: received already.
            since: when it became idle.
        """
        if self._traffic.context.terminated.is_set():
            self._running().start(connection, self._serve(Errand(tls, data)))
            return
        if tls is None:
            connection.forget_stream()
        try:
            idle = self._keep(connection, tls)
        except _CANNOT_KEEP:
            self._running().start(connection, self._serve(Errand(tls, data or None)))
            return
        idle.is_first = False
        idle.data = data
        self._list(idle, self._idle, since)
        if data or tls is not None:  # the decryption may hold more
            self._ready.append(idle)
            self._wake(-inf)

    def offer(self, peer: str, data: bytes) -> tuple[bool, Recording | None]:
        """Whether the lane has the response to the request in `data`. If not, a recording of it, if it is plain."""
        return self._express.offer(peer, data)

    def _keep(self, connection: Connection, tls: TlsStream | None) -> IdleConnection:
        idle = IdleConnection(connection, tls, self._express.sender_of(connection.peer))
        descriptor = connection.socket.fileno()
        self._poll.register(descriptor, select.EPOLLIN)
        self._by_descriptor[descriptor] = idle
        connection.kept = True
        return idle

    def _forget(self, idle: IdleConnection) -> None:
        descriptor = idle.connection.socket.fileno()
        del self._by_descriptor[descriptor]
        self._poll.unregister(descriptor)
        self._list(idle, None)

    def _running(self) -> Tasks:
        if self._tasks is None:
            raise AssertionError("the pool does not run")
        return self._tasks

    def _hand_over(self, idle: IdleConnection, errand: Errand) -> None:
        self._forget(idle)
        errand.is_first = idle.is_first
        self._running().start(idle.connection, self._serve(errand))

    def _end(self, idle: IdleConnection, *, lingering: bool = False) -> None:
        self._forget(idle)
        self._running().end(idle.connection, lingering=lingering)

    # Deadlines

    def _begin(self, keep_alive: float) -> None:
        self._fresh = Deadlines(min(keep_alive, HEADER_DEADLINE))  # nothing was received yet
        self._idle = Deadlines(keep_alive)  # `_move_used` corrects the order of those used since

    def adopt(self, keep_alive: float) -> None:
        """Keep connections for so many seconds that become idle from now on."""
        self._move_used()
        self._before = [listed for listed in (*self._before, self._fresh, self._idle) if listed]
        self._begin(keep_alive)

    def _lists(self) -> tuple[Deadlines, ...]:
        return (*self._before, self._fresh, self._partial, self._waiting, self._idle)

    def _list(self, idle: IdleConnection, listed: Deadlines | None, since: float = inf) -> None:
        """Move a connection to other deadlines; None: it has none."""
        if idle.listed is not None:
            del idle.listed[idle]
        idle.listed = listed
        if listed is not None:
            idle.idle_since = listed[idle] = min(since, trio.current_time())
            self._wake(idle.idle_since + listed.limit)

    def _next_deadline(self) -> float:
        return min((next(iter(each.values())) + each.limit for each in self._lists() if each), default=inf)

    def _wake(self, when: float) -> None:
        """Wake `run` at this time at the latest."""
        self._sleep.deadline = min(self._sleep.deadline, when)

    def _move_used(self) -> None:
        """Bring the connection that is idle longest to the front of `_idle`."""
        while self._idle:
            idle, since = next(iter(self._idle.items()))
            if idle.idle_since == since:
                return
            del self._idle[idle]
            self._idle[idle] = idle.idle_since

    def _close_overdue(self) -> None:
        now = trio.current_time()
        for listed in self._lists():
            while listed:
                first, since = next(iter(listed.items()))
                if since + listed.limit > now:
                    break
                if listed is self._partial or listed is self._waiting:
                    self._hand_over(first, Errand(first.tls, first.data))
                elif first.idle_since > since:
                    self._move_used()
                else:
                    self.close(first)

    def oldest(self, fits: Callable[[str], bool]) -> tuple[float, Callable[[], bool]] | None:
        """Since when the connection is idle that is idle longest, of those whose peer fits; and its `close`."""
        self._move_used()
        for idle, since in chain.from_iterable(each.items() for each in (*self._before, self._idle)):
            if idle.idle_since == since and not idle.data and fits(idle.connection.peer):
                return since, partial(self.close, idle)
        return None

    def close(self, idle: IdleConnection) -> bool:
        """Close an idle connection, after one more look for a request that crosses the close.

        Returns:
            Whether it ends; False: there was a request.
        """
        turn = self._give_turn(idle, self._express.receive)
        if turn is not Turn.NOTHING:
            return turn in {Turn.GONE, Turn.LAST}
        if idle.tls is not None:
            self._hand_over(idle, Errand(idle.tls, b""))  # it sends the closing alert
        else:
            self._end(idle)
        return True

    def retire(self) -> None:
        """The door is closing: end idle connections. The others get tasks, which end them after their answers."""
        for idle in list(self._by_descriptor.values()):
            if idle.data:
                self._hand_over(idle, Errand(idle.tls, idle.data))
            else:
                self.close(idle)
        self._wake(-inf)

    # Turns

    async def run(self, tasks: Tasks, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until the door is closing and no connection is left. If cancelled, close all."""
        self._tasks = tasks
        task_status.started()
        try:
            while self._by_descriptor or not self._traffic.context.terminated.is_set():
                with trio.CancelScope(deadline=-inf if self._ready else self._next_deadline()) as self._sleep:
                    await trio.lowlevel.wait_readable(self._poll.fileno())
                await trio.lowlevel.checkpoint_if_cancelled()
                self._serve_round()
                self._close_overdue()
        finally:
            for idle in list(self._by_descriptor.values()):
                self._end(idle)
            trio.lowlevel.notify_closing(self._poll.fileno())
            self._poll.close()

    def _serve_round(self) -> None:
        began = trio.current_time()
        for _ in range(len(self._ready)):
            idle = self._ready.popleft()
            if self._by_descriptor.get(idle.connection.socket.fileno()) is idle:
                self._give_turn(idle, self._express.answer if idle.data else self._express.receive)
            if trio.current_time() - began > _TURN / 2:
                break  # the others are first in the next round; connections that sent something now have the other half
        for descriptor, _ in self._poll.poll(0, _BURST):
            found = self._by_descriptor.get(descriptor)
            if found is not None and found.listed is self._waiting:
                self._end(found)  # the client has reset it: nothing else is reported
            elif found is not None and (not found.data or found.listed is self._partial):
                self._give_turn(found, self._express.receive)
            if trio.current_time() - began > _TURN:
                break  # the kernel reports the others again, before these
        if self._lane is not None:
            self._lane.ledger.flush()

    def _give_turn(self, idle: IdleConnection, take: Callable[[IdleConnection], Turn | Errand]) -> Turn | Errand:
        """Give a connection a turn, and do what follows from it."""
        try:
            turn = take(idle)
        except Exception as error:  # noqa: BLE001 -- a bug must not end the loop: a task serves the connection
            self._traffic.observer.error("lane_failed", door=self._traffic.door, peer=idle.connection.peer, exc=error)
            turn = Errand(idle.tls, idle.data or None)
        if turn is Turn.ANSWERED:
            self._rest(idle)
        elif isinstance(turn, Errand):
            self._hand_over(idle, turn)
        elif turn is Turn.PARTIAL:
            if idle.listed is not self._partial:
                self._list(idle, self._partial)
        elif turn is Turn.WAITS:
            self._list(idle, self._waiting)
            self._poll.modify(idle.connection.socket.fileno(), 0)  # it is read after this request
        elif turn is not Turn.NOTHING:
            self._end(idle, lingering=turn is Turn.LAST)
        return turn

    def _go_on(self, idle: IdleConnection) -> None:
        """What a connection has waited for may be here."""
        if idle.listed is self._waiting:
            self._list(idle, self._idle)
            self._poll.modify(idle.connection.socket.fileno(), select.EPOLLIN)
            self._ready.append(idle)
            self._wake(-inf)

    def _rest(self, idle: IdleConnection) -> None:
        """A request was answered."""
        idle.is_first = idle.has_waited = False
        if idle.listed is self._idle:
            idle.idle_since = trio.current_time()
        else:
            self._list(idle, self._idle)
        if idle.data:
            self._ready.append(idle)
            self._wake(-inf)
