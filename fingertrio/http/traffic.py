"""What the connections of one HTTP door share: turns, deadlines at the end, and which of them are idle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from math import inf
from typing import Protocol

import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper

from fingertrio.http.limits import Budgets
from fingertrio.http.replay import Recording
from fingertrio.http.tls import TlsStream
from fingertrio.net.connection import Connection
from fingertrio.net.limits import limit_key
from fingertrio.observe.observer import Observer

# Seconds of work on the input of connections before the rest of the program gets its turn.
_TURN = 0.004

# Connections that one round releases at most: what they do first, parsing a head, takes 50 us.
_BATCH_LIMIT = 64

# Connections without a task that are tried when one has to be closed: each may have to be answered instead.
_TRIES = 8

# Seconds that sends may continue after the door was cancelled. The program must end within a second of its grace, and
# the end of the interpreter takes up to two thirds of that.
_LAST_SENDS = 0.2


class Retires(Protocol):
    """A connection, as far as the others need to know it."""

    peer: str
    idle_since: float

    def retire(self) -> None: ...


class Pool(Protocol):
    """The connections without a task; see `idle.IdlePool`."""

    def oldest(self, fits: Callable[[str], bool]) -> tuple[float, Callable[[], bool]] | None: ...
    def retire(self) -> None: ...
    def offer(self, peer: str, data: bytes) -> tuple[bool, Recording | None]: ...
    def put_back(self, connection: Connection, tls: TlsStream | None, data: bytes, since: float) -> None: ...


class Traffic:
    """What the connections of one door share."""

    def __init__(self, app: AppWrapper, config: Config, door: str, observer: Observer, budgets: Budgets) -> None:
        self.app = app
        self.config = config
        self.door = door
        self.observer = observer
        self.budgets = budgets
        self.context = WorkerContext(None)
        self.connections: set[Retires] = set()
        self.idle: dict[Retires, None] = {}  # with a task; the one that is idle longest comes first
        self.pool: Pool  # set by the pool
        self._turns = trio.Lock()
        self._turn_began = inf  # of the first connection's work in this round
        self._round = trio.lowlevel.ParkingLot()
        self._waiting = trio.lowlevel.ParkingLot()
        self._batch = 1  # connections that one round releases
        self._sends: set[trio.CancelScope] = set()
        self._latest = inf

    async def retire(self) -> None:
        """Close idle connections, and the others after the request at work."""
        await self.context.terminated.set()
        for connection in list(self.connections):
            connection.retire()
        self.pool.retire()

    def reclaim(self, peer: str | None) -> bool:
        """Close the connection that is idle longest, of `peer` if given; False: there is none.

        One whose client has just sent a request is not idle. If it counted as closed, a client that asks and connects
        at once would get past every limit.
        """
        key = None if peer is None else limit_key(peer)

        @cache
        def fits(other: str) -> bool:
            return key is None or limit_key(other) == key

        for _ in range(_TRIES):
            found = self.pool.oldest(fits)
            connection = next((each for each in self.idle if fits(each.peer)), None)
            if connection is not None and (found is None or connection.idle_since < found[0]):
                connection.retire()
                del self.idle[connection]
                return True
            if found is None:
                return False
            if found[1]():
                return True
        return False

    async def hurry_when_cancelled(self) -> None:
        """Run in the door's nursery. Once that is cancelled, give the shielded sends a short deadline."""
        try:
            await trio.sleep_forever()
        finally:
            self._latest = trio.current_time() + _LAST_SENDS
            for scope in self._sends:
                self.limit(scope, inf)

    async def follow_rounds(self) -> None:
        """Run in the door's nursery: once in each round of Trio's loop, release some of the connections that wait.

        As many as make a round of `_TURN`, found by trying: a request is worked on in several rounds, beside others.
        """
        while True:
            if self._turn_began == inf:
                await self._round.park()
            began = self._turn_began
            while self._waiting:
                now = time.thread_time()
                self._batch = max(1, self._batch // 2) if now - began > _TURN else min(self._batch + 1, _BATCH_LIMIT)
                began = now
                self._waiting.unpark(count=self._batch)
                await trio.lowlevel.cancel_shielded_checkpoint()  # they run in the next round, and so does this task
                await trio.lowlevel.checkpoint_if_cancelled()
            self._turn_began = inf

    async def wait_for_turn(self) -> None:
        """Let the rest of the program run, if connections have worked for `_TURN` in this round of Trio's loop.

        Then `follow_rounds` releases those that wait here, first come, first served. A round for each request would be
        a fifth of its cost.
        """
        now = time.thread_time()  # of work, and not of waiting for a core
        if self._turn_began == inf:
            self._turn_began = now
            self._round.unpark()  # its task runs in the next round
        if self._waiting or now - self._turn_began > _TURN:
            await self._waiting.park()

    async def wait_for_round(self) -> None:
        """Wait before work that takes a millisecond or more and begins later. Each round releases one connection."""
        async with self._turns:
            pass

    def limit(self, scope: trio.CancelScope, seconds: float) -> None:
        """Give a send so many seconds from now."""
        scope.deadline = min(trio.current_time() + seconds, self._latest)

    @contextmanager
    def shielded(self) -> Iterator[trio.CancelScope]:
        """A scope for a send, which only `limit` can cancel."""
        with trio.CancelScope(shield=True, deadline=self._latest) as scope:
            self._sends.add(scope)
            try:
                yield scope
            finally:
                self._sends.discard(scope)
