"""An HTTP door: our accept loop in front, Hypercorn's protocols in the middle, any ASGI application behind.

Stock Hypercorn wants to own the listening sockets, the signals and the nursery. Here it owns none of them: the door is
a `net.server.Server` like every other, with its caps and its lingering close, and hands each connection to
`HttpConnection`. What is left of Hypercorn's server is done here: the application's life span, the configuration, the
log.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from functools import partial

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.trio.lifespan import Lifespan
from hypercorn.typing import ASGIFramework

from fingertrio.http.connection import HttpConnection, Traffic
from fingertrio.http.http1 import Stream
from fingertrio.net.limits import ConnectionCaps
from fingertrio.net.server import Connection, Server
from fingertrio.observe.observer import Observer

KEEP_ALIVE = 5.0  # seconds that an idle connection is kept, and the most that a request's headers may take

# Seconds for a TLS handshake: two round trips and some arithmetic.
_HANDSHAKE = 10.0

# Bytes of a request's line and headers. Browsers send one or two kilobytes; cookies, which make more, we have none.
_HEADER_LIMIT = 16 * 1024

# Answers at work on one HTTP/2 connection. A page of ours takes three requests, and each may be a list of a megabyte.
# RFC 9113 section 5.1.2 would have a hundred, for those who do much at once: they open another connection, and there
# the limits for connections count them.
_STREAMS = 4

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"


class HttpFrontend:
    """Serves an ASGI application on bound sockets.

    Args:
        make_app: makes the application, at each start a fresh one: Quart's cannot be served twice.
        door: the name under which it reports.
        observer: told of connections and of what fails; of requests, the application has to tell.
        listeners: bound, listening, non-blocking.
        caps: how many connections may be open at once.
        tls: makes it https, and HTTP/2 where the client likes; see `tls.make_tls_context`.
        keep_alive: seconds that an idle connection is kept.
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
    ) -> None:
        self._make_app = make_app
        self._door = door
        self._observer = observer
        self._listeners = listeners
        self._caps = caps
        self._tls = tls
        self._config = make_config(observer, keep_alive)

    def adopt_transport(self, *, tls: ssl.SSLContext | None, keep_alive: float) -> None:
        """Another `tls` for connections from now on; another `keep_alive` whenever a connection becomes idle.

        None is dropped.
        """
        self._tls = tls
        self._config.keep_alive_timeout = keep_alive

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stopping` is set, then close what is idle and return when the rest has been answered.

        `task_status.started` is called with the URLs once requests are answered. Cancelled, it ends within a second,
        whatever the clients do.
        """
        app = ASGIWrapper(self._make_app())
        lifespan = Lifespan(app, self._config, {})
        traffic = Traffic(app, self._config, self._door, self._observer)

        async def handle(connection: Connection) -> None:
            stream: Stream = connection.stream
            if self._tls is not None:
                stream = trio.SSLStream(connection.stream, self._tls, server_side=True, https_compatible=True)
            await HttpConnection(traffic, stream, connection.peer).run()

        async def retire() -> None:
            await stopping.wait()
            await traffic.retire()

        scheme, refusal = ("http", _TOO_MANY) if self._tls is None else ("https", b"")
        server = Server(self._door, self._listeners, handle, reports=self._observer, caps=self._caps, refusal=refusal)
        async with trio.open_nursery() as nursery:
            await nursery.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            nursery.start_soon(traffic.hurry_when_cancelled)
            nursery.start_soon(retire)
            async with trio.open_nursery() as serving:
                addresses: list[str] = await serving.start(server.serve, stopping)
                task_status.started([a if a.startswith("unix:") else f"{scheme}://{a}" for a in addresses])
            await lifespan.wait_for_shutdown()
            nursery.cancel_scope.cancel()


def make_config(observer: Observer, keep_alive: float) -> Config:
    """What Hypercorn's protocols look up. Everything about sockets, workers and signals is ours and not in it."""
    config = Config()
    config.logger_class = partial(_Log, observer)  # type: ignore[assignment]  # it is only ever called
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = keep_alive
    config.keep_alive_max_requests = sys.maxsize  # Hypercorn loses the HTTP/2 answers under way when it is reached
    config.read_timeout = None  # it would cut slow answers, not slow requests
    config.ssl_handshake_timeout = _HANDSHAKE
    config.h11_max_incomplete_size = _HEADER_LIMIT
    config.h2_max_header_list_size = _HEADER_LIMIT
    config.h2_max_concurrent_streams = _STREAMS
    return config


class _Log(Logger):
    """Hypercorn's log, as far as its protocols write to it: into ours."""

    def __init__(self, observer: Observer, config: Config) -> None:
        super().__init__(config)
        self._observer = observer

    async def exception(self, message: str, *_args: object, **_kwargs: object) -> None:
        self._observer.error("http_application_failed", reason=message, exc=sys.exception())

    async def warning(self, message: str, *_args: object, **_kwargs: object) -> None:
        self._observer.warning("http_server", reason=message)
