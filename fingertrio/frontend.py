"""The contract between fingertrio and a front end, for authors of front ends.

A front end is any object with `serve`; each further capability is a protocol of its own. A function with two arguments
*opens* it: its options, annotated with a dataclass or a pydantic model, which validates the TOML section, and its
`Door`. The function is published in the entry-point group `fingertrio.frontends`, under the name of the section.

The function is imported before privileges are dropped, and called afterwards, when the backend is open. If its options
are a `ListeningSection`, the sockets of `listen` are bound by then, or the service manager has passed them. ValueError
and OSError that it raises are reported to the operator as mistakes in its section.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import trio

from fingertrio.accounts.accounts import Accounts
from fingertrio.config.places import state_directory
from fingertrio.config.sections import ListeningSection, WebFingerSection
from fingertrio.net.address import Address
from fingertrio.net.connection import Connection
from fingertrio.net.keeper import Handler
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.server import SEND_DEADLINE, Lane, Server
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService

__all__ = [
    "SEND_DEADLINE",
    "Check",
    "ChecksItself",
    "Connection",
    "Door",
    "Frontend",
    "Handler",
    "Lane",
    "ListeningSection",
    "TakesOptions",
]


@runtime_checkable
class Frontend(Protocol):
    """What every front end can do."""

    async def serve(self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]]) -> None:
        """Serve until `stopping` is set, then finish the requests in progress and return.

        Call `task_status.started` with the addresses once clients are served. `serve` is called again after a failure.
        """
        ...


@runtime_checkable
class TakesOptions(Protocol):
    """Can change options while it serves, when the configuration is reloaded (`fingertrio.server.reload`).

    Attributes:
        reloadable: the keys of its section that can change. The limits of its door change without its help.
    """

    reloadable: Collection[str]

    def prepare(self, options: Any) -> Callable[[], None]:
        """Do everything that can fail, raising ValueError or OSError, and return a function that applies the change."""
        ...


Check = Callable[[], Awaitable[None]]


@runtime_checkable
class ChecksItself(Protocol):
    """Can check whether it is able to answer, for /readyz."""

    async def check(self) -> None:
        """Render an answer as for a client, without the backend. Raise the exception that a client would suffer from.

        It is called while the front end serves, at every readiness probe, and has five seconds.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What a front end receives when it is opened.

    Attributes:
        name: of its section, for logs and metrics.
        service: answers queries and sets statuses.
        accounts: turns a client's proof into the writer that the service asks for.
        observer: takes reports: `query` for each query, `refused` when a limit acts, `info`, `warning`, `error`.
        listeners: bound, listening sockets, which stay open when it is restarted; empty if it does not listen.
        caps: how many connections may be open at once.
        queries: how often one address may send a query.
        writes: how often one address may set a status.
        checks: the checks of all open front ends (`ChecksItself`) by name, for the admin front end.
        neighbours: where each front end listens, by its name, so that one can say how to reach another.
        presets: statuses with a name: "status", and "for" or "until" where there is one.
        webfinger: which accounts WebFinger describes.
        state: the directory for files that a front end keeps: that of the database, if there is one.
    """

    name: str
    service: FingerService
    accounts: Accounts
    observer: Observer
    listeners: Sequence[socket.socket]
    caps: ConnectionCaps
    queries: RateLimiter
    writes: RateLimiter
    checks: Mapping[str, Check] = field(default_factory=dict)
    neighbours: Mapping[str, Sequence[Address]] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    webfinger: WebFingerSection = field(default_factory=WebFingerSection)
    state: Path = field(default_factory=state_directory)

    def server(self, handler: Handler, *, lane: Lane | None = None, refusal: bytes = b"") -> Server:
        """The accept loop of our own TCP front ends; it is a `Frontend`.

        Args:
            handler: called with each `Connection`, in a task of its own; the server closes the connection correctly.
            lane: answers from the accept loop, without a task, what is in memory; see `net.server`.
            refusal: bytes for a client that a limit refuses, in the protocol's own format.
        """
        return Server(
            self.name,
            self.listeners,
            handler,
            lane=lane,
            reports=self.observer,
            caps=self.caps,
            rate=self.queries,
            refusal=refusal,
        )
