"""The outermost layer of the web application: one line in the log for every request, whatever became of it."""

from __future__ import annotations

from dataclasses import dataclass

import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)

from fingertrio.observe.observer import Observer

# Characters of a request's target in the log. Hypercorn takes lines a hundred times as long.
_TARGET_LIMIT = 200

_NOTE = "fingertrio.note"  # in the ASGI scope, which may carry more than the server put in


@dataclass(frozen=True, slots=True)
class _Note:
    outcome: str = "ok"
    door: str = "http"
    asked: str | None = None


def note_outcome(scope: Scope, outcome: str) -> None:
    """For handlers: what the log says of this request where the status code is 200 and does not tell it all."""
    scope[_NOTE] = _Note(outcome)  # type: ignore[literal-required]  # not a key that the server knows


def note_question(scope: Scope, door: str, asked: str, outcome: str) -> None:
    """For handlers of a protocol within HTTP: the question was one of that, and is logged and counted as such only."""
    scope[_NOTE] = _Note(outcome, door, asked)  # type: ignore[literal-required]  # as above


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
            note: _Note = scope.get(_NOTE) or _Note()  # type: ignore[assignment]  # nobody else writes there
            self._observer.query(
                note.door,
                client[0] if client else "unix",
                f"{scope['method']} {_target(scope['raw_path'], scope['query_string'])}"
                if note.asked is None
                else note.asked,
                note.outcome if answer.outcome == "ok" else answer.outcome,
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
