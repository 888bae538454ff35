"""The front ends by the section that configures them, and how each is made from it.

Each is imported only where it is configured, since a finger server need not load a web framework; and before privileges
are dropped, since afterwards its files may be out of reach.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from fingertrio import version
from fingertrio.config import Config, ListeningSection
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.targets import parse_target
from fingertrio.observe import Observer
from fingertrio.service import FingerService
from fingertrio.supervisor import Serve

_S = TypeVar("_S")

# Doors in which the client speaks first, so that the kernel may keep silent connections to itself.
CLIENT_SPEAKS_FIRST = frozenset({"finger"})


def _caps(section: ListeningSection) -> ConnectionCaps:
    return ConnectionCaps(total=section.max_connections, per_address=section.max_connections_per_address)


def _query_rate(config: Config) -> RateLimiter:
    limits = config.limits
    return RateLimiter(rate=limits.queries, burst=limits.query_burst, exempt=limits.exempt)


def _write_rate(config: Config) -> RateLimiter:
    limits = config.limits
    return RateLimiter(rate=limits.writes, burst=limits.write_burst, exempt=limits.exempt)


Make = Callable[[Config, FingerService, Observer, Sequence[socket.socket]], Serve]


def _load_finger() -> Make:
    from fingertrio.frontends.finger import FingerFrontend, FingerPolicy  # noqa: PLC0415 -- see above
    from fingertrio.frontends.forwarding import Forwarder  # noqa: PLC0415 -- see above

    def make(config: Config, service: FingerService, observer: Observer, listeners: Sequence[socket.socket]) -> Serve:
        section = _there(config.finger)
        policy = FingerPolicy(
            full=section.answer == "full",
            facts=None if section.show is None else frozenset(section.show),
            user_list=section.user_list,
            ambiguous=section.ambiguous,
            forward=Forwarder([parse_target(text) for text in section.forward_to]) if section.forwarding else None,
        )
        return FingerFrontend(
            service=service,
            observer=observer,
            listeners=listeners,
            caps=_caps(section),
            rate=_query_rate(config),
            policy=policy,
        ).serve

    return make


def _load_setter() -> Make:
    from fingertrio.frontends.setter import SetterFrontend  # noqa: PLC0415 -- see above

    def make(config: Config, service: FingerService, observer: Observer, listeners: Sequence[socket.socket]) -> Serve:
        section = _there(config.setter)
        return SetterFrontend(
            service=service, observer=observer, listeners=listeners, caps=_caps(section), rate=_write_rate(config)
        ).serve

    return make


def _load_http() -> Make:
    from fingertrio.frontends.web.frontend import WebFrontend  # noqa: PLC0415 -- see above

    def make(config: Config, service: FingerService, observer: Observer, listeners: Sequence[socket.socket]) -> Serve:
        section = _there(config.http)
        return WebFrontend(
            service=service,
            observer=observer,
            listeners=listeners,
            caps=_caps(section),
            rate=_query_rate(config),
            trusted_proxies=section.trusted_proxies,
            certfile=section.certfile,
            keyfile=section.keyfile,
            keep_alive=section.keep_alive,
        ).serve

    return make


def _load_irc() -> Make:
    from fingertrio.frontends.irc import IRCFrontend  # noqa: PLC0415 -- see above

    def make(config: Config, service: FingerService, observer: Observer, _listeners: Sequence[socket.socket]) -> Serve:
        section = _there(config.irc)
        return IRCFrontend(
            service=service,
            observer=observer,
            host=section.server.host,
            port=section.server.port,
            nick=section.nick,
            version=f"fingertrio {version}",
        ).serve

    return make


def _load_admin() -> Make:
    from fingertrio.frontends.admin import AdminApp  # noqa: PLC0415 -- see above
    from fingertrio.frontends.web.hypercorn import HttpFrontend  # noqa: PLC0415 -- see above

    def make(config: Config, service: FingerService, observer: Observer, listeners: Sequence[socket.socket]) -> Serve:
        section = _there(config.admin)
        app = AdminApp(observer, probe=service.probe, version=version)
        return HttpFrontend(
            lambda: app, door="admin", observer=observer, listeners=listeners, caps=_caps(section)
        ).serve

    return make


def _there(section: _S | None) -> _S:
    if section is None:
        raise AssertionError("a front end is only made for a section that is there")
    return section


# In this order they start, and are shown.
FRONTENDS: Mapping[str, Callable[[], Make]] = {
    "finger": _load_finger,
    "setter": _load_setter,
    "http": _load_http,
    "irc": _load_irc,
    "admin": _load_admin,
}
