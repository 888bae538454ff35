"""What the checks look at: the configuration, the server that runs with it, its user, and the machine."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fingertrio.cli.doctor.account import account_of, own_account
from fingertrio.cli.doctor.machine import Machine
from fingertrio.cli.errors import stop
from fingertrio.clients.http_get import Answer, http_get, http_get_after
from fingertrio.config.config import Config, load_config
from fingertrio.config.doors import HttpSection, SecuredSection
from fingertrio.config.errors import ConfigError
from fingertrio.config.places import default_config
from fingertrio.config.sections import ListeningSection
from fingertrio.config.table import CLIENT_VARIABLES
from fingertrio.net.address import Address, parse_address
from fingertrio.server.access import ServerUser
from fingertrio.server.accounts import database_path
from fingertrio.server.runtime import RunningServer, running_servers

SERVICE = "fingertrio.service"  # of conf/systemd

_OWN_CONNECTION = b"PROXY UNKNOWN\r\n"  # the proxy itself connects, for no client

_OURS = {"use", "on_failure", "skip_after"}  # keys of a backend's table that are not its own options

T = TypeVar("T")


def unverified() -> ssl.SSLContext:
    """For connections to this machine, and for looking at certificates that are not trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True, kw_only=True)
class Installation:
    """One installation.

    Attributes:
        path: the configuration file; None: the built-in configuration.
        config: what is in it; None: it has mistakes.
        mistakes: the message that lists them; empty: there are none.
        server: the server that runs with it; None: none does.
        account: the user that the server runs as, or will.
        knows_account: False: nothing says which user that will be, so it is the user of this command.
        machine: where all this is.
        trust: the certificates that are trusted.
        environ: the environment of the server, or ours if it may not be seen.
    """

    path: Path | None = None
    config: Config | None = None
    mistakes: str = ""
    server: RunningServer | None = None
    account: ServerUser = field(default_factory=own_account)
    knows_account: bool = True
    machine: Machine = field(default_factory=Machine)
    trust: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def source(self) -> str:
        """The name of the configuration, for people."""
        return str(self.path or "the built-in configuration")

    def section(self, name: str, kind: type[T]) -> T | None:
        """The section of a front end; None: there is none, or it is of another type."""
        found = None if self.config is None else self.config.doors.get(name)
        return found if isinstance(found, kind) else None

    @property
    def http(self) -> HttpSection | None:
        """The section [http]."""
        return self.section("http", HttpSection)

    @property
    def url(self) -> str | None:
        """The public address of the pages, if it is configured."""
        return None if self.http is None else self.http.url

    def listening(self) -> dict[str, ListeningSection]:
        """The sections that listen, by name."""
        doors = {} if self.config is None else self.config.doors
        return {name: section for name, section in doors.items() if isinstance(section, ListeningSection)}

    def certificates(self) -> Iterator[tuple[str, Path, Path]]:
        """Of each section with TLS: its name, the file with the certificate, and that with the key."""
        for name, section in self.listening().items():
            if isinstance(section, SecuredSection) and section.certfile is not None and section.keyfile is not None:
                yield name, section.certfile, section.keyfile

    def addresses(self, door: str) -> list[Address]:
        """Where a front end listens: as configured, or as the running server says where the kernel or systemd chose."""
        section = self.listening().get(door)
        listen = () if section is None else section.listen
        # A section may have addresses with keys of their own; here they are addresses.
        configured = [Address(each.host, each.port, each.path) for each in listen if each.path or each.port]
        if listen and len(configured) == len(listen):
            return configured
        return configured + [address for address in self.served(door) if address not in configured]

    def served(self, door: str) -> list[Address]:
        """Where the running server says that a front end listens."""
        texts: Sequence[str] = () if self.server is None else self.server.doors.get(door, ())
        found = []
        for text in texts:
            try:
                found.append(parse_address(text if text.startswith("unix:") else text.rpartition("//")[2]))
            except ValueError:  # of a front end from another package, or the nick of [irc]
                continue
        return found

    def backends(self, use: str) -> list[tuple[str, dict[str, Any]]]:
        """The options of all backends of this kind, layers included, each with its place in the configuration."""
        if self.config is None:
            return []
        table = {"use": self.config.backend.use, **self.config.backend.options}
        return [
            (place, {key: value for key, value in each.items() if key not in _OURS})
            for place, each in _tables("[backend]", table)
            if each.get("use") == use
        ]

    @property
    def database(self) -> Path | None:
        """The SQLite database, if there is one."""
        if self.server is not None and self.server.database is not None:
            return Path(self.server.database)
        return None if self.config is None else database_path(self.config.backend)

    async def ask_locally(self, path: str, headers: Mapping[str, str] | None = None) -> Answer | None:
        """What the web front end of the running server answers at its own address; None: it cannot be asked there.

        With the PROXY protocol, a trusted proxy must send a header first, and this machine may be one.

        Raises:
            RemoteError: it does not answer.
        """
        if self.server is None or not self.server.doors.get("http"):
            return None
        base, place = self.server.url or next(iter(self.server.doors["http"])), None
        if base.startswith("unix:"):
            secured = self.http is not None and self.http.certfile is not None
            base, place = f"http{'s' if secured else ''}://localhost", Path(base.removeprefix("unix:"))
        senders = None if self.http is None else self.http.header_senders
        peer = "" if place is not None else (urlsplit(base).hostname or "")  # we connect from where we connect to
        if senders is not None and senders.includes(peer):
            return await http_get_after(
                _OWN_CONNECTION, base + path, ssl_context=unverified(), headers=headers, socket_path=place
            )
        return await http_get(base + path, ssl_context=unverified(), headers=headers, socket_path=place)


def _tables(place: str, table: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield place, table
    layers = table.get("layers") if table.get("use") == "layers" else None
    for number, layer in enumerate(layers if isinstance(layers, list) else (), 1):
        if isinstance(layer, dict):
            yield from _tables(f"layer {number} of {place}", layer)


async def find_installation(path: Path | None, machine: Machine, trust: ssl.SSLContext) -> Installation:
    """The installation of the configuration at `path`.

    None: the first of FINGERTRIO_CONFIG, the running server, systemd's unit, what `init` wrote, the built-in one.

    Ends the program if it is not clear which one is meant.
    """
    if path is None and (named := os.environ.get("FINGERTRIO_CONFIG")):
        path = Path(named)
    servers = [server for server in running_servers() if path is None or _is_same(server.config, path)]
    if len(servers) > 1:
        names = "; ".join(f"pid {server.pid}, {server.config or 'built-in configuration'}" for server in servers)
        stop(f"several servers run here ({names}); name one by --config")
    server = servers[0] if servers else None
    if path is None and server is not None and server.config is not None:
        path = Path(server.config)
    if path is None and server is None:
        path = await _of_unit(machine) or default_config()
    environ, config, mistakes = _environ(server, machine), None, ""
    try:
        config = load_config(path, environ, to_serve=True)
    except ConfigError as error:
        mistakes = str(error)
    account = _account(server, config, machine)
    return Installation(
        path=path,
        config=config,
        mistakes=mistakes,
        server=server,
        account=account or own_account(),
        knows_account=account is not None,
        machine=machine,
        trust=trust,
        environ=environ,
    )


def _is_same(config: str | None, path: Path) -> bool:
    return config is not None and os.path.realpath(config) == os.path.realpath(path)


async def _of_unit(machine: Machine) -> Path | None:
    """The configuration file that the systemd unit of the service names."""
    shown = await machine.run(["systemctl", "show", SERVICE, "-p", "ExecStart", "--value"]) or ""
    words = shown.replace(";", " ").split()
    at = words.index("--config") + 1 if "--config" in words else len(words)
    return Path(words[at]) if at < len(words) else None


def _environ(server: RunningServer | None, machine: Machine) -> Mapping[str, str]:
    """The variables that the server reads its configuration with."""
    theirs = None if server is None else machine.environ(server.pid)
    found = dict(os.environ) if theirs is None else theirs
    return {name: value for name, value in found.items() if name not in CLIENT_VARIABLES}


def _account(server: RunningServer | None, config: Config | None, machine: Machine) -> ServerUser | None:
    """The user that the server runs as; None: nothing says which."""
    status = {} if server is None else machine.status(server.pid)
    if "Uid" in status:
        groups = {int(status["Gid"].split()[1]), *map(int, status.get("Groups", "").split())}
        return account_of(int(status["Uid"].split()[1]), groups)
    if config is not None and config.process.user is not None:
        try:
            return ServerUser.find(config.process.user, config.process.group)
        except KeyError:
            return None  # the check configuration says so
    database = None if config is None else database_path(config.backend)
    try:
        # DynamicUser= and User= of a unit leave their trace: only the server's user has made the file.
        about = None if database is None or os.geteuid() != 0 else database.stat()
    except OSError:
        about = None
    return None if about is None else account_of(about.st_uid, {about.st_gid})
