"""Connections without a task: what the accept loop and the front end that keeps them are for each other.

A task takes some 7 kB and, each time it is woken, 10 us. Where connections rest between requests, as in HTTP, one task
can wait for all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from fingertrio.net.connection import Connection

Handler = Callable[[Connection], Awaitable[None]]


class EndConnection(Protocol):
    """See `Tasks.end`."""

    def __call__(self, connection: Connection, *, lingering: bool) -> None: ...


class Tasks:
    """What a keeper does with its connections; made by the server."""

    def __init__(
        self, handlers: trio.Nursery, guarded: Callable[[Connection, Handler], Awaitable[None]], end: EndConnection
    ) -> None:
        self._handlers = handlers
        self._guarded = guarded
        self._end = end

    def start(self, connection: Connection, handler: Handler) -> None:
        """Start a task for a connection. It is no longer kept once that runs, unless the handler gives it back."""
        connection.kept = True  # this may be called by the handler of the task before
        self._handlers.start_soon(self._guarded, connection, handler)

    def end(self, connection: Connection, *, lingering: bool) -> None:
        """A kept connection has ended. `lingering`: the peer may not have read the last answer yet (`net.linger`)."""
        connection.kept = False
        self._end(connection, lingering=lingering)


class Keeper(Protocol):
    """Keeps connections that need no task at present, and gives them one when they do."""

    def take(self, connection: Connection) -> None:
        """Keep this new connection, which was counted. Called by the accept loop: must be quick, and must not raise."""
        ...

    async def run(self, tasks: Tasks, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the kept connections. Returns when the server stops and none is left."""
        ...
