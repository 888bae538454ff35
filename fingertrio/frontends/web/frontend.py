"""The web door: the application with pages, JSON and XML-RPC, behind its gate, on Hypercorn."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.gate import Gate
from fingertrio.frontends.web.hypercorn import KEEP_ALIVE, HttpFrontend
from fingertrio.net.limits import ConnectionCaps
from fingertrio.observe import Observer
from fingertrio.service import FingerService


class WebFrontend(HttpFrontend):
    """Serves pages, JSON and XML-RPC on bound sockets.

    Args:
        service: what is asked.
        observer: told of every request.
        listeners, caps, certfile, keyfile, keep_alive: see `HttpFrontend`, whose errors it raises too.
    """

    def __init__(
        self,
        *,
        service: FingerService,
        observer: Observer,
        listeners: Sequence[socket.socket],
        caps: ConnectionCaps,
        certfile: Path | None = None,
        keyfile: Path | None = None,
        keep_alive: float = KEEP_ALIVE,
    ) -> None:
        super().__init__(
            lambda: Gate(create_app(service, observer), observer),
            door="http",
            observer=observer,
            listeners=listeners,
            caps=caps,
            certfile=certfile,
            keyfile=keyfile,
            keep_alive=keep_alive,
        )
