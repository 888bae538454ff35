"""Drops root privileges permanently.

Binding a port below 1024 may need root; nothing later does. The ports are bound, everything is imported, and then the
process changes user and groups irreversibly.
"""

from __future__ import annotations

import grp
import os
import pwd


class PrivilegeError(Exception):
    """The process would run with the wrong privileges; the message says what to do."""


def drop_privileges(user: str | None, group: str | None, *, run_as_root: bool) -> str | None:
    """Change to `user` and `group`, with the user's supplementary groups; None: change nothing.

    Args:
        user: a login name. Only root can change to another user.
        group: a group name; by default the user's own group.
        run_as_root: whether the administrator wants the process to stay root.

    Returns:
        The new user, or None if nothing changed.

    Raises:
        PrivilegeError: the user or group does not exist, the change is not permitted, or the process would stay root
            without `run_as_root`.
    """
    if user is None:
        if os.geteuid() == 0 and not run_as_root:
            raise PrivilegeError(
                'running as root: set the user to run as ([process] user = "..."), or set [process] run_as_root = true'
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
        raise PrivilegeError(f'[process] user: only root can change to "{user}"') from None
    _check(account.pw_uid, gid)
    return user


def _check(uid: int, gid: int) -> None:
    """Check that the change happened and cannot be reversed, instead of trusting the system calls."""
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        raise AssertionError("the identity did not change")
    if uid != 0:
        try:
            os.setuid(0)
        except PermissionError:
            return
        raise AssertionError("the privileges could be regained")
