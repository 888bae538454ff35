"""The database file: its path, how it is created, and its identity.

Once the database is in use, only SQLite may open or close the database file: closing any descriptor of a file drops all
POSIX locks that the process holds on the file.
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
    """The path in the XDG state directory of the user who runs the program; `~` is not expanded."""
    state = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification says that a relative path must be ignored.
    directory = Path(state) if state.startswith("/") else Path("~/.local/state")
    return directory / "fingertrio" / "fingertrio.db"


def absolute(path: Path) -> Path:
    """`path` made absolute. Raises ValueError if it is not the path of a file, or if `~` cannot be expanded."""
    if not path.name or "\0" in str(path):
        raise ValueError("this is not the path of a file")
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from error


def make(path: Path) -> None:
    """Create an empty file (mode 0600) and missing directories (0700); existing ones stay as they are.

    Raises:
        OSError: the file or a directory cannot be created.
    """
    missing = [directory for directory in path.parents if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
        _give_to_owner_of_directory(directory)
        sync_directory(directory.parent)  # a file is only as durable as its directory entry
    # SQLite would create a file that every user can read. It gives -wal and -shm the permissions of the database.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        _give_to_owner_of_directory(path)


def _give_to_owner_of_directory(path: Path) -> None:
    """Give what root created to the owner of its directory, because the server, which is not root, must open it."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def sync_directory(directory: Path) -> None:
    """Fsync `directory`, so that its entries survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def identity(path: Path) -> Identity | None:
    """Which file `path` leads to now; None: no file, or it cannot be determined."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def companion(path: Path, suffix: Literal["-wal", "-shm"]) -> Path:
    """The -wal or -shm of the database at `path`; if `path` is a link, it is beside the target."""
    target = path.resolve()
    return target.with_name(target.name + suffix)


def is_writable(path: Path) -> bool:
    """Whether this process may write the database and create files beside it."""
    return all(_has_access(place, os.W_OK) for place in (path, path.resolve().parent))


def missing_permission(path: Path) -> str | None:
    """Which permission this process lacks to read the database at `path`; None: it lacks none."""
    # From the root downwards, because nothing can be said about files below a directory that we may not enter.
    for directory in reversed(path.resolve().parents):
        if not _has_access(directory, os.X_OK):
            return _ownership(directory)
    wal, shm = companion(path, "-wal"), companion(path, "-shm")
    for place in (path, wal, shm):
        if place.exists() and not _has_access(place, os.R_OK):
            return _ownership(place)
    if wal.exists() and not shm.exists() and not _has_access(shm.parent, os.W_OK):
        return f"{_ownership(shm.parent)}, and SQLite has to create {shm.name} there"
    return None


def _has_access(place: Path, mode: int) -> bool:
    return os.access(place, mode, effective_ids=True)


def _ownership(place: Path) -> str:
    status = place.stat()
    user, group = _name(pwd.getpwuid, status.st_uid), _name(grp.getgrgid, status.st_gid)
    process = f"{_name(pwd.getpwuid, os.geteuid())}:{_name(grp.getgrgid, os.getegid())}"
    return f"{place} belongs to {user}:{group}, mode {stat.S_IMODE(status.st_mode):04o}; this program runs as {process}"


def _name(look_up: Callable[[int], tuple[object, ...]], number: int) -> str:
    try:
        return str(look_up(number)[0])
    except KeyError:  # a number without a name, as in many containers
        return str(number)
