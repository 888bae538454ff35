"""Which client sent a request, and whether it sends too many: the ASGI layers before and after the gate.

`TrustedProxies` comes first, so that logs and limits see the client's address instead of the proxy's. It reads
X-Forwarded-For only from listed proxies, from right to left: the first address that is not a listed proxy is the
client. Everything left of it may have been written by the client itself. RFC 7239's Forwarded is ignored: many proxies
set only one of the two headers and pass the other on as the client sent it.

`RateLimit` comes after the gate, so that its refusals are logged like other requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from ipaddress import IPv4Address, IPv6Address, ip_address

import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from fingertrio.frontends.web import api
from fingertrio.frontends.web.gate import note_outcome
from fingertrio.net.limits import Network, RateLimiter
from fingertrio.observe.observer import Observer
from fingertrio.wire.xmlrpc import FaultCode, dump_fault

UNIX = "unix"  # in a list of trusted proxies: every client of a Unix socket

_TOO_MANY = "Too many requests from your address, please try again later"
_HOPS = 20  # entries of X-Forwarded-For that are read; real chains of proxies are far shorter


class TrustedProxies:
    """Replaces the client address and the scheme in the scope by those that a trusted proxy reports.

    Args:
        app: the next layer.
        trusted: returns, for each request, the proxies' networks, and `UNIX` if proxies connect by a Unix socket.
    """

    def __init__(self, app: ASGIFramework, trusted: Callable[[], Collection[Network | str]]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http" and (trusted := self._trusted()):
            proxies = _Proxies(trusted)
            if proxies.include_peer(_peer(scope)):
                proxies.apply_headers(scope)
        await self._app(scope, receive, send)


class _Proxies:
    """The trusted proxies at the time of one request."""

    def __init__(self, trusted: Collection[Network | str]) -> None:
        self._networks = [entry for entry in trusted if not isinstance(entry, str)]
        self._trusts_unix = UNIX in trusted

    def include_peer(self, peer: str) -> bool:
        """Whether `peer`, as the server writes addresses, is a trusted proxy."""
        if not peer:
            return self._trusts_unix
        address = _address(peer)
        return address is not None and self._include(address)

    def apply_headers(self, scope: HTTPScope) -> None:
        """Set client and scheme in `scope` from the headers, as far as trusted proxies wrote them."""
        hops: list[str] = []
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                hops += value.decode("latin-1").split(",")
            elif name == b"x-forwarded-proto" and value in {b"http", b"https"}:
                scope["scheme"] = value.decode()
        for hop in hops[: -_HOPS - 1 : -1]:
            address = _address(hop)
            if address is None:
                return
            scope["client"] = (str(address), 0)
            if not self._include(address):
                return

    def _include(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


class RateLimit:
    """Answers 429, or an XML-RPC fault, when an address sends requests too often.

    Args:
        app: the next layer.
        rate: how often one address may send a request.
        observer: counts refusals.
    """

    def __init__(self, app: ASGIFramework, rate: RateLimiter, observer: Observer) -> None:
        self._app = app
        self._rate = rate
        self._observer = observer

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http":
            now, peer = trio.current_time(), _peer(scope)
            if not self._rate.allow(peer, now):
                self._observer.refused("http", "rate")
                await _refuse(scope, send, math.ceil(self._rate.wait(peer, now)))
                return
        await self._app(scope, receive, send)


async def _refuse(scope: HTTPScope, send: ASGISendCallable, seconds: int) -> None:
    status, kind, body = 429, b"text/plain; charset=utf-8", f"{_TOO_MANY}\n".encode()
    if scope["path"] == "/RPC2" and scope["method"] == "POST":
        note_outcome(scope, "bad")  # the outcome that a 429 has
        status, kind, body = 200, b"text/xml; charset=utf-8", dump_fault(FaultCode.APPLICATION, _TOO_MANY)
    elif scope["path"].startswith(api.PREFIX):
        kind, body = b"application/problem+json", api.problem_body(429, "Too Many Requests", _TOO_MANY, scope["path"])
    headers = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"%d" % max(1, seconds)),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body, "more_body": False})


def _peer(scope: HTTPScope) -> str:
    client = scope["client"]
    return client[0] if client else ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it: with spaces around it, brackets and a port."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ip_address(text)
    except ValueError:
        return None
