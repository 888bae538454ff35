"""The admin door: how the program is, for who runs it. An ASGI application of three answers.

    GET /metrics    the numbers, for Prometheus
    GET /healthz    200 "ok": the event loop turns. Who gets no answer should restart the program
    GET /readyz     200 or 503: whether questions are answered; and as JSON, everything that is degraded

It has addresses of its own, and is nowhere else: below the web door's root every word may be a user's name, and behind
a proxy on the same machine every stranger comes from loopback. Nothing asked here is logged, since machines ask for it
all day.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from fingertrio.frontends.admin.prometheus import CONTENT_TYPE, Exposition
from fingertrio.observe.metrics import Metrics

_TEXT = "text/plain; charset=utf-8"

_Answer = tuple[int, bytes, str]  # status, body, its type


class AdminApp:
    """An application for any ASGI server.

    Args:
        metrics: what is shown.
        probe: asks the backend anew if it was failing, and says so in `metrics.conditions` if it does not any more.
        version: ours.
        clock: the one by which `metrics.conditions` began.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        probe: Callable[[], Awaitable[None]],
        version: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._probe = probe
        self._clock = clock
        self._exposition = Exposition(metrics, version=version)

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One request, or the application's life span, in which nothing happens."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
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
            raise AssertionError(f"the server lets no {scope['type']} through")

    async def _answer(self, method: str, path: str) -> _Answer:
        if method not in {"GET", "HEAD"}:
            return 405, b"this can only be looked at\n", _TEXT
        match path:
            case "/metrics":
                return 200, self._exposition.render(), CONTENT_TYPE
            case "/healthz":
                return 200, b"ok\n", _TEXT
            case "/readyz":
                return await self._readiness()
        return 404, b"here are /metrics, /healthz and /readyz\n", _TEXT

    async def _readiness(self) -> _Answer:
        await self._probe()
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


async def _live(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
