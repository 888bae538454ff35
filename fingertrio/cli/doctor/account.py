"""The user that the server runs as, and whether a file is open to everybody. What a user may do: `server.access`."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Collection
from pathlib import Path

from fingertrio.server.access import ServerUser


def account_of(uid: int, groups: Collection[int]) -> ServerUser:
    """The user with these numbers; one without a login name is called by its number."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return ServerUser(name, uid, frozenset(groups))


def own_account() -> ServerUser:
    """The user of this process."""
    return account_of(os.geteuid(), {os.getegid(), *os.getgroups()})


def open_to_others(path: Path, mode: int = os.R_OK) -> bool:
    """Whether every user of this machine may do this with a file: its own mode, and that of each directory above.

    Raises:
        OSError: it cannot be found out.
    """
    real = path.resolve(strict=True)
    return bool(real.stat().st_mode & mode) and all(
        directory.stat().st_mode & stat.S_IXOTH for directory in real.parents
    )
