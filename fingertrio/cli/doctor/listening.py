"""Check `listening`: which program has each address of the configuration, Unix sockets and stale files included."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import trio

from fingertrio.cli.doctor.check import Check, Report
from fingertrio.cli.doctor.installation import Installation
from fingertrio.cli.doctor.machine import IP, Listener, Process
from fingertrio.net.address import Address, parse_ip

_RESTART = "systemctl restart fingertrio, or stop the server and start it again"
_INIT = 1  # systemd holds the sockets that it passes on


@dataclass(frozen=True, slots=True)
class _Place:
    """An address of a front end: `host` is an address of a socket, or None for a Unix socket."""

    door: str
    address: Address
    host: IP | None = None

    def __str__(self) -> str:
        text = self.address if self.host is None else Address(str(self.host), self.address.port)
        return f"[{self.door}] {text}"

    def is_at(self, listener: Listener) -> bool:
        """Whether this socket takes connections to this address."""
        if self.host is None or listener.host is None:
            return self.host is None and listener.path == str(self.address.path)
        if listener.port != self.address.port:
            return False
        # A socket for all addresses takes those of each, and one for IPv6 often those of IPv4 as well.
        covers = listener.host.is_unspecified and listener.host.version >= self.host.version
        return covers or listener.host == self.host


async def look_at_listening(place: Installation, report: Report) -> None:
    """Who listens at each address."""
    wanted: list[_Place] = []
    for door in place.listening():
        addresses = place.addresses(door)
        if not addresses and place.server is None:
            report.ok(f"[{door}] gets its sockets from systemd, see the check systemd")
        for address in addresses:
            wanted += await _places(door, address, report)
    listeners = place.machine.listeners()
    at = {each: [listener for listener in listeners if each.is_at(listener)] for each in wanted}
    holders = await trio.to_thread.run_sync(
        place.machine.holders, [listener.inode for found in at.values() for listener in found], abandon_on_cancel=True
    )
    own = place.machine.addresses()
    for each, found in at.items():
        processes = [process for listener in found for process in holders[listener.inode]]
        if found:
            _report_taken(place, report, each, processes)
        elif each.host is not None and not _is_ours(each.host, own):
            report.problem(
                f"{each}: this machine does not have this address",
                "the server cannot listen there",
                f"correct [{each.door}] listen; the addresses are {', '.join(map(str, own))}",
            )
        else:
            _report_free(place, report, each)


async def _places(door: str, address: Address, report: Report) -> list[_Place]:
    if address.path is not None:
        return [_Place(door, address)]
    try:
        found = await trio.to_thread.run_sync(
            lambda: socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE),
            abandon_on_cancel=True,
        )
    except (OSError, UnicodeError) as error:
        report.problem(
            f"[{door}] {address}: the name has no address ({error})",
            "the server cannot listen there",
            f"write an address into [{door}] listen, or add the name to /etc/hosts",
        )
        return []
    hosts = dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found)
    return [_Place(door, address, host) for host in hosts]


def _is_ours(host: IP, own: Sequence[IP]) -> bool:
    plain = parse_ip(str(host))
    return not own or host.is_unspecified or host.is_loopback or host.is_link_local or plain in own


def _report_taken(place: Installation, report: Report, each: _Place, processes: Sequence[Process]) -> None:
    server = place.server
    if server is not None and server.pid in {process.pid for process in processes}:
        report.ok(f"{each}: fingertrio, pid {server.pid}")
    elif not processes:
        if server is not None and each.address in place.served(each.door):
            report.ok(f"{each}: the server says that it listens; which process it is only root may see")
        else:
            report.warning(
                f"{each}: a program listens, and this user may not see which",
                "it may be another one than fingertrio",
                "run this command as root, or ss -ltnp",
            )
    elif all(process.pid == _INIT for process in processes):
        _report_systemd(place, report, each)
    else:
        process = next(process for process in processes if process.pid != _INIT)
        report.problem(f"{each}: {process} listens there", _why_taken(process), _how_to_stop(process))


def _report_systemd(place: Installation, report: Report, each: _Place) -> None:
    if place.server is None:
        report.ok(f"{each}: systemd listens, and starts the service when a client connects")
    else:
        report.problem(
            f"{each}: systemd listens there, and has not passed the socket to pid {place.server.pid}",
            "clients wait, and get no answer",
            "systemctl restart fingertrio; if that does not help, systemctl list-sockets shows whose socket it is",
        )


def _why_taken(process: Process) -> str:
    if "fingertrio" in process.command and "serve" in process.command:
        return "this is another fingertrio: clients reach that one, and this configuration cannot be served beside it"
    return "clients reach that program, and fingertrio cannot listen there"


def _how_to_stop(process: Process) -> str:
    if process.unit and not process.unit.startswith("user@"):
        return f"systemctl disable --now {process.unit}, or another address in listen"
    return f"stop it (kill {process.pid}) and see that nothing starts it again, or use another address in listen"


def _report_free(place: Installation, report: Report, each: _Place) -> None:
    if place.server is not None:
        report.problem(
            f"{each}: no program listens there, although pid {place.server.pid} runs",
            "clients are refused; the address is new in the configuration, or a front end has failed",
            f"{_RESTART}; the log says if a front end fails",
        )
    elif each.address.path is not None:
        _report_free_path(report, each, each.address.path)
    else:
        report.ok(f"{each}: free")


def _report_free_path(report: Report, each: _Place, path: Path) -> None:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        if path.parent.is_dir():
            report.ok(f"{each}: free")
        else:
            report.problem(
                f"{each}: there is no directory {path.parent}",
                "the server cannot start",
                f"create it, or let systemd do so: RuntimeDirectory={path.parent.name}",
            )
        return
    except OSError as error:
        report.warning(f"{each}: {error.strerror}", "it cannot be known what is there", "run this command as root")
        return
    if not stat.S_ISSOCK(kind):
        report.problem(
            f"{each}: {path} is a file and not a socket",
            "the server does not replace files, and so cannot start",
            f"look at it, and remove it, or use another path in [{each.door}] listen",
        )
    elif (reason := _refusal(path)) == errno.ECONNREFUSED:
        report.warning(
            f"{each}: a stale socket file",
            "the program that made it was killed; commands that find it cannot connect",
            "none: fingertrio serve replaces it",
        )
    else:
        said = "a program listens there" if reason is None else os.strerror(reason)
        report.warning(f"{each}: {said}", "fingertrio may not be able to listen there", "run this command as root")


def _refusal(path: Path) -> int | None:
    """Why no connection to a Unix socket can be made; None: one can."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(str(path))
        except BlockingIOError:
            return None
        except OSError as error:
            return error.errno
    return None


def _skip(place: Installation) -> str:
    return "" if place.listening() else "no front end listens"


CHECK = Check("listening", "Which program listens at each address", look_at_listening, _skip)
