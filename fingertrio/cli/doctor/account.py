"""The user that the server runs as, and what that user may read, write and search.

For the user of this process the kernel answers. For another user it is computed from owners, groups and modes, which
root can read everywhere; access control lists are not looked at.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine.

    Attributes:
        name: the login name, or the number of a user without one.
        uid, groups: the user id and all group ids.
    """

    name: str
    uid: int
    groups: frozenset[int]

    def obstacle(self, path: Path, mode: int) -> Path | None:
        """The directory or file that keeps this user from `path`; None: nothing does.

        Args:
            path: of an existing file or directory.
            mode: `os.R_OK`, `os.W_OK`, `os.X_OK`, or several of them.

        Raises:
            OSError: `path` is not there, or this process cannot find out.
        """
        real = path.resolve(strict=True)
        for directory in reversed(real.parents):
            if not self._may(directory, os.X_OK):
                return directory
        return None if self._may(real, mode) else real

    def _may(self, path: Path, mode: int) -> bool:
        if self.uid == os.geteuid():
            return os.access(path, mode, effective_ids=True)
        return self.uid == 0 or self.bits(path.stat()) & mode == mode

    def bits(self, status: os.stat_result) -> int:
        """The bits of a file's mode that count for this user: read 4, write 2, execute 1."""
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid == self.uid:
            return mode >> 6 & 7
        return mode >> 3 & 7 if status.st_gid in self.groups else mode & 7


def account_of(uid: int, groups: Collection[int]) -> Account:
    """The account with these numbers."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Account(name, uid, frozenset(groups))


def named_account(name: str) -> Account | None:
    """The account with this login name, with all its groups."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, found.pw_uid, frozenset(os.getgrouplist(name, found.pw_gid)))


def own_account() -> Account:
    """The account of this process."""
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
