"""Which client sent a request, and whether it sends too many: the ASGI layers before and after the gate.

`ForwardedClient` comes first, so that logs and limits see the client's address instead of the proxy's. It reads
X-Forwarded-For only from trusted proxies, from right to left: the first address that is not a trusted proxy is the
client. Everything left of it may have been written by the client itself. RFC 7239's Forwarded is ignored: many proxies
set only one of the two headers and pass the other on as the client sent it.

`ClientLimits` comes after the gate, so that its refusals are logged like other requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from fingertrio.frontends.web import api, cors
from fingertrio.frontends.web.gate import note_outcome, scope_extras
from fingertrio.frontends.web.headers import HEADERS
from fingertrio.frontends.web.rendering import HTML, Pages
from fingertrio.http.request import is_host
from fingertrio.net.address import parse_ip
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.proxies import TrustedProxies
from fingertrio.observe.observer import Observer
from fingertrio.wire.xmlrpc import FaultCode, dump_fault

_FORWARDED = "fingertrio.forwarded"  # in the scope: a proxy forwarded this request for another address

_HOST = "fingertrio.forwarded_host"  # in the scope: the host that the client asked, as a proxy reports it

_TOO_OFTEN = "Too many requests from your address, please try again later"
_TOO_MANY_AT_ONCE = "Too many requests at once from your address, please try again later"
_RETRY_AFTER = 5  # seconds, as for a connection that is refused
_HOPS = 20  # entries of X-Forwarded-For that are read; real chains of proxies are far shorter


class ForwardedClient:
    """Replaces the client address and the scheme in the scope by those that a trusted proxy reports, and adds the host.

    Args:
        app: the next layer.
        proxies: returns, for each request, the trusted proxies.
    """

    def __init__(self, app: ASGIFramework, proxies: Callable[[], TrustedProxies]) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http":
            peer, proxies = _peer(scope), self._proxies()
            if (plain := plain_peer(peer)) != peer:
                scope["client"] = (plain, 0)
            if proxies.includes(peer):
                _apply_headers(scope, proxies)
        await self._app(scope, receive, send)


def forwarded_host(scope: Scope) -> str:
    """The host that a client asked for, as a trusted proxy reports it; empty: none does."""
    return str(scope_extras(scope).get(_HOST, ""))


def is_forwarded(scope: Scope) -> bool:
    """Whether the client's address is what a trusted proxy reports."""
    return bool(scope_extras(scope).get(_FORWARDED))


def _apply_headers(scope: HTTPScope, proxies: TrustedProxies) -> None:
    """Set client, scheme and host in `scope` from the headers, as far as trusted proxies wrote them."""
    hops: list[str] = []
    for name, value in scope["headers"]:
        if name == b"x-forwarded-for":
            hops += value.decode("latin-1").split(",")
        elif name == b"x-forwarded-proto" and value in {b"http", b"https"}:
            scope["scheme"] = value.decode()
        elif name == b"x-forwarded-host" and is_host(host := value.rpartition(b",")[2].strip()):
            scope_extras(scope)[_HOST] = host.decode()  # many proxies pass on what the client wrote
    if (client := client_behind(hops, proxies)) is not None:
        scope["client"] = (client, 0)
        scope_extras(scope)[_FORWARDED] = True


def client_behind(hops: Sequence[str], proxies: TrustedProxies) -> str | None:
    """The client's address, of those in X-Forwarded-For, as far as trusted proxies wrote them; None: it has none."""
    client = None
    for hop in hops[: -_HOPS - 1 : -1]:
        address = _parse_hop(hop)
        if address is None:
            break
        client = str(address)
        if not proxies.include_address(address):
            break
    return client


def plain_peer(peer: str) -> str:
    """The address of a peer. A dual-stack socket shows that of an IPv4 peer as an IPv6 address."""
    if peer.startswith("::ffff:") and (address := parse_ip(peer)) is not None:
        return str(address)
    return peer


class ClientLimits:
    """Refuses requests of an address that sends them too often, or through a proxy too many at once.

    A client that connects directly is counted when its connection is accepted; behind a proxy this is the only place
    that sees its address. The refusal is status 429 or 503, or an XML-RPC fault.

    Args:
        app: the next layer.
        rate: how often one address may send a request.
        caps: how many requests of one address may be in progress.
        observer: counts refusals.
        pages: renders the refusal for a browser.
    """

    def __init__(
        self, app: ASGIFramework, rate: RateLimiter | None, caps: ConnectionCaps, observer: Observer, pages: Pages
    ) -> None:
        self._app = app
        self._rate = rate
        self._caps = caps
        self._observer = observer
        self._pages = pages

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        now, client = trio.current_time(), _peer(scope)
        if self._rate is not None and not self._rate.allow(client, now):
            self._observer.refused("http", "rate")
            seconds = max(1, math.ceil(self._rate.wait(client, now)))
            await self._refuse(scope, send, 429, "Too Many Requests", _TOO_OFTEN, seconds)
        elif not is_forwarded(scope):
            await self._app(scope, receive, send)
        elif (reason := self._caps.admit_request(client)) is not None:
            self._observer.refused("http", reason)
            await self._refuse(scope, send, 503, "Service Unavailable", _TOO_MANY_AT_ONCE, _RETRY_AFTER)
        else:
            try:
                await self._app(scope, receive, send)
            finally:
                self._caps.release_request(client)

    async def _refuse(
        self, scope: HTTPScope, send: ASGISendCallable, status: int, title: str, detail: str, retry_after: int
    ) -> None:
        kind, body = b"text/plain; charset=utf-8", f"{detail}\n".encode()
        if scope["path"] == "/RPC2" and scope["method"] == "POST":
            note_outcome(scope, "bad")  # the outcome that a 429 has
            status, kind, body = 200, b"text/xml; charset=utf-8", dump_fault(FaultCode.APPLICATION, detail)
        elif scope["path"].startswith(api.PREFIX):
            kind, body = b"application/problem+json", api.problem_body(status, title, detail, scope["path"])
        elif _takes_html(scope):
            kind, body = HTML.encode(), self._pages.refusal(status, title, detail, scope["path"])
        is_page = kind[:5] == b"text/" and status != 200
        fields = {**HEADERS, **cors.fields_for(scope["path"]), **({"Vary": "Accept"} if is_page else {})}
        headers = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
        headers += [
            (b"content-type", kind),
            (b"content-length", b"%d" % len(body)),
            (b"retry-after", b"%d" % retry_after),
        ]
        body = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def _takes_html(scope: HTTPScope) -> bool:
    """Whether a browser asks."""
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


def _peer(scope: HTTPScope) -> str:
    client = scope["client"]
    return client[0] if client else ""


def _parse_hop(text: str) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it: with spaces around it, brackets and a port."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return parse_ip(text)
