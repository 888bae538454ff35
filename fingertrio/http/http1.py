"""Hypercorn's HTTP/1.1, made strict about what it takes and exact about how it ends; `http2` does so for the other.

Neither touches a socket: bytes come in by `handle`, answers leave by the `send` that they are given, and requests are
run in the connection's task group. What Hypercorn 0.18 leaves open is closed here, at the edge where a request becomes
visible, so that nothing behind it has to think of it:

- Requests that proxies and servers understand differently are refused: CONNECT, Content-Length together with
  Transfer-Encoding (RFC 9112 section 6.3), Transfer-Encoding in HTTP/1.0 (6.1), targets that are neither in origin nor
  in absolute form (3.2).
- Upgrades are taken out of the request, which is answered as if it had not asked; RFC 9110 section 7.8 lets a server do
  so. h2c was deprecated by RFC 9113 section 3.1. Hypercorn's WebSockets accept compression, and with it bombs, and say
  little of why they end: ours are an HTTP request like any other, which finds an `Upgrade` in its scope. An application
  that wants it puts a `UpgradedSession` there and answers 101; the connection is the session's from then on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import h11
import trio
from hypercorn.events import Event
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState as RequestState
from hypercorn.typing import Scope

_UPGRADE = frozenset({b"upgrade", b"http2-settings"})

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class UpgradedSession(Protocol):
    """What becomes of a connection that no longer speaks HTTP."""

    async def run(self, stream: Stream, early: bytes) -> bool:
        """Converse until one side has had enough, `early` being what was received already; the stream stays open.

        Returns whether closing the socket at once could destroy what was sent last.
        """
        ...

    def retire(self) -> None:
        """The door closes: come to an end. It may be called before `run`."""
        ...


class Upgrade:
    """A request's wish to go on with a WebSocket. Whoever answers it with 101 says by `session` what that is."""

    def __init__(self) -> None:
        self.session: UpgradedSession | None = None


class Upgraded(Event):
    """The answer 101 is on its way, and nothing else will be sent or understood here."""


def offered_upgrade(scope: Scope) -> Upgrade | None:
    """The request's upgrade, if it wished for one."""
    return scope.get("state", {}).get("upgrade")


def vet(request: h11.Request) -> h11.Request:
    """The request as the application may see it: its target in origin form, and without wishes for an upgrade.

    Raises:
        h11.RemoteProtocolError: it must not be answered otherwise than by the status in `error_status_hint`.
    """
    names = {name for name, _ in request.headers}
    if request.http_version not in {b"1.1", b"1.0"}:
        raise h11.RemoteProtocolError("not a version of HTTP/1", error_status_hint=505)
    if request.method == b"CONNECT":
        raise h11.RemoteProtocolError("this is no proxy", error_status_hint=501)
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
        raise h11.RemoteProtocolError("the length of the body is ambiguous")
    target = _origin_form(request)
    if target == request.target and not names & _UPGRADE:
        return request
    headers = [(name, value) for name, value in request.headers if name not in _UPGRADE]
    return h11.Request(method=request.method, target=target, headers=headers, http_version=request.http_version)


def _origin_form(request: h11.Request) -> bytes:
    target = request.target
    if target.startswith(b"/"):
        return target
    if target == b"*" and request.method == b"OPTIONS":
        return b"/"
    scheme, found, rest = target.partition(b"://")
    if not found or scheme.lower() not in {b"http", b"https"}:
        raise h11.RemoteProtocolError("the target is not a path")
    path = b"/".join(rest.partition(b"/")[2:])
    return b"/" + path


class _StrictConnection(h11.Connection):
    """An h11 connection that hands on vetted requests only."""

    upgrade: Upgrade | None = None  # of the last request

    def next_event(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        event = super().next_event()
        if not isinstance(event, h11.Request):
            return event
        self.upgrade = Upgrade() if _wants_websocket(event) else None
        return vet(event)


def _wants_websocket(request: h11.Request) -> bool:
    """Whether the headers say so that ask for an upgrade of whatever kind (RFC 9110 section 7.8)."""
    said = {b"connection": b"", b"upgrade": b""}
    for name, value in request.headers:
        if name in said:
            said[name] += b"," + value.lower()
    wishes = {name: {token.strip() for token in value.split(b",")} for name, value in said.items()}
    return request.http_version == b"1.1" and b"upgrade" in wishes[b"connection"] and b"websocket" in wishes[b"upgrade"]


class Http1(H11Protocol):
    """HTTP/1.1 and 1.0.

    Attributes:
        session: to whom the connection is to be handed over, once `Upgraded` has been sent.
    """

    connection: _StrictConnection

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connection = _StrictConnection(h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size)
        self.session: UpgradedSession | None = None

    @property
    def answering(self) -> bool:
        """Whether a request has been taken and its answer is not finished."""
        return self.stream is not None

    @property
    def early(self) -> bytes:
        """What was received behind the request that led to the session."""
        return self.connection.trailing_data[0]

    async def stream_send(self, event: StreamEvent) -> None:
        if self.session is not None:  # the rest of an answer that has none
            return
        if isinstance(event, Response):
            if event.status_code == 101 and self.connection.upgrade is not None:
                await super().stream_send(event)
                self.session, self.stream = self.connection.upgrade.session, None
                await self.send(Upgraded())
                return
            if self.context.terminated.is_set():  # say that this answer is the last
                event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        await super().stream_send(event)

    async def _create_stream(self, request: h11.Request) -> None:
        self.connection_state = RequestState({"upgrade": self.connection.upgrade})
        await super()._create_stream(request)
