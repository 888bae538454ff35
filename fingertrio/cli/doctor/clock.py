"""Check `clock`: whether the kernel's clock is kept right, and how it differs from other machines' clocks.

A difference is as exact as the answer is old: Date has whole seconds, and the time on the way counts too. An answer of
this machine itself says nothing, so only other machines are compared.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from fingertrio.cli.doctor.check import Check, Report
from fingertrio.cli.doctor.installation import Installation
from fingertrio.clients.dial import RemoteError, resolve
from fingertrio.clients.http_get import http_get
from fingertrio.net.address import parse_ip

_UNSYNCHRONISED = 0x40  # STA_UNSYNC of adjtimex(2)
_COARSE, _WRONG = 5.0, 60.0  # seconds: a warning, and a problem

_NEXT = "timedatectl set-ntp true, or install chrony or systemd-timesyncd; timedatectl shows the state"


class _Timex(ctypes.Structure):
    """The first fields of struct timex, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def kernel_is_synchronised() -> bool | None:
    """Whether a program keeps the kernel's clock right; None: unknown. adjtimex(2) only reads if `modes` is 0."""
    found = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(found))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else not found.status & _UNSYNCHRONISED


async def look_at_clock(
    place: Installation, report: Report, *, synchronised: Callable[[], bool | None] = kernel_is_synchronised
) -> None:
    """Whether the clock is right, as far as this machine can know."""
    compared = [await _compare_with_url(place, report), await _compare_with_redis(place, report)]
    match synchronised():
        case True:
            report.ok("a program keeps the kernel's clock right (adjtimex)")
        case False:
            report.warning(
                "no program keeps the kernel's clock right (adjtimex: unsynchronised)",
                "statuses have wrong times, and end at wrong times; in a virtual machine the host may do it",
                _NEXT,
            )
        case None:
            report.warning(
                "it cannot be known whether the kernel's clock is kept right", "statuses have times and ends", _NEXT
            )
    if not any(compared):
        report.ok("there is no other machine to compare with", "compare with: date -u, beside a clock that is right")


async def _compare_with_url(place: Installation, report: Report) -> bool:
    """Compare with the Date of what answers at `url`, if that is another machine."""
    parts = urlsplit(place.url or "")
    if not parts.hostname or not await _is_elsewhere(place, parts.hostname, parts.port or 443):
        return False
    try:
        before = time.time()
        answer = await http_get(f"{place.url}/robots.txt?{before}", ssl_context=place.trust)
        theirs = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp() + 0.5
    except (RemoteError, ValueError, TypeError):
        return False
    _report_difference(report, (before + time.time()) / 2 - theirs, f"the Date that {parts.hostname} sends")
    return True


async def _compare_with_redis(place: Installation, report: Report) -> bool:
    """Compare with Redis, if that is on another machine: it gives statuses their order."""
    from fingertrio.cli.doctor.redis import redis_time, targets  # noqa: PLC0415 -- needs coredis only where it is used

    compared = False
    for options in targets(place):
        hosts = options.target.hosts
        if hosts and await _is_elsewhere(place, *hosts[0]):
            before = time.time()
            theirs = await redis_time(options)
            if theirs is not None:
                _report_difference(report, (before + time.time()) / 2 - theirs, str(options.target))
                compared = True
    return compared


async def _is_elsewhere(place: Installation, host: str, port: int) -> bool:
    try:
        found: Any = await resolve(host, port)
    except RemoteError:
        return False
    own = place.machine.addresses()
    return not any((ip := parse_ip(address[0])) is None or ip.is_loopback or ip in own for address in found)


def _report_difference(report: Report, seconds: float, other: str) -> None:
    how = f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} {other}"
    if abs(seconds) < _COARSE:
        report.ok(f"the clock agrees with {other}, to {_COARSE:g} s")
        return
    level = report.problem if abs(seconds) >= _WRONG else report.warning
    level(f"the clock is {how}", "statuses have wrong times, and end at wrong times", _NEXT)


CHECK = Check("clock", "Whether the clock is right", look_at_clock, limit=25.0)
