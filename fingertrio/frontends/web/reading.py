"""Request bodies are read when a handler asks for them.

Quart receives from the start of every request. A client that sends `Expect: 100-continue` would then be invited to send
a body (RFC 9110 section 10.1.1) that the headers already show to be too large or of the wrong type. So for these
requests `LateReading` holds back `receive` until a handler reads the body, which `LateRequest` reports.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, Scope
from quart_trio.wrappers.request import TrioBody, TrioRequest

from fingertrio.frontends.web.gate import scope_extras

_WANTED = "fingertrio.body_wanted"  # in the scope: an event, set when a handler reads the body


class LateReading:
    """ASGI middleware before an application whose requests are `LateRequest`s."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http" or not any(name == b"expect" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        wanted = scope_extras(scope)[_WANTED] = trio.Event()

        async def receive_late() -> ASGIReceiveEvent:
            await wanted.wait()
            return await receive()

        await self._app(scope, receive_late, send)


class _LateBody(TrioBody):
    wanted: trio.Event | None = None

    def __aiter__(self) -> _LateBody:
        self._report()
        return self

    def __await__(self) -> Generator[Any, None, Any]:
        self._report()
        return super().__await__()

    def _report(self) -> None:
        if self.wanted is not None:
            self.wanted.set()


class LateRequest(TrioRequest):
    """A request that reports when its body is read."""

    body_class = _LateBody

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._endpoint: str | None = None
        self._blueprints: list[str] = []
        super().__init__(*args, **kwargs)
        if isinstance(self.body, _LateBody):
            self.body.wanted = scope_extras(self.scope).get(_WANTED)

    @property
    def blueprints(self) -> list[str]:
        """The blueprint of the route. Quart looks three times for each request, and computes it each time."""
        endpoint = self.endpoint
        if endpoint != self._endpoint:
            self._endpoint, self._blueprints = endpoint, list(super().blueprints)
        return self._blueprints
