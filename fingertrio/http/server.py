"""An HTTP door: our accept loop in front, HTTP/1 and HTTP/2 in the middle, any ASGI application behind.

The door is a `net.server.Server` like every other, with its limits and its lingering close, and passes each connection
to `HttpConnection`. From Hypercorn come the ASGI side of a request (`exchange`) and of the application's life span.
Hypercorn's own server would take over the listening sockets, the signals and the nursery.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable, Sequence

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.trio.lifespan import Lifespan
from hypercorn.typing import ASGIFramework

from fingertrio.http.connection import HttpConnection
from fingertrio.http.errand import Errand
from fingertrio.http.idle import IdlePool
from fingertrio.http.lane import Lane
from fingertrio.http.limits import KEEP_ALIVE, MEMORY, Budgets
from fingertrio.http.output import Stream
from fingertrio.http.tls import BUSY_ALERT
from fingertrio.http.traffic import Traffic
from fingertrio.net.connection import Connection
from fingertrio.net.keeper import Handler
from fingertrio.net.limits import ConnectionCaps
from fingertrio.net.proxies import TrustedProxies
from fingertrio.net.server import Server
from fingertrio.observe.observer import Observer

# Seconds for a TLS handshake: two round trips and some arithmetic.
_HANDSHAKE = 10.0

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"


class HttpFrontend:
    """Serves an ASGI application on bound sockets.

    Args:
        make_app: makes the application, a fresh one at each start: Quart's cannot be served twice.
        door: the name of the front end in reports.
        observer: receives connections, refusals and failures. The application reports requests.
        listeners: bound, listening, non-blocking.
        caps: limits of open connections.
        tls: makes this an https door, with HTTP/2 for clients that offer it; see `tls.make_tls_context`.
        keep_alive: seconds that an idle connection is kept. At a limit of `caps`, the one idle longest is closed early.
        memory: bytes that all clients may occupy together; see `limits.Budgets`.
        lane: the responses of the application that may be repeated.
        proxies: which peers send the PROXY header, before TLS and HTTP; see `net.server.Server.trust`.
    """

    def __init__(
        self,
        make_app: Callable[[], ASGIFramework],
        *,
        door: str,
        observer: Observer,
        listeners: Sequence[socket.socket],
        caps: ConnectionCaps,
        tls: ssl.SSLContext | None = None,
        keep_alive: float = KEEP_ALIVE,
        memory: int = MEMORY,
        lane: Lane | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._lane = lane
        self._server: Server | None = None  # of the present run
        self._header_senders = proxies
        self._pool: IdlePool | None = None  # of the present run
        self._make_app = make_app
        self._door = door
        self._observer = observer
        self._listeners = listeners
        self._caps = caps
        self._tls = tls
        self._config = make_config(observer, keep_alive)
        self._budgets = Budgets()
        self._budgets.resize(memory)

    def adopt_transport(
        self, *, tls: ssl.SSLContext | None, keep_alive: float, memory: int, proxies: TrustedProxies | None = None
    ) -> None:
        """Use another `tls` and `proxies` for new connections, another `keep_alive` for idle ones, and `memory`.

        No connection is dropped.
        """
        self._tls = tls
        self._header_senders = proxies
        if self._server is not None:
            self._server.trust(proxies)
        self._config.keep_alive_timeout = keep_alive
        if self._pool is not None:
            self._pool.adopt(keep_alive)
        self._budgets.resize(memory)
        if self._lane is not None:
            self._lane.clear()

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stopping` is set, then close idle connections and return when all requests are answered.

        `task_status.started` gets the URLs once requests are answered. After a cancellation this ends within a second,
        whatever the clients do.
        """
        app = ASGIWrapper(self._make_app())
        if self._lane is not None:
            self._lane.clear()
        lifespan = Lifespan(app, self._config, {})
        traffic = Traffic(app, self._config, self._door, self._observer, self._budgets)

        serve = self._handlers(traffic)
        self._pool = pool = IdlePool(traffic, self._lane, serve, lambda: self._tls is not None)

        async def retire() -> None:
            await stopping.wait()
            await traffic.retire()

        self._server = server = Server(
            self._door,
            self._listeners,
            serve(Errand(is_new=True)),
            reports=self._observer,
            caps=self._caps,
            keeper=pool,
            refusal=_TOO_MANY if self._tls is None else BUSY_ALERT,
            reclaim=traffic.reclaim,
            proxies=self._header_senders,
        )
        scheme = "http" if self._tls is None else "https"
        async with trio.open_nursery() as nursery:
            await nursery.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            nursery.start_soon(traffic.hurry_when_cancelled)
            nursery.start_soon(traffic.follow_rounds)
            nursery.start_soon(retire)
            async with trio.open_nursery() as serving:
                addresses: list[str] = await serving.start(server.serve, stopping)
                task_status.started([a if a.startswith("unix:") else f"{scheme}://{a}" for a in addresses])
            await lifespan.wait_for_shutdown()
            nursery.cancel_scope.cancel()

    def _handlers(self, traffic: Traffic) -> Callable[[Errand], Handler]:
        """Makes the handler for a connection that needs a task."""

        def serve(errand: Errand) -> Handler:
            async def handle(connection: Connection) -> None:
                try:
                    await traffic.wait_for_turn()  # thousands may connect at once
                    stream: Stream = connection.stream if errand.tls is None else errand.tls
                    if errand.is_new and self._tls is not None:
                        stream = trio.SSLStream(connection.stream, self._tls, server_side=True, https_compatible=True)
                    await HttpConnection(traffic, connection, stream, errand).run()
                finally:
                    if errand.held:  # cancelled before it was sent
                        self._budgets.answers.release(errand.held)

            return handle

        return serve


def make_config(observer: Observer, keep_alive: float) -> Config:
    """The part of Hypercorn's configuration that its ASGI code reads, and the times of our connections."""
    config = _Config(observer)
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = keep_alive
    config.ssl_handshake_timeout = _HANDSHAKE
    return config


class _Config(Config):
    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self._observer = observer

    @property
    def log(self) -> Logger:
        return _Log(self._observer, self)


class _Log(Logger):
    """Hypercorn's log, written to ours."""

    def __init__(self, observer: Observer, config: Config) -> None:
        super().__init__(config)
        self._observer = observer

    async def exception(self, message: str, *_args: object, **_kwargs: object) -> None:
        self._observer.error("http_application_failed", reason=message, exc=sys.exception())

    async def warning(self, message: str, *_args: object, **_kwargs: object) -> None:
        self._observer.warning("http_server", reason=message)
