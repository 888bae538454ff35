"""Check `homes`: whether the plan backend can read homes and plans, as the user that the server runs as.

A home that this user may not search hides its owner, which may be what the owner wants; so a closed home is a warning
only if a plan is in it.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from fingertrio.backends.plan.backend import Passwords, PlanOptions, SystemPasswords
from fingertrio.cli.doctor.check import Check, Report
from fingertrio.cli.doctor.installation import SERVICE, Installation
from fingertrio.cli.doctor.systemd import unit_properties
from fingertrio.config.options import OptionsError, validate
from fingertrio.names import is_user_name
from fingertrio.server.access import ServerUser

_NAMED = 5  # users that a line names; the rest is counted
_HIDES = {"yes", "tmpfs"}  # values of ProtectHome= with which a service sees no homes


@dataclass(slots=True)
class _Homes:
    """The users, by what the server can read of them."""

    open: list[str] = field(default_factory=list)  # the home can be searched
    closed: list[str] = field(default_factory=list)  # it cannot
    closed_plan: list[str] = field(default_factory=list)  # it cannot, and a plan is in it, as root sees
    unreadable_plan: list[str] = field(default_factory=list)  # the home can be searched, but the plan not read


async def look_at_homes(
    place: Installation, report: Report, *, passwords: Passwords | None = None, account: ServerUser | None = None
) -> None:
    """Whether the homes of all users can be searched, and their plans read."""
    await _look_at_protection(place, report)
    account = account or place.account
    _report_root(report, account)
    for _, table in place.backends("plan"):
        try:
            options = validate(PlanOptions, table, "backend")
        except OptionsError:
            continue  # the check configuration says so
        found = await trio.to_thread.run_sync(
            _sort, account, options, passwords or SystemPasswords(), abandon_on_cancel=True
        )
        _report(report, found, account, options)


def _accounts(options: PlanOptions, passwords: Passwords) -> Iterator[pwd.struct_passwd]:
    for name in passwords.names():
        found = passwords.find(name)
        if found is not None and options.min_uid <= found.pw_uid <= options.max_uid and is_user_name(name):
            yield found


def _sort(account: ServerUser, options: PlanOptions, passwords: Passwords) -> _Homes:
    homes = _Homes()
    for user in _accounts(options, passwords):
        home, name = Path(user.pw_dir), user.pw_name
        if account.obstacle(home, os.X_OK) is not None:
            homes.closed.append(name)
            if _is_there(home / ".plan"):
                homes.closed_plan.append(name)
            continue
        if not _is_there(home):
            continue  # an account without a home
        homes.open.append(name)
        if options.plan and _is_there(home / ".plan") and account.obstacle(home / ".plan", os.R_OK):
            homes.unreadable_plan.append(name)
    return homes


def _is_there(path: Path) -> bool:
    """Whether something is there, as far as this process may see."""
    try:
        return path.exists()
    except OSError:
        return False


def _report(report: Report, homes: _Homes, account: ServerUser, options: PlanOptions) -> None:
    total = len(homes.open) + len(homes.closed)
    if not total:
        report.warning(
            f"no account with a user id from {options.min_uid} to {options.max_uid} has a home",
            "the list of users is empty, and every user is unknown",
            "min_uid and max_uid in [backend] say which accounts are shown",
        )
    elif not homes.open:
        report.problem(
            f"{account.name}, which the server runs as, can search none of {total} homes",
            "every user looks like one who does not exist",
            "chmod 711 HOME lets the server read ~/.plan and others list nothing; DIR_MODE in /etc/adduser.conf is for "
            "new users",
        )
    else:
        report.ok(f"{account.name} can search {len(homes.open)} of {total} homes")
    if homes.closed_plan and homes.open:
        report.warning(
            f"{_names(homes.closed_plan)}: a plan in a closed home",
            'finger says "No such user", although they have written a plan',
            "they decide: chmod 711 ~ shows the plan, and other users cannot list the home",
        )
    elif homes.closed and homes.open:
        report.ok(
            f"{_names(homes.closed)}: the home is closed, so they are hidden",
            "chmod 711 ~, if they want to be shown; closed_homes = true shows them without a plan",
        )
    if homes.unreadable_plan:
        report.warning(
            f"{_names(homes.unreadable_plan)}: ~/.plan cannot be read by {account.name}",
            "they are shown without their plan",
            "chmod 644 ~/.plan, by each of them",
        )


def _report_root(report: Report, account: ServerUser) -> None:
    if account.uid == 0:
        report.problem(
            "the server runs as root",
            "it shows plans that their owners have closed to others",
            'user = "fingertrio" in [process], or the unit conf/systemd/fingertrio-plan.service',
        )


def _names(users: Sequence[str]) -> str:
    more = f" and {len(users) - _NAMED} more" if len(users) > _NAMED else ""
    return ", ".join(users[:_NAMED]) + more


async def _look_at_protection(place: Installation, report: Report) -> None:
    """Whether the unit of the service hides all homes."""
    unit = await unit_properties(place.machine, SERVICE, "LoadState", "MainPID", "ProtectHome", "PrivateUsers")
    runs_it = place.server is None or unit.get("MainPID") == str(place.server.pid)
    if unit.get("LoadState") != "loaded" or not runs_it:
        return
    if unit.get("ProtectHome") in _HIDES:
        report.problem(
            f"{SERVICE} has ProtectHome={unit['ProtectHome']}",
            "the service sees no homes, so every user is unknown",
            "install conf/systemd/fingertrio-plan.service under this name, or ProtectHome=read-only by "
            "systemctl edit fingertrio",
        )
    if unit.get("PrivateUsers") == "yes":
        report.problem(
            f"{SERVICE} has PrivateUsers=yes",
            "every file appears to belong to the user nobody, and a plan is served only if its user owns it",
            "PrivateUsers=no by systemctl edit fingertrio, and a restart",
        )


def _skip(place: Installation) -> str:
    return "" if place.backends("plan") else "no backend is plan"


CHECK = Check("homes", "Whether the plan backend can read homes and plans", look_at_homes, _skip)
