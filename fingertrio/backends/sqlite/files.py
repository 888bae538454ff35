"""The file: where it is, how it is made, and which one it is.

Nobody but SQLite opens or closes the database file once it is in use: POSIX takes all locks of a process off a file
when any descriptor of it is closed.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

# Which file a path leads to: device and inode.
Identity = tuple[int, int]


def default_path() -> Path:
    """The database of whoever runs the program, under the XDG directory for what a program keeps; with its ~."""
    state = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    directory = Path(state) if state.startswith("/") else Path("~/.local/state")
    return directory / "fingertrio" / "fingertrio.db"


def absolute(path: Path) -> Path:
    """`path` as an absolute one. Raises ValueError where it names no file, or its ~ stands for nobody's home."""
    if not path.name or "\0" in str(path):
        raise ValueError("this names no file")
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from error


def make(path: Path) -> None:
    """Make an empty file, for its owner alone, and the directories that it needs; what is there stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    missing = [directory for directory in path.parents if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
        _give_away(directory)
        sync_directory(directory.parent)  # a file is as durable as the names that lead to it
    # SQLite would make it readable for all. Its companions, -wal and -shm, get the same permissions.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        _give_away(path)


def _give_away(path: Path) -> None:
    """What root has made belongs to whom the directory belongs, or the server, which is not root, could not open it."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` outlast a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def identity(path: Path) -> Identity | None:
    """Which file is there now; None: none is, or it cannot be told."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def companion(path: Path, suffix: Literal["-wal", "-shm"]) -> Path:
    """The file that SQLite keeps beside `path`; where that is a link, beside what it leads to."""
    target = path.resolve()
    return target.with_name(target.name + suffix)


def is_writable(path: Path) -> bool:
    """Whether we may write the file, and its companions beside it."""
    return all(_may(place, os.W_OK) for place in (path, path.resolve().parent))


def denied(path: Path) -> str | None:
    """Which permission we lack to read the database at `path`; None: that is not what is the matter with it."""
    # From the root downwards: below a directory that we may not enter, nothing can be told.
    for directory in reversed(path.resolve().parents):
        if not _may(directory, os.X_OK):
            return _whose(directory)
    wal, shm = companion(path, "-wal"), companion(path, "-shm")
    for place in (path, wal, shm):
        if place.exists() and not _may(place, os.R_OK):
            return _whose(place)
    if wal.exists() and not shm.exists() and not _may(shm.parent, os.W_OK):
        return f"{_whose(shm.parent)}, and {shm.name} has to be made there"
    return None


def _may(place: Path, what: int) -> bool:
    return os.access(place, what, effective_ids=True)


def _whose(place: Path) -> str:
    status = place.stat()
    user, group = _name(pwd.getpwuid, status.st_uid), _name(grp.getgrgid, status.st_gid)
    we = f"{_name(pwd.getpwuid, os.geteuid())}:{_name(grp.getgrgid, os.getegid())}"
    return f"{place} belongs to {user}:{group}, mode {stat.S_IMODE(status.st_mode):04o}; this program runs as {we}"


def _name(look_up: Callable[[int], tuple[object, ...]], number: int) -> str:
    try:
        return str(look_up(number)[0])
    except KeyError:  # nobody is called so, as in many a container
        return str(number)
