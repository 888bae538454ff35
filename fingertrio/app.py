"""The composition root: from a `Config` to a running program.

The order is the safety: every socket is bound before anything serves, the backend is opened and asked what it can do
before any door opens, and all of it is closed again in the reverse order, whatever happened.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import trio

from fingertrio.backend import Backend, BackendError
from fingertrio.config import Config, ConfigError, ListeningSection
from fingertrio.net.address import Address
from fingertrio.net.limits import ConnectionCaps
from fingertrio.net.listen import BindError, bind, close_all
from fingertrio.net.targets import parse_target
from fingertrio.observe import Observer
from fingertrio.plugins import find_backend
from fingertrio.service import FingerService, ServicePolicy
from fingertrio.supervisor import Serve, Supervised, only_failure, supervise

# Doors in which the client speaks first, so that the kernel may keep silent connections to itself.
_CLIENT_SPEAKS_FIRST = frozenset({"finger"})

Ready = Callable[[Mapping[str, Sequence[str]]], None]


@dataclass(frozen=True, slots=True)
class Doors:
    """The bound sockets of each section that listens."""

    listeners: Mapping[str, Sequence[socket.socket]]


async def run(
    config: Config,
    observer: Observer,
    *,
    source: str = "configuration",
    ready: Ready = lambda _addresses: None,
    stopping: trio.Event | None = None,
) -> None:
    """Run everything that `config` names, until a signal or `stopping` ends it.

    Args:
        config: what to run.
        observer: who is told.
        source: the name of the configuration, for messages.
        ready: called once every door is open, with the addresses of each.
        stopping: set it to stop from within.

    Raises:
        ConfigError: something cannot be run as configured; nothing has served.
        Exception: what ended the program; see `supervisor.supervise`.
    """
    try:
        with bound(config, source) as listeners:
            async with open_service(config, observer, source) as service:
                tasks = [
                    Supervised(name, make(config, service, observer, listeners.get(name, ())))
                    for name, make in _FRONTENDS.items()
                    if getattr(config, name) is not None
                ]
                await supervise(tasks, reports=observer, grace=config.service.grace, ready=ready, stopping=stopping)
    except BaseExceptionGroup as group:  # from the backend's or the service's own nursery
        raise only_failure(group) from None
    observer.info("stopped")


@contextmanager
def bound(config: Config, source: str) -> Iterator[Mapping[str, Sequence[socket.socket]]]:
    """Listening sockets for every section that listens, closed at the end."""
    listeners: dict[str, list[socket.socket]] = {}
    try:
        for name in _FRONTENDS:
            section = getattr(config, name)
            addresses: Sequence[Address] = getattr(section, "listen", ())
            for address in addresses:
                try:
                    sockets = bind(address, defer_accept=name in _CLIENT_SPEAKS_FIRST)
                except BindError as error:
                    raise ConfigError(f"{source}: [{name}] listen: {error}") from error
                listeners.setdefault(name, []).extend(sockets)
        yield listeners
    finally:
        for sockets in listeners.values():
            close_all(sockets)


@asynccontextmanager
async def open_service(config: Config, observer: Observer, source: str) -> AsyncIterator[FingerService]:
    """The service over the configured backend.

    Raises:
        ConfigError: no such backend, wrong options, a backend that cannot start or cannot do what a door wants.
    """
    policy = ServicePolicy(
        deadline=config.service.deadline, cache_ttl=config.service.cache_ttl, cache_size=config.service.cache_size
    )
    async with _open_backend(config, source) as backend:
        async with FingerService.open(backend, policy, observer) as service:
            if config.setter is not None and not service.can_set:
                raise ConfigError(
                    f"{source}: [setter]: the {config.backend.use} backend cannot set a status; "
                    "remove the section or use another backend"
                )
            yield service


@asynccontextmanager
async def _open_backend(config: Config, source: str) -> AsyncIterator[Backend]:
    plugin = find_backend(config.backend.use, source)
    options = plugin.check_options(config.backend.options, source)
    opening = True
    try:
        async with plugin.open(options) as backend:
            opening = False
            yield backend
    except (ValueError, OSError, BackendError, ExceptionGroup) as error:
        if not opening:
            raise
        reason = only_failure(error) if isinstance(error, ExceptionGroup) else error
        # A backend says what its operator has to mend by one of these, before it serves.
        raise ConfigError(f"{source}: [backend]: the {plugin.name} backend cannot start: {reason}") from error


def _caps(section: ListeningSection) -> ConnectionCaps:
    return ConnectionCaps(total=section.max_connections, per_address=section.max_connections_per_address)


# Each imports its front end only when it is configured: a finger server need not load a web framework.


def _finger(config: Config, service: FingerService, observer: Observer, listeners: Sequence[socket.socket]) -> Serve:
    from fingertrio.frontends.finger import FingerFrontend, FingerPolicy  # noqa: PLC0415 -- see above
    from fingertrio.frontends.forwarding import Forwarder  # noqa: PLC0415 -- see above

    section = config.finger
    assert section is not None  # noqa: S101 -- only called for a section that is there
    policy = FingerPolicy(
        full=section.answer == "full",
        facts=None if section.show is None else frozenset(section.show),
        user_list=section.user_list,
        ambiguous=section.ambiguous,
        forward=Forwarder([parse_target(text) for text in section.forward_to]) if section.forwarding else None,
    )
    return FingerFrontend(
        service=service, observer=observer, listeners=listeners, caps=_caps(section), policy=policy
    ).serve


def _setter(config: Config, service: FingerService, observer: Observer, listeners: Sequence[socket.socket]) -> Serve:
    from fingertrio.frontends.setter import SetterFrontend  # noqa: PLC0415 -- see above

    section = config.setter
    assert section is not None  # noqa: S101 -- only called for a section that is there
    return SetterFrontend(service=service, observer=observer, listeners=listeners, caps=_caps(section)).serve


_FRONTENDS: Mapping[str, Callable[[Config, FingerService, Observer, Sequence[socket.socket]], Serve]] = {
    "finger": _finger,
    "setter": _setter,
}
