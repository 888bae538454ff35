"""Run the application for each request of a connection. Neither the application nor the connection can block the other.

Hypercorn's `HTTPStream` is the ASGI side of a request: it builds the scope, checks the messages that the application
sends, and answers 500 if the application fails. It passes the client's messages through a queue of ten and reports
`http.disconnect` in the same queue, when the client is gone and also after every answer. Two things would go wrong:

- An application that has answered does not read the rest of the body. The queue fills, the reader of the connection
  blocks, and so does the application's own task when it reports the end of the answer.
- quart-trio cancels a request at a disconnect. After the answer it would cancel the code that closes or reuses the
  connection, and `Connection: close`, HTTP/1.0 and the keep-alive time-out would have no effect.

So nothing enters the queue once the last part of an answer is being sent, and a task that waits to put is released.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, Self, cast

import trio
from hypercorn.config import Config
from hypercorn.protocol.events import Event, Request
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    ConnectionState,
    Scope,
)
from hypercorn.utils import parse_socket_addr

from fingertrio.http.limits import Budgets
from fingertrio.http.replay import EXTENSION, Recording
from fingertrio.http.traffic import Traffic
from fingertrio.http.upgrade import Takeover

_Send = Callable[[ASGISendEvent | None], Awaitable[None]]
_Put = Callable[[ASGIReceiveEvent], Awaitable[None]]


class Carrier(Protocol):
    """The connection below a protocol. Whatever `send` raises or drops, the protocol goes on and is then closed."""

    async def send(self, *parts: bytes | memoryview) -> None:
        """Send the parts one after the other, without anything between them."""
        ...

    def set_idle(self, *, idle: bool) -> None:
        """No request is being answered, or one is."""
        ...

    def end(self) -> None:
        """Close the connection; everything has been sent."""
        ...

    def abort(self) -> None:
        """Reset the connection: a truncated answer must not look complete."""
        ...

    def report(self, reason: str) -> None:
        """Count a refusal. `reason` is a metrics label."""
        ...

    def hand_over(self) -> None:
        """The head of the answer was sent. The connection belongs to the session."""
        ...


class Exchanges(TaskGroup):
    """The task group of one connection, in which the application runs for each request.

    Args:
        app: the application.
        context: knows whether the door is closing.
        budgets: the memory of the door.
        tls: whether the connection is encrypted.
        client, server: both addresses; None for a unix socket.
    """

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        budgets: Budgets,
        *,
        tls: bool,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
    ) -> None:
        super().__init__()
        self._app = app
        self._config = config
        self._context = context
        self._tls = tls
        self._client = client
        self._server = server
        self.budgets = budgets

    @property
    def closing(self) -> bool:
        """Whether the door is closing: each connection ends after the requests at work."""
        return self._context.terminated.is_set()

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """The fields that every response has, such as Date."""
        return self._config.response_headers(protocol)

    async def begin(
        self,
        request: Request,
        send: Callable[[Event], Awaitable[None]],
        *,
        takeover: Takeover | None = None,
        invite: Callable[[], Awaitable[None]] | None = None,
        recording: Recording | None = None,
    ) -> HTTPStream:
        """Start the application for a request.

        Args:
            request: the request, whose state is replaced.
            send: called with each part of the answer, and with `StreamClosed` when the application has ended.
            takeover: where the application puts the session that takes over after the head of the answer.
            invite: called before the application first waits for the body (100 Continue).
            recording: offered to the application, which may allow the response to be repeated.
        """
        stream = HTTPStream(
            self._app, self._config, self._context, self, self._tls, self._client, self._server, send, request.stream_id
        )
        state = ConnectionState({"takeover": takeover, "invite": invite, "recording": recording})
        await stream.handle(
            Request(
                request.stream_id, request.headers, request.http_version, request.method, request.raw_path, state=state
            )
        )
        return stream

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    async def spawn_app(self, app: AppWrapper, config: Config, scope: Scope, send: _Send) -> _Put:
        """Start the application. The result passes on what the client sends, until the request is answered.

        `send` gets each message of the application, and None when it has ended.
        """
        answered = False
        waiting: set[trio.CancelScope] = set()
        state = scope.get("state", {})
        invite: Callable[[], Awaitable[None]] | None = state.pop("invite", None)
        recording: Recording | None = state.pop("recording", None)
        if recording is not None and scope["type"] == "http":
            cast("dict[str, Any]", scope["extensions"])[EXTENSION] = recording

        async def send_and_watch(message: ASGISendEvent | None) -> None:
            nonlocal answered
            if message is None or (message["type"] == "http.response.body" and not message.get("more_body", False)):
                answered = True
                for wait in waiting:
                    wait.cancel()
            await send(message)
            if message is None and recording is not None:
                recording.finish()

        put = await super().spawn_app(app if invite is None else _inviting(app, invite), config, scope, send_and_watch)

        async def put_unless_answered(message: ASGIReceiveEvent) -> None:
            if answered:
                return
            with trio.CancelScope() as wait:
                waiting.add(wait)
                try:
                    await put(message)
                finally:
                    waiting.discard(wait)

        return put_unless_answered


def exchanges_of(traffic: Traffic, sock: trio.socket.SocketType, peer: str, *, tls: bool) -> Exchanges:
    """The exchanges of a connection. The socket's own peer may be a proxy; of `peer`, the port is not known."""
    return Exchanges(
        traffic.app,
        traffic.config,
        traffic.context,
        traffic.budgets,
        tls=tls,
        client=(peer, 0) if peer else None,
        server=parse_socket_addr(sock.family, sock.getsockname()),
    )


def _inviting(app: AppWrapper, invite: Callable[[], Awaitable[None]]) -> AppWrapper:
    """An application before whose first `receive` the client is invited to send the body (RFC 9110 section 10.1.1)."""

    async def run(
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., Any],
        call_soon: Callable[..., Any],
    ) -> None:
        invited = False

        async def receive_body() -> ASGIReceiveEvent:
            nonlocal invited
            if not invited:
                invited = True
                await invite()
            return await receive()

        await app(scope, receive_body, send, sync_spawn, call_soon)

    return run
