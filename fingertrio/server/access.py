"""What the user that a server changes to may do with files, computed from owners, groups and modes.

Asking the kernel is impossible before the change. Access control lists and security modules are not looked at, so a
path that is refused here can be allowed after all, and the other way round; both are rare.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a user from a path.

    Attributes:
        place: the directory or file.
        lacks: what the user may not do there: "enter", "read", "write", "run".
        ownership: "root:root, mode 0700".
    """

    place: Path
    lacks: str
    ownership: str


@dataclass(frozen=True, slots=True)
class ServerUser:
    """A user with the groups that a server has after it has changed to this user."""

    name: str
    uid: int
    groups: frozenset[int]

    @classmethod
    def find(cls, user: str, group: str | None) -> ServerUser:
        """The user of [process]. Raises KeyError if there is no such user or group."""
        account = pwd.getpwnam(user)
        gid = account.pw_gid if group is None else grp.getgrnam(group).gr_gid
        return cls(user, account.pw_uid, frozenset(os.getgrouplist(user, gid)))

    def obstacle(self, path: Path, mode: int) -> Obstacle | None:
        """What keeps this user from `path`; None: nothing does, as far as this process can see.

        Args:
            path: absolute. If it is not there and is written to, the directory in which it is made counts.
            mode: `os.R_OK`, `os.W_OK`, `os.X_OK`, or several of them.
        """
        try:
            real = path.resolve()
            for directory in reversed(real.parents):
                if not directory.exists():
                    return self._lacking(_existing(directory), os.W_OK | os.X_OK) if mode & os.W_OK else None
                if (found := self._lacking(directory, os.X_OK)) is not None:
                    return found
            if real.exists():
                return self._lacking(real, mode)
            return self._lacking(real.parent, os.W_OK | os.X_OK) if mode & os.W_OK else None
        except OSError:  # this process may not look; or a loop of links, which the server reports
            return None

    def _lacking(self, place: Path, mode: int) -> Obstacle | None:
        status = place.stat()
        missing = mode & ~self._bits(status)
        if not missing or self.uid == 0:
            return None
        is_directory = stat.S_ISDIR(status.st_mode)
        words = {os.R_OK: "read", os.W_OK: "write to", os.X_OK: "enter" if is_directory else "run"}
        lacks = " and ".join(word for bit, word in words.items() if missing & bit)
        return Obstacle(place, lacks, f"{_owner(status)}, mode {stat.S_IMODE(status.st_mode):04o}")

    def _bits(self, status: os.stat_result) -> int:
        """The three bits of a mode that count: those of the owner, the group, or others; never two of them."""
        if status.st_uid == self.uid:
            return status.st_mode >> 6 & 7
        return (status.st_mode >> 3 if status.st_gid in self.groups else status.st_mode) & 7


def _existing(directory: Path) -> Path:
    return next(place for place in directory.parents if place.exists())


def _owner(status: os.stat_result) -> str:
    try:
        user = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        user = str(status.st_uid)
    try:
        return f"{user}:{grp.getgrgid(status.st_gid).gr_name}"
    except KeyError:
        return f"{user}:{status.st_gid}"
