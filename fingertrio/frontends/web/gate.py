"""The outermost layer of the web application: one line in the log for every request, whatever became of it."""

from __future__ import annotations

import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)

from fingertrio.observe import Observer

# Characters of a request's target in the log. Hypercorn takes lines a hundred times as long.
_TARGET_LIMIT = 200

_OUTCOME = "fingertrio.outcome"  # in the ASGI scope, which may carry more than the server put in


def note_outcome(scope: Scope, outcome: str) -> None:
    """For handlers: what the log says of this request where the status code is 200 and does not tell it all."""
    scope[_OUTCOME] = outcome  # type: ignore[literal-required]  # not a key that the server knows


class Gate:
    """An ASGI application before another."""

    def __init__(self, app: ASGIFramework, observer: Observer) -> None:
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":  # the life span; `protocols` lets no WebSocket through
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, counts=scope["method"] != "HEAD")
        begun = trio.current_time()
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            answer.status = 500  # which is what Hypercorn makes of it
            raise
        finally:
            client = scope["client"]
            self._observer.query(
                "http",
                client[0] if client else "unix",
                f"{scope['method']} {_target(scope['raw_path'], scope['query_string'])}",
                answer.outcome if answer.outcome != "ok" else str(scope.get(_OUTCOME, "ok")),
                trio.current_time() - begun,
                answer.size,
            )
            self._observer.flush()


class _Answer:
    """What is sent for one request, on its way through."""

    def __init__(self, send: ASGISendCallable, *, counts: bool) -> None:
        self._send = send
        self._counts = counts  # whether a body that is sent goes out
        self.status = 0
        self.size = 0

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.size += len(message.get("body", b"")) * self._counts
        await self._send(message)

    @property
    def outcome(self) -> str:
        """The observer's word for the status code; a client that left before its answer is its own fault: "bad"."""
        if self.status == 404:
            return "unknown"
        if self.status == 0 or 400 <= self.status < 500:
            return "bad"
        return "error" if self.status >= 500 else "ok"


def _target(path: bytes, query: bytes) -> str:
    target = path + b"?" + query if query else path
    return target[:_TARGET_LIMIT].decode("latin-1") + ("..." if len(target) > _TARGET_LIMIT else "")
