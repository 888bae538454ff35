"""Check `sqlite`: the file system under the database, who may write there, and whether the file is whole.

Nothing is changed: the file is opened for reading, and not at all where SQLite would have to make a file to read it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import trio

from fingertrio.backends.sqlite.files import companion
from fingertrio.backends.sqlite.opening import connect
from fingertrio.cli.doctor.check import Check, Report
from fingertrio.cli.doctor.installation import Installation

# SQLite's locks and the shared memory of its log need one kernel (sqlite.org/wal.html, "Disadvantages").
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gfs2", "ocfs2"}
_NETWORK_FUSE = ("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.ceph")
_LOST = {
    "overlay": "it belongs to a container, and is lost with it",
    "tmpfs": "it is in memory, and lost at a restart of the machine",
    "ramfs": "it is in memory, and lost at a restart of the machine",
}

_MEBIBYTE = 1024 * 1024
_FULL, _NEARLY_FULL = 16 * _MEBIBYTE, 256 * _MEBIBYTE  # bytes that are left
_LARGE_LOG = 64 * _MEBIBYTE  # the log is emptied at 4 MiB; more means that something reads for minutes, or blocks it
_CHECK = 8.0  # seconds for the check of the file
_STEPS = 10_000  # instructions of SQLite between two looks at the clock


async def look_at_database(place: Installation, report: Report) -> None:
    """The file system, the permissions and the content of the database."""
    database = place.database
    if database is None:
        return
    try:
        exists = database.exists()
    except OSError as error:
        report.warning(f"{database}: {error.strerror}", "it cannot be looked at", "run this command as root")
        return
    directory = next(each for each in (database, *database.parents) if each.exists())
    directory = directory if directory.is_dir() else directory.parent
    _look_at_file_system(place, report, database, directory)
    _look_at_permissions(place, report, database, directory, exists=exists)
    if not exists:
        report.ok(f"{database}: there is none yet; the server creates it")
        return
    _look_at_log(report, database)
    await trio.to_thread.run_sync(_look_inside, report, database, abandon_on_cancel=True)


def _look_at_file_system(place: Installation, report: Report, database: Path, directory: Path) -> None:
    mount = place.machine.mount_of(database if database.exists() else directory)
    if mount is not None:
        if mount.kind in _NETWORK or mount.kind.startswith(_NETWORK_FUSE):
            report.problem(
                f"{database} is on {mount.kind} ({mount.place}), a network file system",
                "SQLite's locks and log need a local one: two machines, or one after a break, can damage the file",
                "move it to a local disk ([backend] path), or share statuses by Redis: docs/guide/scaling.md",
            )
        elif mount.kind in _LOST:
            report.warning(
                f"{database} is on {mount.kind} ({mount.place})",
                _LOST[mount.kind],
                "use a volume or another directory, in [backend] path",
            )
        elif mount.read_only:
            report.problem(
                f"{database}: {mount.place} is mounted read-only",
                "no status can be set",
                f"mount -o remount,rw {mount.place}; dmesg says whether the disk has failed",
            )
        else:
            report.ok(f"{database} is on {mount.kind}, a local file system")
    room = os.statvfs(directory)
    free = room.f_bavail * room.f_frsize
    if free < _NEARLY_FULL:
        level = report.problem if free < _FULL else report.warning
        level(
            f"{directory}: {_size(free)} are free",
            "when the disk is full, no status can be set",
            "make room; history and history_days in [backend] bound what is kept",
        )
    else:
        report.ok(f"{directory}: {_size(free)} are free")


def _look_at_permissions(place: Installation, report: Report, database: Path, directory: Path, *, exists: bool) -> None:
    user = place.account
    obstacle = user.obstacle(directory, os.W_OK | os.X_OK)
    if obstacle is None and exists:
        obstacle = user.obstacle(database, os.R_OK | os.W_OK)
    if obstacle is not None:
        level = report.problem if place.knows_account else report.warning
        who = "which the server runs as" if place.knows_account else "which this command runs as"
        level(
            f"{user.name}, {who}, may not {obstacle.lacks} {obstacle.place} ({obstacle.ownership})",
            "a server of this user does not start, or no status can be set",
            f"chown -R {user.name} {directory}, if this is the server's user; otherwise run this command as root",
        )


def _look_at_log(report: Report, database: Path) -> None:
    try:
        size = companion(database, "-wal").stat().st_size
    except OSError:
        return  # none
    if size > _LARGE_LOG:
        report.warning(
            f"{database}-wal has {_size(size)}",
            "the log cannot be emptied: a program keeps the database open for reading",
            f"fuser -v {database} shows which; a backup by fingertrio backup does not do that",
        )


def _look_inside(report: Report, database: Path) -> None:
    """PRAGMA quick_check, in a thread."""
    wal, shm = companion(database, "-wal"), companion(database, "-shm")
    if wal.exists() and not shm.exists():
        report.ok(f"{database}: its log was left by a program that was killed; the next start reads it")
        return
    deadline = time.monotonic() + _CHECK
    try:
        with closing(connect(database, "ro" if wal.exists() else "immutable")) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            report.ok(f"{database} is too large to be checked within {_CHECK:g} s", "sqlite3 FILE 'PRAGMA quick_check'")
        else:
            report.warning(f"{database}: {error}", "it cannot be read by this user", "run this command as root")
    except sqlite3.DatabaseError as error:
        _report_damage(report, database, str(error))
    else:
        if found == ["ok"]:
            report.ok(f"{database} is whole (PRAGMA quick_check), {_size(database.stat().st_size)}")
        else:
            _report_damage(report, database, "; ".join(found))


def _size(number: int) -> str:
    """Bytes, in the largest unit that gives more than one."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 2048 or unit == "GiB":
            return f"{number} {unit}"
        number //= 1024
    raise AssertionError("the last unit takes any number")


def _report_damage(report: Report, database: Path, reason: str) -> None:
    report.problem(
        f"{database} is damaged: {reason}",
        "statuses are lost, or will be",
        "fingertrio export what can be read, then restore the last backup; docs/guide/sqlite.md",
    )


def _skip(place: Installation) -> str:
    return "" if place.database is not None else "there is no SQLite database"


CHECK = Check("sqlite", "The database, its file system, and who may write it", look_at_database, _skip, limit=20.0)
