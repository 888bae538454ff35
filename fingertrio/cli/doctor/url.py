"""Checks `url` and `proxies`: whether the public address leads to this server, and what arrives there.

/-/instance answers with an identifier that a server draws at its start. The same one at its own address and at the
public one is proof that both lead to one process; what else happens to be at that address cannot be taken for it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fingertrio.cli.doctor.check import Check, Report, reason_of
from fingertrio.cli.doctor.installation import Installation
from fingertrio.clients.dial import RemoteError, resolve
from fingertrio.clients.http_get import Answer, http_get
from fingertrio.net.address import parse_ip
from fingertrio.net.proxies import TrustedProxies

_PATH = "/-/instance"
_FORGED = "203.0.113.79"  # of a block for documentation (RFC 5737): no client has it
_NGINX = "in nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; Caddy and haproxy (option forwardfor)"
_PAGE = "docs/guide/operating.md, Behind a proxy"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the server at an address says of itself and of our request.

    Attributes:
        instance: its identifier.
        client, how, scheme: see `frontends.web.instance`.
        own: our own address on the connection.
    """

    instance: str
    client: str
    how: str
    scheme: str
    own: str


class _OtherError(Exception):
    """What answered is not a fingertrio of this version."""


def _parse(answer: Answer) -> _Seen:
    try:
        found: Any = json.loads(answer.body)
        return _Seen(found["instance"], found["client"], found["seen"], found["scheme"], answer.client)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _OtherError(f"HTTP status {answer.status}, {answer.headers.get('Content-Type', 'no type')}") from None


async def _ask(place: Installation, headers: Mapping[str, str] | None = None) -> _Seen:
    # The query keeps a cache on the way from answering.
    target = f"{place.url}{_PATH}?{secrets.token_hex(8)}"
    return _parse(await http_get(target, ssl_context=place.trust, headers=headers))


async def local_instance(place: Installation) -> str | None:
    """The identifier of the running server, from its own address; None: it cannot be asked."""
    try:
        answer = await place.ask_locally(_PATH)
        return None if answer is None else _parse(answer).instance
    except (RemoteError, _OtherError):
        return None


async def look_at_url(place: Installation, report: Report) -> None:
    """Whether `[http] url` leads to this server."""
    url = place.url or ""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        found = await resolve(host, parts.port or (443 if parts.scheme == "https" else 80))
    except RemoteError as error:
        report.problem(
            f"{host}: {reason_of(error, host)}",
            "no client finds the pages, and links in feeds and WebFinger lead nowhere",
            f"add {host} to the DNS, or correct [http] url",
        )
        return
    addresses = dict.fromkeys(address[0] for address in found)
    own = place.machine.addresses()
    foreign = [address for address in addresses if not _is_own(address, own)]
    _report_addresses(place, report, host, list(addresses), foreign)
    await _report_answer(place, report, url, behind=bool(foreign))


def _is_own(address: str, own: list[Any]) -> bool:
    ip = parse_ip(address)
    return ip is not None and (ip.is_loopback or ip in own)


def _report_addresses(place: Installation, report: Report, host: str, addresses: list[str], foreign: list[str]) -> None:
    shown = ", ".join(addresses)
    if all((ip := parse_ip(address)) is not None and ip.is_loopback for address in addresses):
        report.warning(
            f"{host} resolves to {shown} on this machine",
            "what other machines get for this name cannot be seen from here (perhaps /etc/hosts names it)",
            f"on another machine: getent hosts {host}",
        )
    elif not foreign:
        report.ok(f"{host} resolves to {shown}, this machine")
    elif len(foreign) == len(addresses):
        report.ok(f"{host} resolves to {shown}, which is a proxy, a router that forwards, or another machine")
    else:
        report.warning(
            f"{host} resolves to {shown}, and {', '.join(foreign)} is not this machine",
            "clients that choose that address may reach something else",
            f"correct the DNS, if no proxy is there; the addresses here are in {place.machine.proc}/net/fib_trie",
        )


async def _report_answer(place: Installation, report: Report, url: str, *, behind: bool) -> None:
    try:
        seen = await _ask(place)
    except RemoteError as error:
        level = report.problem if place.server is not None else report.warning
        level(
            f"{url} cannot be reached: {reason_of(error, urlsplit(url).hostname or '')}",
            "the pages are not there for anybody" if place.server is not None else "no server runs, so this may be why",
            "start the proxy in front, or correct [http] url and listen; the check certificates looks at TLS",
        )
        return
    except _OtherError as error:
        report.problem(
            f"{url} is answered by something else ({error})",
            "clients get another program's pages, or a proxy answers for itself",
            f"pass every path to fingertrio, {_PATH} too: {_PAGE}",
        )
        return
    mine = await local_instance(place)
    if mine == seen.instance:
        report.ok(f"{url} is answered by pid {place.server.pid if place.server else 0}")
    elif mine is not None:
        level = report.warning if place.backends("redis") else report.problem  # one of several nodes
        level(
            f"{url} is answered by another fingertrio than pid {place.server.pid if place.server else 0}",
            "statuses that are set here may not be shown there; behind a load balancer of a cluster this is normal",
            "stop the other one, or correct the proxy or [http] url",
        )
    elif place.server is None:
        report.warning(
            f"{url} is answered by a fingertrio, and none runs here with {place.source}",
            "it is another one, or one that this user may not see",
            "run this command as root, or on the machine where it runs",
        )
    else:
        report.warning(
            f"{url} is answered by a fingertrio, and pid {place.server.pid} could not be asked which it is",
            "it may be another one",
            "run this command as a user that may connect to [http] listen",
        )
    if not behind and urlsplit(url).scheme == "http":
        report.warning(
            f"{url} is not https",
            "the network can read and change everything, tokens too",
            "certfile and keyfile in [http], or a proxy with a certificate",
        )


async def look_at_proxies(place: Installation, report: Report) -> None:
    """Whether the server sees the addresses of clients behind a proxy, and no invented ones."""
    try:
        seen, forged = await _ask(place), await _ask(place, {"X-Forwarded-For": _FORGED})
    except (RemoteError, _OtherError):
        report.warning(
            f"{place.url} was not answered by this server",
            "what a proxy passes on cannot be seen",
            "see the check url",
        )
        return
    _report_client(place, report, seen)
    if (scheme := urlsplit(place.url or "").scheme) != seen.scheme:
        report.problem(
            f"a request by {scheme} arrives as {seen.scheme}",
            "cookies are not marked as secure, and a client's scheme is not known",
            "in nginx: proxy_set_header X-Forwarded-Proto $scheme;",
        )
    _report_forged(place, report, forged)


def _report_client(place: Installation, report: Report, seen: _Seen) -> None:
    if seen.how == "unnamed":
        report.problem(
            f"the trusted proxy {seen.client or '(Unix socket)'} does not report the client's address",
            "all its clients have one address in the log and share one set of limits",
            f"{_NGINX}; {_PAGE}",
        )
    elif seen.how == "direct" and place.http is not None and place.http.proxy_protocol:
        report.ok(f"a request from {seen.own} through {place.url} is seen as {seen.client} (PROXY header)")
    elif seen.how == "direct" and seen.client != seen.own:
        report.problem(
            f"a request through {place.url} arrives from {seen.client}, which is not in trusted_proxies",
            "all clients of this proxy have its address in the log and share its limits",
            f'trusted_proxies = ["{seen.client}"] in [http], if this is your proxy',
        )
    elif seen.how == "direct":
        report.ok(f"a request through {place.url} arrives from its client itself ({seen.client}), without a proxy")
    elif seen.client == seen.own:
        report.ok(f"a request through {place.url} is seen with the address of its client ({seen.client})")
    else:
        report.ok(
            f"a request from {seen.own} through {place.url} is seen as {seen.client}: a translated address (NAT)",
            "compare it with the address that the provider shows for this machine",
        )


def _report_forged(place: Installation, report: Report, forged: _Seen) -> None:
    if forged.client != _FORGED:
        report.ok("an address that a client invents (X-Forwarded-For) is not believed")
    elif _is_trusted(place, forged.own):
        report.ok(
            f"whether invented addresses are believed cannot be tested from {forged.own}, itself a trusted proxy",
            f"on another machine: curl -H 'X-Forwarded-For: {_FORGED}' {place.url}{_PATH} must not show {_FORGED}",
        )
    else:
        report.problem(
            f"the server believed {_FORGED}, which the client invented (X-Forwarded-For)",
            "a client can write any address into the log and is not bound by limits; the proxy passes the field on",
            f"let the proxy add or replace the field: {_NGINX}",
        )


def _is_trusted(place: Installation, address: str) -> bool:
    return place.http is not None and bool(address) and TrustedProxies(place.http.trusted_proxies).includes(address)


def _skip_url(place: Installation) -> str:
    return "" if place.url is not None else "[http] url is not set"


def _skip_proxies(place: Installation) -> str:
    http = place.http
    if http is None or http.url is None:
        return "[http] url is not set"
    if not http.trusted_proxies and (http.certfile is not None or urlsplit(http.url).scheme == "http"):
        return "no proxy is configured"
    return "" if place.server is not None else "no server runs"


URL = Check("url", "Whether [http] url leads to this server", look_at_url, _skip_url, limit=25.0)
PROXIES = Check(
    "proxies", "Whether proxies report the addresses of clients", look_at_proxies, _skip_proxies, limit=25.0
)
