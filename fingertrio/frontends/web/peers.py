"""Who asks, and whether too often: two layers before the application, of which the gate stands in the middle.

`TrustedProxies` comes first, so that logs and limits see the client and not the proxy. It believes X-Forwarded-For from
proxies that are listed, and from them only as far as the list reaches: read from the right, the first address that is
not a listed proxy's is the client; what stands left of it the client may have written itself. RFC 7239's Forwarded is
not read: a proxy that sets the one header often passes the other on untouched, and so hands over a client's own words.

`RateLimit` comes last, so that what it refuses is logged like every other request.
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

UNIX = "unix"  # in a list of trusted proxies: whoever comes through a unix socket

_TOO_MANY = "Too many requests from your address, please try again later"
_HOPS = 20  # entries of a header that are looked at; more proxies in a row nobody has


class TrustedProxies:
    """Puts the client's address, and the scheme that it used, into the scope.

    Args:
        app: what comes next.
        trusted: tells, at each request, the proxies' networks, and `UNIX` where one comes through a unix socket.
    """

    def __init__(self, app: ASGIFramework, trusted: Callable[[], Collection[Network | str]]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] in {"http", "websocket"} and (trusted := self._trusted()):
            proxies = _Proxies(trusted)
            if proxies.include_peer(_peer(scope)):
                proxies.believe(scope)  # type: ignore[arg-type]  # both kinds have headers, client and scheme
        await self._app(scope, receive, send)


class _Proxies:
    """Those who are trusted, and what follows from it."""

    def __init__(self, trusted: Collection[Network | str]) -> None:
        self._networks = [entry for entry in trusted if not isinstance(entry, str)]
        self._trusts_unix = UNIX in trusted

    def include_peer(self, peer: str) -> bool:
        """Whether `peer`, as the server names it, is one of them."""
        if not peer:
            return self._trusts_unix
        address = _address(peer)
        return address is not None and self._include(address)

    def believe(self, scope: HTTPScope) -> None:
        """Put into `scope` what its headers say of the client, as far as they are the word of a proxy."""
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
    """Answers 429, or an XML-RPC fault, to whom asks too often.

    Args:
        app: what comes next.
        rate: how often one address may ask.
        observer: told of refusals.
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
        note_outcome(scope, "bad")  # as the log calls the 429 of others
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


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""  # type: ignore[index]  # a pair, as ASGI has it


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it: with blanks around it, brackets and a port."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ip_address(text)
    except ValueError:
        return None
