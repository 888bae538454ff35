"""The outermost layer of the web application: it logs one line for every request, however the request ends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)

from fingertrio.frontends.web.replaying import leave_note
from fingertrio.observe.observer import Observer

# Characters of a request target in the log. Hypercorn accepts targets a hundred times as long.
_TARGET_LIMIT = 200

_NOTE = "fingertrio.note"


@dataclass(frozen=True, slots=True)
class _Note:
    outcome: str = "ok"
    door: str = "http"
    asked: str | None = None


def scope_extras(scope: Scope) -> dict[str, Any]:
    """The same scope, as the mutable mapping that ASGI specifies: middleware may add keys of its own."""
    return cast("dict[str, Any]", scope)


def note_outcome(scope: Scope, outcome: str) -> None:
    """For handlers: the outcome to log for this request, where status code 200 says too little."""
    scope_extras(scope)[_NOTE] = _Note(outcome)


def note_question(scope: Scope, door: str, asked: str, outcome: str) -> None:
    """For handlers of a protocol inside HTTP: the request is logged and counted under `door` instead of "http"."""
    scope_extras(scope)[_NOTE] = _Note(outcome, door, asked)


class Gate:
    """ASGI middleware that logs and counts requests."""

    def __init__(self, app: ASGIFramework, observer: Observer) -> None:
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":  # lifespan; the server turns WebSocket handshakes into HTTP requests
            await self._app(scope, receive, send)
            return
        response = _ResponseMeter(send, counts_body=scope["method"] != "HEAD")
        began = trio.current_time()
        try:
            await self._app(scope, receive, response.send)
        except Exception:
            response.status = 500  # Hypercorn answers 500
            raise
        finally:
            client = scope["client"]
            note: _Note = scope_extras(scope).get(_NOTE) or _Note()
            asked = note.asked
            if asked is None:
                asked = f"{scope['method']} {_target(scope['raw_path'], scope['query_string'])}"
            outcome = note.outcome if response.outcome == "ok" else response.outcome
            took = trio.current_time() - began
            self._observer.query(note.door, client[0] if client else "unix", asked, outcome, took, response.size)
            leave_note(scope, note.door, asked, outcome, response.size)
            self._observer.flush()


class _ResponseMeter:
    """Passes one response on, and keeps its status code and the size of its body."""

    def __init__(self, send: ASGISendCallable, *, counts_body: bool) -> None:
        self._send = send
        self._counts_body = counts_body  # False: the server drops the body (HEAD)
        self.status = 0
        self.size = 0

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.size += len(message.get("body", b"")) * self._counts_body
        await self._send(message)

    @property
    def outcome(self) -> str:
        """The observer's word for the status code. "bad" includes clients that disconnected before the response."""
        if self.status == 404:
            return "unknown"
        if self.status == 0 or 400 <= self.status < 500:
            return "bad"
        return "error" if self.status >= 500 else "ok"


# A token (`accounts.tokens`) that somebody put into an address by mistake.
_TOKEN = re.compile(rb"ft_[A-Za-z2-7]{52}")


def _target(path: bytes, query: bytes) -> str:
    target = path + b"?" + query if query else path
    if b"ft_" in target:
        target = _TOKEN.sub(b"ft_...", target)
    return target[:_TARGET_LIMIT].decode("latin-1") + ("..." if len(target) > _TARGET_LIMIT else "")
