"""The web door: the application with pages, JSON and XML-RPC, behind its gate, on Hypercorn."""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence
from pathlib import Path

from hypercorn.typing import ASGIFramework

from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.gate import Gate
from fingertrio.frontends.web.hypercorn import KEEP_ALIVE, HttpFrontend
from fingertrio.frontends.web.peers import RateLimit, TrustedProxies
from fingertrio.net.limits import ConnectionCaps, Network, RateLimiter
from fingertrio.observe import Observer
from fingertrio.service import FingerService


class WebFrontend(HttpFrontend):
    """Serves pages, JSON and XML-RPC on bound sockets.

    Args:
        service: what is asked.
        observer: told of every request.
        rate: how often one address may ask.
        trusted_proxies: whose X-Forwarded headers are believed; see `peers`.
        listeners, caps, certfile, keyfile, keep_alive: see `HttpFrontend`, whose errors it raises too.
    """

    def __init__(
        self,
        *,
        service: FingerService,
        observer: Observer,
        listeners: Sequence[socket.socket],
        caps: ConnectionCaps,
        rate: RateLimiter | None = None,
        trusted_proxies: Collection[Network | str] = (),
        certfile: Path | None = None,
        keyfile: Path | None = None,
        keep_alive: float = KEEP_ALIVE,
    ) -> None:
        def make_app() -> ASGIFramework:
            app: ASGIFramework = create_app(service, observer)
            if rate is not None:
                app = RateLimit(app, rate, observer)
            app = Gate(app, observer)
            return TrustedProxies(app, trusted_proxies) if trusted_proxies else app

        super().__init__(
            make_app,
            door="http",
            observer=observer,
            listeners=listeners,
            caps=caps,
            certfile=certfile,
            keyfile=keyfile,
            keep_alive=keep_alive,
        )
