"""What every front end has in common once it is opened, whoever wrote it: its door, with limits that can change."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from fingertrio.config import Config
from fingertrio.frontend import Door, Frontend, TakesOptions
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.observe import Observer
from fingertrio.plugins import FrontendPlugin
from fingertrio.sections import ListeningSection
from fingertrio.service import FingerService

_CAPS = ("max_connections", "max_connections_per_address")


class OpenDoor:
    """One front end that has been opened.

    Attributes:
        reloadable: the keys of its section whose change needs no restart.
    """

    def __init__(
        self,
        plugin: FrontendPlugin,
        config: Config,
        service: FingerService,
        observer: Observer,
        listeners: Sequence[socket.socket],
    ) -> None:
        limits, section = config.limits, config.doors[plugin.name]
        total, per_address = _caps(section)
        self._name = plugin.name
        self._door = Door(
            name=plugin.name,
            service=service,
            observer=observer,
            listeners=listeners,
            caps=ConnectionCaps(total=total, per_address=per_address),
            queries=RateLimiter(rate=limits.queries, burst=limits.query_burst, exempt=limits.exempt),
            writes=RateLimiter(rate=limits.writes, burst=limits.write_burst, exempt=limits.exempt),
        )
        self._frontend: Frontend = plugin.open(section, self._door)
        self.serve = self._frontend.serve
        self.reloadable = frozenset(
            [
                *(_CAPS if isinstance(section, ListeningSection) else ()),
                *(self._frontend.reloadable if isinstance(self._frontend, TakesOptions) else ()),
            ]
        )

    def prepare(self, config: Config) -> Callable[[], None]:
        """Its part of a reload (see `reload`)."""
        limits, section = config.limits, config.doors[self._name]
        frontend, door = self._frontend, self._door
        commit = frontend.prepare(section) if isinstance(frontend, TakesOptions) else None

        def change() -> None:
            door.caps.total, door.caps.per_address = _caps(section)
            door.queries.adjust(rate=limits.queries, burst=limits.query_burst, exempt=limits.exempt)
            door.writes.adjust(rate=limits.writes, burst=limits.write_burst, exempt=limits.exempt)
            if commit is not None:
                commit()

        return change


def _caps(section: object) -> tuple[int, int]:
    """Connections at once, and of these from one address. Who listens in a way of his own has the usual ones."""
    listening = section if isinstance(section, ListeningSection) else ListeningSection(listen=())
    return listening.max_connections, listening.max_connections_per_address
