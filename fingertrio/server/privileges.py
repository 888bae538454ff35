"""From root to nobody in particular, for good.

A port below 1024 may need root; nothing after that does. So the ports are bound, everything that is imported late is
imported, and then user and groups are given up in a way that cannot be taken back.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 -- resolving a host name imports it, by then perhaps out of reach
import grp
import os
import pwd


class PrivilegeError(Exception):
    """We would run with rights that nobody asked for; the message says what to do."""


def drop_privileges(user: str | None, group: str | None, *, run_as_root: bool) -> str | None:
    """Become `user` and `group` with the user's supplementary groups; None: stay who we are.

    Args:
        user: a login name; only root can become somebody else, whoever is `user` already stays.
        group: a group's name; by default the user's own.
        run_as_root: the administrator's word that staying root is meant.

    Returns:
        Who we are now, where that has changed.

    Raises:
        PrivilegeError: there is no such user or group, it cannot be done, or we would stay root unasked.
    """
    if user is None:
        if os.geteuid() == 0 and not run_as_root:
            raise PrivilegeError(
                'running as root: give a user to become ([process] user = "..."), '
                "or say that root is meant ([process] run_as_root = true)"
            )
        return None
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise PrivilegeError(f'[process] user: there is no user "{user}"') from None
    try:
        gid = grp.getgrnam(group).gr_gid if group is not None else account.pw_gid
    except KeyError:
        raise PrivilegeError(f'[process] group: there is no group "{group}"') from None
    if account.pw_uid == os.geteuid() == os.getuid():
        return None
    try:
        os.initgroups(user, gid)
        os.setresgid(gid, gid, gid)
        os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    except PermissionError:
        raise PrivilegeError(f'[process] user: only root can become "{user}"') from None
    _check(account.pw_uid, gid)
    return user


def _check(uid: int, gid: int) -> None:
    """Trust nobody's word for it, not even the kernel's."""
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        raise AssertionError("the identity did not change")
    if uid != 0:
        try:
            os.setuid(0)
        except PermissionError:
            return
        raise AssertionError("the privileges could be taken back")
