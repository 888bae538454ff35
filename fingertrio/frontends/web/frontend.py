"""The web door: the application with pages, JSON, XML-RPC and the live feed, behind its gate, on Hypercorn."""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import trio
from hypercorn.typing import ASGIFramework

from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.gate import Gate
from fingertrio.frontends.web.hypercorn import KEEP_ALIVE, HttpFrontend
from fingertrio.frontends.web.live import LivePolicy, live_blueprint
from fingertrio.frontends.web.live_hub import LiveHub
from fingertrio.frontends.web.peers import RateLimit, TrustedProxies
from fingertrio.net.limits import ConnectionCaps, Network, RateLimiter
from fingertrio.observe import Observer
from fingertrio.service import FingerService


class WebFrontend(HttpFrontend):
    """Serves pages, JSON, XML-RPC and the live feed on bound sockets.

    Args:
        service: what is asked.
        observer: told of every request.
        rate: how often one address may ask.
        trusted_proxies: whose X-Forwarded headers are believed; see `peers`.
        live: who may watch, and how many.
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
        live: LivePolicy | None = None,
        certfile: Path | None = None,
        keyfile: Path | None = None,
        keep_alive: float = KEEP_ALIVE,
    ) -> None:
        self._make_hub = partial(LiveHub, service, observer)
        self._hub = self._make_hub()
        policy = live or LivePolicy()

        def make_app() -> ASGIFramework:
            app: ASGIFramework = create_app(service, observer, live=live_blueprint(self._hub, observer, policy))
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

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """See `HttpFrontend.serve`. Whoever watches when it stops is told so at once."""
        self._hub = self._make_hub()  # numbers of the run before mean nothing: who knows what was missed since
        async with trio.open_nursery() as nursery:
            await nursery.start(self._hub.run)
            await super().serve(stopping, task_status=task_status)
            nursery.cancel_scope.cancel()
