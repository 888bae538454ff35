"""The state of the program, for operators: an ASGI application with three routes.

    GET /metrics    the metrics, for Prometheus
    GET /healthz    200 "ok": the event loop runs. A program that does not answer should be restarted
    GET /readyz     200 or 503: whether queries are answered; the JSON body lists everything that is degraded

It listens on addresses of its own, because below the root of the web front end every word may be a user's name, and
behind a proxy on the same machine all clients come from loopback. Requests are not logged: monitoring sends them all
day.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from fingertrio.frontends.admin.prometheus import CONTENT_TYPE, Exposition
from fingertrio.observe.metrics import Metrics

_TEXT = "text/plain; charset=utf-8"

# RFC 9110 section 9.1: other methods are not implemented (501).
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})

_Response = tuple[int, bytes, str]  # status, body, Content-Type


class AdminApp:
    """An application for any ASGI server.

    Args:
        metrics: the numbers and conditions to show.
        probes: are awaited before readiness is reported; each updates `metrics.conditions`.
        version: of this program.
        clock: the clock of `metrics.conditions`.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        probes: Sequence[Callable[[], Awaitable[None]]],
        version: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._probes = probes
        self._clock = clock
        self._exposition = Exposition(metrics, version=version)

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Handle one request, or the lifespan events."""
        if scope["type"] == "lifespan":
            await _handle_lifespan(receive, send)
        elif scope["type"] == "http":
            status, body, content_type = await self._answer(scope["method"], scope["path"])
            headers = [
                (b"content-type", content_type.encode()),
                (b"content-length", b"%d" % len(body)),
                (b"cache-control", b"no-store"),
                (b"x-content-type-options", b"nosniff"),
            ]
            if status == 405:
                headers.append((b"allow", b"GET, HEAD"))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": False})
        else:
            raise AssertionError(f"the server passes on no {scope['type']}")

    async def _answer(self, method: str, path: str) -> _Response:
        if method not in _METHODS:
            return 501, b"not implemented\n", _TEXT
        if path not in {"/metrics", "/healthz", "/readyz"}:
            return 404, b"available: /metrics, /healthz and /readyz\n", _TEXT
        if method not in {"GET", "HEAD"}:
            return 405, b"only GET and HEAD are allowed\n", _TEXT
        match path:
            case "/metrics":
                return 200, self._exposition.render(), CONTENT_TYPE
            case "/healthz":
                return 200, b"ok\n", _TEXT
        return await self._readiness()

    async def _readiness(self) -> _Response:
        for probe in self._probes:
            await probe()
        now = self._clock()
        degraded = [
            {
                "what": what,
                "essential": condition.essential,
                "reason": condition.reason,
                "seconds": round(now - condition.since, 1),
            }
            for what, condition in self._metrics.conditions.items()
        ]
        ready = self._metrics.ready
        document = {"ready": ready, "degraded": degraded}
        return 200 if ready else 503, json.dumps(document, indent=2).encode() + b"\n", "application/json"


async def _handle_lifespan(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
