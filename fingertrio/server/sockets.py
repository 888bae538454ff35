"""The listening sockets of all doors: bound here or passed by the service manager, and who may connect to them."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fingertrio.config.config import Config
from fingertrio.config.doors import SetterSection
from fingertrio.config.errors import ConfigError
from fingertrio.config.sections import ListeningSection, ProcessSection
from fingertrio.net.address import parse_address
from fingertrio.net.listen import BindError, SocketAccess, address_of, bind, close_all, tune
from fingertrio.observe.observer import Observer
from fingertrio.server.systemd import PassedSocketError, take_passed_sockets


@contextmanager
def bound(config: Config, source: str) -> Iterator[Mapping[str, Sequence[socket.socket]]]:
    """Listening sockets of every section that listens, bound here or passed by the service manager; closed at the end.

    Raises:
        ConfigError: an address cannot be bound, or a door has no address.
    """
    ours: list[socket.socket] = []
    listeners: dict[str, list[socket.socket]] = {}
    try:
        passed = take_passed_sockets()
        for name, section in config.doors.items():
            if isinstance(section, ListeningSection):
                listeners[name] = passed.pop(name, []) or _bind(name, section, config.process, ours, source)
                for sock in listeners[name]:
                    _require_local(name, section, sock, source)
                    tune(sock, defer_accept=section.client_speaks_first)
        if passed:
            raise ConfigError(f"{source}: sockets were passed for sections that do not exist: {', '.join(passed)}")
        yield listeners
    except PassedSocketError as error:
        raise ConfigError(f"{source}: {error}") from error
    finally:
        close_all(ours)
        for sockets in listeners.values():
            for sock in sockets:
                sock.close()


def _require_local(name: str, section: ListeningSection, sock: socket.socket, source: str) -> None:
    if section.local_only and not parse_address(address_of(sock)).is_local:
        raise ConfigError(
            f"{source}: [{name}]: the socket that was passed listens on {address_of(sock)}, "
            "which other machines can reach"
        )


def _bind(
    name: str, section: ListeningSection, process: ProcessSection, ours: list[socket.socket], source: str
) -> list[socket.socket]:
    if not section.listen:
        raise ConfigError(f'{source}: [{name}] listen: is empty, and no socket named "{name}" was passed')
    access = _access(name, section, process, source)
    sockets: list[socket.socket] = []
    for address in section.listen:
        try:
            sockets += bind(address, access)
        except BindError as error:
            close_all(sockets)
            raise ConfigError(f"{source}: [{name}] listen: {error}") from error
    ours += sockets
    return sockets


def _access(name: str, section: ListeningSection, process: ProcessSection, source: str) -> SocketAccess:
    """Who may connect to the unix sockets of a section. They belong to the user that the process will run as."""
    uid = gid = -1
    with suppress(KeyError):  # dropping privileges reports an unknown user or group
        if process.user is not None and os.geteuid() == 0:
            account = pwd.getpwnam(process.user)
            uid, gid = account.pw_uid, account.pw_gid
            if process.group is not None:
                gid = grp.getgrnam(process.group).gr_gid
    if section.socket_group is not None:
        try:
            gid = grp.getgrnam(section.socket_group).gr_gid
        except KeyError:
            raise ConfigError(f'{source}: [{name}] socket_group: there is no group "{section.socket_group}"') from None
    return SocketAccess(int(section.socket_mode, 8), uid, gid)


def warn_of_open_setters(config: Config, listeners: Mapping[str, Sequence[socket.socket]], observer: Observer) -> None:
    """Log each unix socket through which every local user can set every status."""
    for name, section in config.doors.items():
        if not isinstance(section, SetterSection):
            continue
        for sock in listeners.get(name, ()):
            address = parse_address(address_of(sock))
            if address.path is not None and section.auth_at(address) == "none" and _is_world_writable(address.path):
                observer.warning("world_writable_setter", door=name, address=str(address))


def _is_world_writable(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IWOTH)
    except OSError:
        return False
