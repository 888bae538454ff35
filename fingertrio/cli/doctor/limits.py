"""Check `limits`: whether the server may have as many files open as it may have connections."""

from __future__ import annotations

import os
import resource
from contextlib import suppress

from fingertrio.cli.doctor.check import Check, Report
from fingertrio.cli.doctor.installation import SERVICE, Installation
from fingertrio.cli.doctor.systemd import unit_properties

_OTHERS = 200  # files besides connections: the database, homes, log, connections that are being closed
_BUSY = 0.8  # of the limit


async def look_at_limits(place: Installation, report: Report) -> None:
    """The limit of open files, what may be needed, and what is open now."""
    allowed, whose = await _allowed(place)
    needed = sum(section.max_connections for section in place.listening().values()) + _OTHERS
    if allowed < needed:
        report.warning(
            f"{whose}: {allowed:,} open files; max_connections of all doors allows {needed - _OTHERS:,} connections",
            "beyond the limit new clients wait until others leave (cannot_accept in the log)",
            f"LimitNOFILE={needed} in the unit, ulimit -n {needed} before the start, or a smaller max_connections",
        )
    else:
        report.ok(f"{whose}: {allowed:,} open files, enough for {needed - _OTHERS:,} connections")
    if place.server is None:
        return
    with suppress(OSError):
        used = len(os.listdir(place.machine.proc / f"{place.server.pid}/fd"))  # noqa: PTH208 -- a count of names
        if used > _BUSY * allowed:
            report.problem(
                f"{used:,} of {allowed:,} files are open",
                "soon no client can connect",
                "raise LimitNOFILE=, or see in the log which address has so many connections",
            )


async def _allowed(place: Installation) -> tuple[int, str]:
    """How many files the server may have open, and whose limit that is."""
    if place.server is not None:
        with suppress(OSError, ValueError, LookupError):
            lines = (place.machine.proc / f"{place.server.pid}/limits").read_text().splitlines()
            line = next(line for line in lines if line.startswith("Max open files"))
            return int(line.split()[3]), f"pid {place.server.pid}"
    unit = await unit_properties(place.machine, SERVICE, "LoadState", "LimitNOFILESoft")
    with suppress(ValueError):
        if unit.get("LoadState") == "loaded":
            return int(unit.get("LimitNOFILESoft", "")), SERVICE
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0], "a server that is started from this shell"


def _skip(place: Installation) -> str:
    return "" if place.listening() else "no front end listens"


CHECK = Check("limits", "Open files against connections", look_at_limits, _skip)
