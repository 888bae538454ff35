"""The front ends by the section that configures them, and how each is made from it.

Each is imported only where it is configured, since a finger server need not load a web framework; and before privileges
are dropped, since afterwards its files may be out of reach.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from fingertrio import version
from fingertrio.config import Config, ListeningSection
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.targets import parse_target
from fingertrio.observe import Observer
from fingertrio.reload import Prepare
from fingertrio.service import FingerService
from fingertrio.supervisor import Serve

_S = TypeVar("_S")

# Doors in which the client speaks first, so that the kernel may keep silent connections to itself.
CLIENT_SPEAKS_FIRST = frozenset({"finger"})


class _Limits:
    """The caps and the rate of one section, as the configuration has them now."""

    def __init__(self, name: str, config: Config, *, writes: bool = False) -> None:
        self._name = name
        self._writes = writes
        section = _there(getattr(config, name))
        self.caps = ConnectionCaps(total=section.max_connections, per_address=section.max_connections_per_address)
        rate, burst = self._numbers(config)
        self.rate = RateLimiter(rate=rate, burst=burst, exempt=config.limits.exempt)

    def adopt(self, config: Config) -> None:
        section: ListeningSection = _there(getattr(config, self._name))
        self.caps.total, self.caps.per_address = section.max_connections, section.max_connections_per_address
        rate, burst = self._numbers(config)
        self.rate.adjust(rate=rate, burst=burst, exempt=config.limits.exempt)

    def _numbers(self, config: Config) -> tuple[float, float]:
        limits = config.limits
        return (limits.writes, limits.write_burst) if self._writes else (limits.queries, limits.query_burst)


def _nothing() -> None: ...


def _prepare_nothing(_config: Config) -> Callable[[], None]:
    return _nothing


@dataclass(frozen=True, slots=True)
class Door:
    """A front end, made: how it serves, and how it takes a new configuration (see `reload`)."""

    serve: Serve
    prepare: Prepare = _prepare_nothing


Make = Callable[[Config, FingerService, Observer, Sequence[socket.socket]], Door]


def _load_finger() -> Make:
    from fingertrio.frontends.finger import FingerFrontend, FingerPolicy  # noqa: PLC0415 -- see above
    from fingertrio.frontends.forwarding import Forwarder  # noqa: PLC0415 -- see above

    def policy_of(config: Config) -> FingerPolicy:
        section = _there(config.finger)
        return FingerPolicy(
            full=section.answer == "full",
            facts=None if section.show is None else frozenset(section.show),
            user_list=section.user_list,
            ambiguous=section.ambiguous,
            forward=Forwarder([parse_target(text) for text in section.forward_to]) if section.forwarding else None,
        )

    def make(config: Config, service: FingerService, observer: Observer, listeners: Sequence[socket.socket]) -> Door:
        limits = _Limits("finger", config)
        frontend = FingerFrontend(
            service=service,
            observer=observer,
            listeners=listeners,
            caps=limits.caps,
            rate=limits.rate,
            policy=policy_of(config),
        )

        def prepare(config: Config) -> Callable[[], None]:
            policy = policy_of(config)

            def commit() -> None:
                limits.adopt(config)
                frontend.adopt(policy)

            return commit

        return Door(frontend.serve, prepare)

    return make


def _load_setter() -> Make:
    from fingertrio.frontends.setter import SetterFrontend  # noqa: PLC0415 -- see above

    def make(config: Config, service: FingerService, observer: Observer, listeners: Sequence[socket.socket]) -> Door:
        limits = _Limits("setter", config, writes=True)
        frontend = SetterFrontend(
            service=service, observer=observer, listeners=listeners, caps=limits.caps, rate=limits.rate
        )
        return Door(frontend.serve, lambda config: partial(limits.adopt, config))

    return make


def _load_http() -> Make:
    from fingertrio.frontends.web.frontend import WebFrontend  # noqa: PLC0415 -- see above
    from fingertrio.frontends.web.live import LivePolicy  # noqa: PLC0415 -- see above

    def make(config: Config, service: FingerService, observer: Observer, listeners: Sequence[socket.socket]) -> Door:
        section = _there(config.http)
        limits = _Limits("http", config)
        watchers = ConnectionCaps(total=section.max_watchers, per_address=section.max_watchers_per_address)
        frontend = WebFrontend(
            service=service,
            observer=observer,
            listeners=listeners,
            caps=limits.caps,
            rate=limits.rate,
            trusted_proxies=section.trusted_proxies,
            live=LivePolicy(caps=watchers, origins=section.allowed_origins),
            certfile=section.certfile,
            keyfile=section.keyfile,
            keep_alive=section.keep_alive,
        )

        def prepare(config: Config) -> Callable[[], None]:
            section = _there(config.http)
            use_certificate = frontend.prepare_certificate(section.certfile, section.keyfile)

            def commit() -> None:
                limits.adopt(config)
                use_certificate()

            return commit

        return Door(frontend.serve, prepare)

    return make


def _load_irc() -> Make:
    from fingertrio.frontends.irc import IRCFrontend  # noqa: PLC0415 -- see above

    def make(config: Config, service: FingerService, observer: Observer, _listeners: Sequence[socket.socket]) -> Door:
        section = _there(config.irc)
        frontend = IRCFrontend(
            service=service,
            observer=observer,
            host=section.server.host,
            port=section.server.port,
            nick=section.nick,
            version=f"fingertrio {version}",
        )
        return Door(frontend.serve)

    return make


def _load_admin() -> Make:
    from fingertrio.frontends.admin import AdminApp  # noqa: PLC0415 -- see above
    from fingertrio.frontends.web.hypercorn import HttpFrontend  # noqa: PLC0415 -- see above

    def make(config: Config, service: FingerService, observer: Observer, listeners: Sequence[socket.socket]) -> Door:
        limits = _Limits("admin", config)
        app = AdminApp(observer, probe=service.probe, version=version)
        frontend = HttpFrontend(lambda: app, door="admin", observer=observer, listeners=listeners, caps=limits.caps)
        return Door(frontend.serve, lambda config: partial(limits.adopt, config))

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
