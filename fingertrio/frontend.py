"""The contract between fingertrio and a front end: what it is given, and what it gives. For whoever opens another door.

A front end is any object with `serve`; what else it can do is a capability, a protocol of its own. It is *opened* by a
function of two arguments: its options, annotated with a dataclass or a pydantic model, by which the TOML section of its
name is checked, and its `Door`. The function is published in the entry-point group `fingertrio.frontends`, under the
name of the section.

It is imported before privileges are dropped and called afterwards, once the backend is open. Where its options are a
`ListeningSection`, the sockets of `listen` have been bound by then, or were passed by the service manager. ValueError
and OSError that it raises are told to the operator as mistakes in its section.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import trio

from fingertrio.config.sections import ListeningSection
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.server import SEND_DEADLINE, Connection, Handler, Lane, Server
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService

__all__ = ["SEND_DEADLINE", "Connection", "Door", "Frontend", "Handler", "Lane", "ListeningSection", "TakesOptions"]


@runtime_checkable
class Frontend(Protocol):
    """The one thing every front end can do."""

    async def serve(self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]]) -> None:
        """Serve until `stopping` is set, then finish what is in flight and return.

        `task_status.started` is called with the addresses when it can really serve. It is called again after a failure.
        """
        ...


@runtime_checkable
class TakesOptions(Protocol):
    """Can take other options while it serves, when the configuration is read again (`fingertrio.server.reload`).

    Attributes:
        reloadable: the keys of its section that it can take. The caps and rates of its door change without it.
    """

    reloadable: Collection[str]

    def prepare(self, options: Any) -> Callable[[], None]:
        """Do all that may fail (and raise ValueError or OSError) and return what makes the change, which cannot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What a front end is given.

    Attributes:
        name: of its section; it reports under it.
        service: what it asks.
        observer: what it tells: `query` for each question, `refused` where a limit acted, `info`, `warning`, `error`.
        listeners: bound, listening sockets, which stay open when it is restarted; empty where it does not listen.
        caps: how many connections may be open at once.
        queries: how often one address may ask.
        writes: how often one address may set a status.
    """

    name: str
    service: FingerService
    observer: Observer
    listeners: Sequence[socket.socket]
    caps: ConnectionCaps
    queries: RateLimiter
    writes: RateLimiter

    def server(self, handler: Handler, *, lane: Lane | None = None, refusal: bytes = b"") -> Server:
        """The accept loop behind which our own TCP doors stand; it is a `Frontend`.

        Args:
            handler: called with each `Connection`, in a task of its own, which is closed as it should be afterwards.
            lane: answers at once what it can, from the accept loop; `net.server` tells why.
            refusal: what is said to whom a limit keeps out, in the protocol's own words.
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
