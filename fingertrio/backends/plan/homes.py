"""Reads a user's home: whether `.nofinger` hides the user, and the texts of the files that finger shows.

All functions block; they are called in threads.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from fingertrio.wire.text import clean, decode

# O_PATH: a home may be searchable without being readable (mode 711), so opening it must not require more.
_HOME_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK, O_NOCTTY: if the file is replaced after the check, a FIFO must not block, nor a terminal become ours.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Home:
    """An open home.

    Attributes:
        fd: of the directory; None: there is no such directory.
        hidden: `.nofinger` exists; None: the home may not be searched.
    """

    fd: int | None
    hidden: bool | None


@contextmanager
def open_home(path: str) -> Iterator[Home]:
    """The home at `path`, closed when the context ends."""
    fd: int | None = None
    hidden: bool | None
    try:
        try:
            fd = os.open(path, _HOME_FLAGS)
            os.stat(".nofinger", dir_fd=fd, follow_symlinks=False)
            hidden = True
        except (FileNotFoundError, NotADirectoryError):  # no such file, or no home at all
            hidden = False
        except OSError:
            hidden = None
        yield Home(fd, hidden)
    finally:
        if fd is not None:
            os.close(fd)


@dataclass(frozen=True, slots=True)
class HomeFile:
    """The text of a file, and when it was written."""

    text: str
    modified: datetime | None


def read_file(home: int, name: str, owner: int, limit: int) -> HomeFile | None:
    """The file `name` in the directory `home`, cut after `limit` bytes; None: no file that counts, or a blank one."""
    try:
        if not _counts(os.stat(name, dir_fd=home, follow_symlinks=False), owner):
            return None
        fd = os.open(name, _FILE_FLAGS, dir_fd=home)
        try:
            about = os.fstat(fd)  # of the opened file; the name may mean another one by now
            if not _counts(about, owner):
                return None
            with open(fd, "rb", closefd=False) as file:
                data = file.read(limit + 1)
        finally:
            os.close(fd)
    except OSError:
        return None
    is_cut = len(data) > limit
    text = clean(decode(data[:limit], cut=is_cut)).rstrip("\n")
    if not text.strip():
        return None
    if is_cut:
        text += f"\n[cut here: {name} is longer than {limit} bytes]"
    return HomeFile(text, calendar_time(about.st_mtime))


def _counts(about: os.stat_result, owner: int) -> bool:
    return stat.S_ISREG(about.st_mode) and about.st_uid == owner


def calendar_time(timestamp: float) -> datetime | None:
    """None: outside of Python's calendar. The owner of a file may set its date to any year."""
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError):
        return None
