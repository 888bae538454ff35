"""The [http] section."""

from __future__ import annotations

from collections.abc import Callable

from fingertrio.frontend import Door, Frontend
from fingertrio.frontends.web.frontend import WebFrontend
from fingertrio.frontends.web.live import LivePolicy
from fingertrio.net.limits import ConnectionCaps
from fingertrio.sections import HttpSection


class _Http:
    reloadable = frozenset({"certfile", "keyfile"})

    def __init__(self, options: HttpSection, door: Door) -> None:
        self._frontend = WebFrontend(
            service=door.service,
            observer=door.observer,
            listeners=door.listeners,
            caps=door.caps,
            rate=door.queries,
            trusted_proxies=options.trusted_proxies,
            live=LivePolicy(
                caps=ConnectionCaps(total=options.max_watchers, per_address=options.max_watchers_per_address),
                origins=options.allowed_origins,
            ),
            certfile=options.certfile,
            keyfile=options.keyfile,
            keep_alive=options.keep_alive,
        )
        self.serve = self._frontend.serve

    def prepare(self, options: HttpSection) -> Callable[[], None]:
        return self._frontend.prepare_certificate(options.certfile, options.keyfile)


def open_http(options: HttpSection, door: Door) -> Frontend:
    """Pages, JSON under /api, XML-RPC at /RPC2, and the live feed at /api/watch."""
    return _Http(options, door)
