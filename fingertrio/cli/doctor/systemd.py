"""Check `systemd`: whether units are installed, enabled and well, and whether their sockets fit the sections."""

from __future__ import annotations

from collections.abc import Mapping

from fingertrio.cli.doctor.check import Check, Report
from fingertrio.cli.doctor.installation import SERVICE, Installation
from fingertrio.cli.doctor.machine import Machine

_GUIDE = "docs/guide/operating.md, Install as a service"
_SERVICE = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "UnitFileState",
    "MainPID",
    "NRestarts",
    "NeedDaemonReload",
)
_SOCKET = ("ActiveState", "UnitFileState", "FileDescriptorName", "Listen")


async def unit_properties(machine: Machine, unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit by name; empty if systemd does not run, or does not answer."""
    if not machine.systemd.exists():
        return {}
    shown = await machine.run(["systemctl", "show", unit, "-p", ",".join(names)]) or ""
    return {name: value for name, _, value in (line.partition("=") for line in shown.splitlines())}


async def look_at_units(place: Installation, report: Report) -> None:
    """The service and the sockets."""
    service = await unit_properties(place.machine, SERVICE, *_SERVICE)
    installed = service.get("LoadState") == "loaded"
    if installed:
        _report_service(place, report, service)
    else:
        report.warning(
            f"{SERVICE} is not installed",
            "nothing starts the server again after a failure, or after a restart of the machine",
            _GUIDE,
        )
    passed: set[str] = set()
    listed = await place.machine.run(
        ["systemctl", "list-unit-files", "fingertrio*.socket", "--no-legend", "--plain", "--no-pager"]
    )
    for line in (listed or "").splitlines():
        name = line.split()[0] if line.split() else ""
        if name:
            socket = await unit_properties(place.machine, name, *_SOCKET)
            if socket.get("UnitFileState") == "enabled" or socket.get("ActiveState") == "active":
                passed.add(socket.get("FileDescriptorName", ""))
                _report_socket(place, report, name, socket)
    _report_missing(place, report, passed)


def _report_service(place: Installation, report: Report, unit: Mapping[str, str]) -> None:
    state = f"{unit.get('ActiveState')} ({unit.get('SubState')})"
    if unit.get("ActiveState") == "failed" or unit.get("SubState") == "auto-restart":
        report.problem(
            f"{SERVICE}: {state}, {unit.get('Result')}",
            "the service does not start; clients of sockets wait in vain",
            "journalctl -u fingertrio -n 20 has the reason; then systemctl restart fingertrio",
        )
    elif place.server is not None and unit.get("MainPID") != str(place.server.pid):
        report.warning(
            f"{SERVICE} is {state}, and pid {place.server.pid} was started by something else",
            "two servers, or one that does not come back after a restart of the machine",
            "stop the one that you do not want",
        )
    else:
        report.ok(f"{SERVICE}: {state}, {unit.get('UnitFileState')}")
    if unit.get("UnitFileState") == "disabled":
        report.warning(
            f"{SERVICE} is disabled", "it does not start with the machine", "systemctl enable fingertrio.service"
        )
    if unit.get("NeedDaemonReload") == "yes":
        report.warning(
            f"the file of {SERVICE} has changed since systemd read it",
            "the old settings are in force",
            "systemctl daemon-reload, and systemctl restart fingertrio",
        )
    if (restarts := unit.get("NRestarts", "0")) not in {"", "0"}:
        report.warning(
            f"{SERVICE} was restarted {restarts} times since it was last started by hand",
            "it fails from time to time, and clients wait meanwhile",
            "journalctl -u fingertrio -p warning",
        )


def _report_socket(place: Installation, report: Report, name: str, socket: Mapping[str, str]) -> None:
    door, where = socket.get("FileDescriptorName", ""), socket.get("Listen", "").partition(" ")[0]
    if place.config is None:
        return
    section = place.listening().get(door)
    if section is None:
        report.problem(
            f'{name} passes a socket named "{door}", and there is no section [{door}] that listens',
            "the server does not start with a socket that it cannot use",
            f"systemctl disable --now {name}, or add [{door}] to {place.source}",
        )
    elif socket.get("ActiveState") != "active":
        report.problem(
            f"{name} is enabled, and {socket.get('ActiveState') or 'not active'}",
            f"no client reaches [{door}]",
            f"systemctl status {name}; systemctl restart fingertrio starts both",
        )
    elif section.listen and where not in {str(address.path or address) for address in section.listen}:
        report.warning(
            f"{name} listens on {where}; [{door}] listen is {', '.join(map(str, section.listen))} and is not used",
            "a socket that systemd passes replaces the addresses of the section",
            f"listen = [] in [{door}], or systemctl disable --now {name}",
        )
    else:
        report.ok(f"{name}: {where} for [{door}]")


def _report_missing(place: Installation, report: Report, passed: set[str]) -> None:
    for door, section in place.listening().items():
        if not section.listen and door not in passed:
            report.problem(
                f'[{door}] listen is empty, and no enabled socket unit is named "{door}"',
                "the server does not start",
                f"systemctl enable --now fingertrio-{door}.socket (FileDescriptorName={door}), or write an address",
            )


def _skip(place: Installation) -> str:
    return "" if place.machine.systemd.exists() else "systemd does not run this machine"


CHECK = Check("systemd", "Units and sockets of systemd", look_at_units, _skip)
