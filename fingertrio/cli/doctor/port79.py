"""Check `port79`: whether finger clients can reach the server, which know no other port, and who may open it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import trio

from fingertrio.cli.doctor.check import Check, Report
from fingertrio.cli.doctor.installation import Installation
from fingertrio.cli.doctor.machine import IP
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.finger import FINGER_PORT, finger
from fingertrio.config.doors import FingerSection
from fingertrio.net.address import Address, parse_ip
from fingertrio.net.proxies import TrustedProxies
from fingertrio.wire.finger import Query

_TRIED = 8  # addresses of a machine; some have hundreds
_PATIENCE = 5.0  # seconds for one answer
_ASKED = "fingertrio-doctor"  # no user: a short answer, which no backend has to list

_HOW = (
    "one of: the unit fingertrio-finger.socket, in which systemd opens the port; start as root with "
    '[process] user = "..."; AmbientCapabilities=CAP_NET_BIND_SERVICE in a unit; '
    "sysctl net.ipv4.ip_unprivileged_port_start=79"
)


async def look_at_port(place: Installation, report: Report) -> None:
    """Whether port 79 answers here, and may be opened."""
    addresses = [address for address in place.addresses("finger") if address.path is None]
    at_79 = [address for address in addresses if address.port == FINGER_PORT]
    if not addresses and place.server is None:
        report.ok("[finger] gets its sockets from systemd, see the check systemd")
    elif not at_79:
        ports = ", ".join(sorted({str(address.port) for address in addresses})) or "no TCP port"
        report.warning(
            f"[finger] listens on {ports}, not on {FINGER_PORT}",
            f"finger and lynx ask port {FINGER_PORT} and no other, so finger USER@HOST does not reach this server",
            'listen = ["0.0.0.0:79", "[::]:79"] in [finger], or a redirection in the firewall (nft ... redirect to)',
        )
    elif all(address.is_local for address in at_79):
        report.warning(
            f"[finger] listens on {', '.join(map(str, at_79))}, which only this machine reaches",
            "other machines cannot finger this server",
            'listen = ["0.0.0.0:79", "[::]:79"] in [finger]',
        )
    if place.server is None:
        if at_79:
            await _may_open(place, report)
        return
    answering = await _ask_everywhere(place, report, addresses)
    if at_79 and answering:
        _say_outside(report, [ip for ip in answering if not ip.is_loopback])


async def _ask_everywhere(place: Installation, report: Report, addresses: Sequence[Address]) -> list[IP]:
    """The own addresses at which the server answers a query. Reports those where it must, and does not."""
    own, ports = _own_clients(place), sorted({address.port for address in addresses})
    said: dict[tuple[IP, int], str] = {}  # why there was no answer; empty: there was one

    async def ask(ip: IP, port: int) -> None:
        try:
            answer = await finger(Query(_ASKED), str(ip), port, timeout=_PATIENCE)
            said[ip, port] = "" if answer else "the connection was closed without an answer"
        except RemoteError as error:
            said[ip, port] = str(error)

    async with trio.open_nursery() as nursery:
        for ip in own:
            for port in ports:
                nursery.start_soon(ask, ip, port)
    answering = [ip for ip in own if "" in {said[ip, port] for port in ports}]
    if answering:
        report.ok(f"answers at {', '.join(map(str, answering))}, port {', '.join(map(str, ports))}")
    elif not own:
        report.ok(
            "only proxies are answered (proxy_protocol), and every address here is that of one",
            "finger USER@HOST, through the proxy",
        )
    failed = {(ip, port): said[ip, port] for ip in own for port in ports if said[ip, port]}
    _report_failed(report, addresses, failed, answers=bool(answering))
    return answering


def _own_clients(place: Installation) -> list[IP]:
    """The own addresses from which the server can be asked.

    A trusted proxy gets no answer without a PROXY header, and this machine connects from the address it connects to.
    """
    section = place.section("finger", FingerSection)
    proxies = TrustedProxies() if section is None else section.header_senders or TrustedProxies()
    return [ip for ip in place.machine.addresses() if not proxies.include_address(ip)][:_TRIED]


def _report_failed(
    report: Report, addresses: Sequence[Address], failed: Mapping[tuple[IP, int], str], *, answers: bool
) -> None:
    unserved = []
    for (ip, port), reason in failed.items():
        where = str(Address(str(ip), port))
        if _listens(addresses, ip, port):
            report.problem(
                f"{where} does not answer: {reason}",
                "the server listens there, and clients wait in vain",
                "look at the log of the server, and at the firewall for traffic from this machine to itself",
            )
        elif not ip.is_loopback:
            unserved.append(where)
    if answers and unserved and not all(address.is_local for address in addresses):
        report.warning(
            f"does not listen at {', '.join(unserved)}",
            "names that lead to this address do not reach the server",
            'add it to [finger] listen, or use "0.0.0.0:79" and "[::]:79"',
        )


def _listens(addresses: Sequence[Address], ip: IP, port: int) -> bool:
    for address in addresses:
        host = parse_ip(address.host)
        same = host is None or host == ip or (host.is_unspecified and host.version == ip.version)
        if address.port == port and same:
            return True
    return False


def _say_outside(report: Report, addresses: Sequence[IP]) -> None:
    private = addresses and all(ip.is_private for ip in addresses)
    behind = "this machine has private addresses only, so a router has to forward port 79 to it; " if private else ""
    target = str(addresses[0]) if addresses and not private else "HOST"
    report.ok(
        f"{behind}whether other machines can connect cannot be tested from here",
        f"on another machine: printf '\\r\\n' | nc -w 5 {target} 79, or finger @{target}",
    )


async def _may_open(place: Installation, report: Report) -> None:
    """Whether the server will be allowed to open the port."""
    first = place.machine.number("net/ipv4/ip_unprivileged_port_start")
    user = place.config.process.user if place.config is not None else None
    enabled = await place.machine.run(["systemctl", "is-enabled", "fingertrio-finger.socket"])
    if enabled is not None and enabled.strip() == "enabled":
        report.ok("systemd opens port 79 (fingertrio-finger.socket)")
    elif first is not None and first <= FINGER_PORT:
        report.ok(f"every user may open port 79 (net.ipv4.ip_unprivileged_port_start = {first})")
    elif os.geteuid() == 0 or user is not None:
        whom = f", and then gives its rights up for {user}" if user else ""
        report.ok(f"started as root, the server may open port 79{whom}")
    else:
        report.problem(
            f"{place.account.name} may not open port 79",
            "only root may open ports below 1024, so it does not start",
            _HOW,
        )


def _skip(place: Installation) -> str:
    return "" if "finger" in place.listening() else "there is no section [finger]"


CHECK = Check("port79", "Whether finger clients reach the server", look_at_port, _skip)
