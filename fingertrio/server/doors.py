"""An opened front end, ours or from another package: its door, and its limits, which a reload can change."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from fingertrio.accounts.accounts import Accounts
from fingertrio.config.config import Config
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import FrontendPlugin
from fingertrio.config.sections import ListeningSection, OptionError
from fingertrio.frontend import Check, ChecksItself, Door, Frontend, TakesOptions
from fingertrio.net.address import Address
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.observe.observer import Observer
from fingertrio.server.accounts import kept_directory
from fingertrio.service import FingerService

_CAPS = ("max_connections", "max_connections_per_address")


class OpenDoor:
    """One opened front end.

    Args:
        plugin: the front end.
        config: has its section, and the limits of all doors.
        service, accounts, observer, listeners: see `Door`.
        checks: receives its check, if it has one; see `Door`.
        neighbours: see `Door`.
        source: the name of the configuration in messages.

    Attributes:
        reloadable: the keys of its section that can change without a restart.

    Raises:
        ConfigError: the front end rejects its section.
    """

    def __init__(
        self,
        plugin: FrontendPlugin,
        config: Config,
        service: FingerService,
        accounts: Accounts,
        observer: Observer,
        listeners: Sequence[socket.socket],
        *,
        checks: dict[str, Check] | None = None,
        neighbours: Mapping[str, Sequence[Address]] | None = None,
        source: str = "configuration",
    ) -> None:
        limits, section = config.limits, config.doors[plugin.name]
        total, per_address = _caps(section)
        self._name = plugin.name
        self._presets = config.presets.tables
        self._source = source
        self._door = Door(
            name=plugin.name,
            service=service,
            accounts=accounts,
            observer=observer,
            listeners=listeners,
            caps=ConnectionCaps(total=total, per_address=per_address),
            queries=RateLimiter(rate=limits.queries, burst=limits.query_burst, exempt=limits.exempt),
            writes=RateLimiter(rate=limits.writes, burst=limits.write_burst, exempt=limits.exempt),
            checks={} if checks is None else checks,
            neighbours=neighbours or {},
            presets=self._presets,
            webfinger=config.webfinger,
            state=kept_directory(config.backend),
        )
        with self._errors_located():
            self._frontend: Frontend = plugin.open(section, self._door)
        self.serve = self._frontend.serve
        if checks is not None and isinstance(self._frontend, ChecksItself):
            checks[plugin.name] = self._frontend.check
        self.reloadable = frozenset(
            [
                *(_CAPS if isinstance(section, ListeningSection) else ()),
                *(self._frontend.reloadable if isinstance(self._frontend, TakesOptions) else ()),
            ]
        )

    def prepare(self, config: Config) -> Callable[[], None]:
        """Prepare its part of a reload (see `reload`).

        Raises:
            ConfigError: the front end rejects its new section.
        """
        limits, section = config.limits, config.doors[self._name]
        frontend, door, presets = self._frontend, self._door, config.presets.tables
        with self._errors_located():
            commit = frontend.prepare(section) if isinstance(frontend, TakesOptions) else None

        def change() -> None:
            self._presets.clear()
            self._presets.update(presets)
            door.caps.total, door.caps.per_address = _caps(section)
            door.queries.adjust(rate=limits.queries, burst=limits.query_burst, exempt=limits.exempt)
            door.writes.adjust(rate=limits.writes, burst=limits.write_burst, exempt=limits.exempt)
            if commit is not None:
                commit()

        return change

    @contextmanager
    def _errors_located(self) -> Iterator[None]:
        """Turn a front end's ValueError or OSError into a ConfigError that names its section."""
        try:
            yield
        except OptionError as error:
            raise ConfigError(f"{self._source}: [{self._name}] {error}") from error
        except (ValueError, OSError) as error:
            raise ConfigError(f"{self._source}: [{self._name}]: {error}") from error


def _caps(section: object) -> tuple[int, int]:
    """Most connections at once, in all and from one address. A section of another type has the defaults."""
    listening = section if isinstance(section, ListeningSection) else ListeningSection(listen=())
    return listening.max_connections, listening.max_connections_per_address
