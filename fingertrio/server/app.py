"""The composition root: from a `Config` to a running program.

The order matters for security: bind every socket, import everything that is configured, then drop privileges. The
backend is opened, and its capabilities are known, before any door opens. Everything is closed in reverse order, also
after an error.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from fingertrio.backend import Backend, BackendError
from fingertrio.config.config import Config
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import BackendPlugin, find_backend, find_frontends
from fingertrio.net.address import Address
from fingertrio.observe.observer import Observer
from fingertrio.server.accounts import make_accounts
from fingertrio.server.doors import OpenDoor
from fingertrio.server.findings import name_existing
from fingertrio.server.heartbeat import beat
from fingertrio.server.preload import preload
from fingertrio.server.privileges import PrivilegeError, drop_privileges
from fingertrio.server.reload import Prepare, Reloader
from fingertrio.server.sockets import bound, warn_of_open_setters
from fingertrio.server.supervisor import Supervised, only_failure, supervise, unwrapped
from fingertrio.server.systemd import ServiceManager
from fingertrio.service import FingerService, ServicePolicy

Ready = Callable[[Mapping[str, Sequence[str]]], None]


async def run(
    config: Config,
    observer: Observer,
    *,
    source: str = "configuration",
    ready: Ready = lambda _addresses: None,
    stopping: trio.Event | None = None,
    load: Callable[[], Config] | None = None,
) -> None:
    """Run everything that `config` names, until a signal or `stopping` ends it.

    Args:
        config: what to run.
        observer: logs and counts.
        source: the name of the configuration in messages.
        ready: called once every door is open, with the addresses of each.
        stopping: an event that stops the program when set.
        load: reads the configuration again at SIGHUP; see `reload`.

    Raises:
        ConfigError: something cannot run as configured; no client has been served.
        Exception: what ended the program; see `supervisor.supervise`.
    """
    manager = ServiceManager()
    status = f"serving from the {config.backend.use} backend"

    def all_ready(addresses: Mapping[str, Sequence[str]]) -> None:
        ready(addresses)
        manager.ready(status)

    with unwrapped():  # also from the backend's or the service's own nursery
        async with _opened(config, observer, source) as (backend, service, doors):
            reloader = _make_reloader(config, load or (lambda: config), observer, service, doors)
            await supervise(
                [Supervised(name, door.serve) for name, door in doors.items()],
                reports=observer,
                grace=config.service.grace,
                ready=all_ready,
                stopping=stopping,
                attendants=[
                    manager.feed_watchdog,
                    partial(beat, observer),
                    partial(name_existing, backend, observer),
                ],
                on_stopping=manager.stopping,
                on_hangup=partial(_reload, reloader, manager, status),
            )
    observer.info("stopped")


@asynccontextmanager
async def _opened(
    config: Config, observer: Observer, source: str
) -> AsyncIterator[tuple[Backend, FingerService, Mapping[str, OpenDoor]]]:
    """The backend, the service and the doors by name, without privileges."""
    with bound(config, source) as listeners:
        plugin = find_backend(config.backend.use, source)
        options = plugin.check_options(config.backend.options, source)
        frontends = find_frontends(config.doors, source)
        warn_of_open_setters(config, listeners, observer)
        _drop_privileges(config, observer, source)
        async with (
            _open_backend(plugin, options, source) as backend,
            _open_service(backend, config, observer, source) as service,
        ):
            open_door = partial(
                OpenDoor,
                config=config,
                service=service,
                accounts=make_accounts(config, backend),
                observer=observer,
                checks={},  # of all doors, for the one that reports readiness
                neighbours={name: _tcp_addresses(bound_to) for name, bound_to in listeners.items()},
                source=source,
            )
            yield (
                backend,
                service,
                {name: open_door(frontend, listeners=listeners.get(name, ())) for name, frontend in frontends.items()},
            )


def _tcp_addresses(listeners: Sequence[socket.socket]) -> list[Address]:
    return [Address(*listener.getsockname()[:2]) for listener in listeners if listener.family != socket.AF_UNIX]


def _make_reloader(
    config: Config,
    load: Callable[[], Config],
    observer: Observer,
    service: FingerService,
    doors: Mapping[str, OpenDoor],
) -> Reloader:
    participants: list[Prepare] = [
        partial(_prepare_service, service, observer),
        *(door.prepare for door in doors.values()),
    ]
    return Reloader(config, load, observer, participants, {name: door.reloadable for name, door in doors.items()})


def _reload(reloader: Reloader, manager: ServiceManager, status: str) -> None:
    manager.reloading()
    accepted = reloader()
    manager.ready(status if accepted else f"{status}; the last reload was refused, see the log")


def _drop_privileges(config: Config, observer: Observer, source: str) -> None:
    process = config.process
    if process.user is not None:
        preload()
    try:
        became = drop_privileges(process.user, process.group, run_as_root=process.run_as_root)
    except PrivilegeError as error:
        raise ConfigError(f"{source}: {error}") from error
    if became:
        observer.info("privileges_dropped", user=became)


def _service_policy(config: Config) -> ServicePolicy:
    section = config.service
    return ServicePolicy(
        deadline=section.deadline,
        cache_ttl=section.cache_ttl,
        cache_size=section.cache_size,
        default_length=section.default_length,
        presets=config.presets.tables,
        log_statuses=config.log.statuses,
    )


def _prepare_service(service: FingerService, observer: Observer, config: Config) -> Callable[[], None]:
    def commit() -> None:
        service.adopt(_service_policy(config))
        observer.set_level(config.log.level)

    return commit


@asynccontextmanager
async def _open_service(
    backend: Backend, config: Config, observer: Observer, source: str
) -> AsyncIterator[FingerService]:
    async with FingerService.open(backend, _service_policy(config), observer) as service:
        if "setter" in config.doors and not service.can_set:
            raise ConfigError(
                f"{source}: [setter]: the {config.backend.use} backend cannot set a status; "
                "remove the section or use another backend"
            )
        yield service


@asynccontextmanager
async def _open_backend(plugin: BackendPlugin, options: object, source: str) -> AsyncIterator[Backend]:
    opening = True
    try:
        async with plugin.open(options) as backend:
            opening = False
            yield backend
    except (ValueError, OSError, BackendError, ExceptionGroup) as error:
        if not opening:
            raise
        # Before it serves, a backend reports what its operator must correct by one of these.
        reason = only_failure(error) if isinstance(error, ExceptionGroup) else error
        raise ConfigError(f"{source}: [backend]: the {plugin.name} backend cannot start: {reason}") from error
