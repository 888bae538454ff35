"""The web front end: pages, JSON, XML-RPC and the live feed as one ASGI application on Hypercorn."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import trio
from hypercorn.typing import ASGIFramework

from fingertrio.accounts.accounts import Accounts
from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.compressed import accepts_gzip
from fingertrio.frontends.web.gate import Gate
from fingertrio.frontends.web.instance import instance_blueprint, new_instance
from fingertrio.frontends.web.ledger import WebLedger
from fingertrio.frontends.web.live import live_blueprint
from fingertrio.frontends.web.live_hub import LiveHub
from fingertrio.frontends.web.live_watcher import LivePolicy
from fingertrio.frontends.web.negotiation import is_curl
from fingertrio.frontends.web.peers import ClientLimits, ForwardedClient
from fingertrio.frontends.web.proofs import Proofs
from fingertrio.frontends.web.reading import LateReading
from fingertrio.frontends.web.rendering import Pages
from fingertrio.frontends.web.self_check import check_app
from fingertrio.frontends.web.site import Site
from fingertrio.frontends.web.stream import Stream
from fingertrio.frontends.web.visits import Visits
from fingertrio.frontends.web.webfinger import WebFingerPolicy, webfinger_blueprint
from fingertrio.http.lane import Lane
from fingertrio.http.limits import KEEP_ALIVE, MEMORY
from fingertrio.http.server import HttpFrontend
from fingertrio.net.limits import ConnectionCaps, Network, RateLimiter
from fingertrio.net.proxies import TrustedProxies
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire.presets import Presets

# What a response whose Vary names one of these fields depends on of its value; see `http.lane`.
_CLASSES: Mapping[bytes, Callable[[bytes], Hashable]] = {b"accept-encoding": accepts_gzip, b"user-agent": is_curl}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPolicy:
    """What can change while the front end serves.

    Attributes:
        trusted_proxies: the proxies whose X-Forwarded headers are used; see `peers`.
        live: who may watch, and how many.
        site: how the pages look, and what they know of this server.
        webfinger: which accounts WebFinger describes.
        tls, keep_alive, memory: see `HttpFrontend`.
        proxy_protocol: the trusted proxies send the PROXY header instead. It names the client, and what the client
            writes into X-Forwarded headers is ignored.
    """

    trusted_proxies: Collection[Network | str] = ()
    live: LivePolicy = field(default_factory=LivePolicy)
    site: Site = field(default_factory=Site)
    webfinger: WebFingerPolicy = field(default_factory=WebFingerPolicy)
    tls: ssl.SSLContext | None = None
    keep_alive: float = KEEP_ALIVE
    memory: int = MEMORY
    proxy_protocol: bool = False

    @property
    def header_senders(self) -> TrustedProxies | None:
        """The proxies that send the PROXY header."""
        return TrustedProxies(self.trusted_proxies) if self.proxy_protocol else None

    @property
    def forwarders(self) -> TrustedProxies:
        """The proxies that send X-Forwarded headers."""
        return TrustedProxies(() if self.proxy_protocol else self.trusted_proxies)


class WebFrontend(HttpFrontend):
    """Serves pages, JSON, XML-RPC and the live feed on bound sockets.

    Args:
        service: answers the questions.
        observer: logs and counts every request.
        accounts: who may write; None: nothing can be written.
        rate: how often one address may send a request.
        writes: how often one address may write.
        policy: what `adopt` can change later.
        presets: returns the statuses with a name.
        listeners: see `HttpFrontend`.
        caps: see `HttpFrontend`. Trusted proxies count for the total only, the clients behind them by their requests.
    """

    _app: ASGIFramework | None = None  # of the present run

    def __init__(
        self,
        *,
        service: FingerService,
        observer: Observer,
        listeners: Sequence[socket.socket],
        caps: ConnectionCaps,
        accounts: Accounts | None = None,
        rate: RateLimiter | None = None,
        writes: RateLimiter | None = None,
        policy: WebPolicy | None = None,
        presets: Callable[[], Presets] = dict,
    ) -> None:
        self._make_hub = partial(LiveHub, service, observer)
        self._hub = self._make_hub()
        self._make_stream = partial(Stream, service, observer)
        self._stream = self._make_stream()
        self._use(policy := policy or WebPolicy())
        caps.is_proxy = self._is_proxy
        visits = None if accounts is None else Visits(accounts, writes, observer, lambda: self._policy.site.url)

        def make_app() -> ASGIFramework:
            pages = Pages(lambda: self._policy.site)
            webfinger = webfinger_blueprint(service, lambda: self._policy.webfinger, lambda: self._policy.site)
            self._app = create_app(
                service,
                observer,
                proofs=None if accounts is None else Proofs(accounts, writes, observer),
                live=live_blueprint(self._hub, observer, lambda: self._policy.live),
                pages=pages,
                visits=visits,
                presets=presets,
                stream=self._stream,
                more=[webfinger, instance_blueprint(self._instance, lambda: self._proxies)],
            )
            app = ClientLimits(LateReading(self._app), rate, caps, observer, pages)
            return ForwardedClient(Gate(app, observer), lambda: self._proxies)

        super().__init__(
            make_app,
            door="http",
            observer=observer,
            listeners=listeners,
            caps=caps,
            tls=policy.tls,
            keep_alive=policy.keep_alive,
            memory=policy.memory,
            lane=Lane(WebLedger(observer, lambda: self._proxies, rate, caps), classes=_CLASSES),
            proxies=policy.header_senders,
        )

    def _use(self, policy: WebPolicy) -> None:
        self._policy = policy
        self._proxies = policy.forwarders
        self._trusted = TrustedProxies(policy.trusted_proxies)

    @cached_property
    def _instance(self) -> str:
        """Identifies this front end."""
        return new_instance()

    def _is_proxy(self, peer: str) -> bool:
        return self._trusted.includes(peer)

    def adopt(self, policy: WebPolicy) -> None:
        """Use another policy from the next request, handshake and connection on. Open connections stay open."""
        self._use(policy)
        self.adopt_transport(
            tls=policy.tls, keep_alive=policy.keep_alive, memory=policy.memory, proxies=policy.header_senders
        )
        self._caps.is_proxy = self._is_proxy  # the server knows those that send the header only

    async def check(self) -> None:
        """Ask the application for a page, as `fingertrio.frontend.ChecksItself` requires. Raises what went wrong."""
        if self._app is not None:
            await check_app(self._app)

    async def serve(
        self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """See `HttpFrontend.serve`. When it stops, watchers receive a close frame at once."""
        self._hub = self._make_hub()  # ids of an earlier run are invalid: changes between the runs were not seen
        self._stream = self._make_stream()
        async with trio.open_nursery() as nursery:
            await nursery.start(self._hub.run)
            await nursery.start(self._stream.run)
            await super().serve(stopping, task_status=task_status)
            nursery.cancel_scope.cancel()
