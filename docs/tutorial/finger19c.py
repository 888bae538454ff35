"""A backend that reads ~/.plan: files that belong to users, who may put anything there."""

import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

import trio

import finger19a
from finger19_1 import Backend

LONGEST = 4096  # bytes of a plan
THREADS = 4

Homes = Callable[[str], tuple[Path, int] | None]


def home_of(user: str) -> tuple[Path, int] | None:
    """Return the home directory of a user and the user's number, or None if there is no such user."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return None
    return Path(entry.pw_dir), entry.pw_uid


def read_file(path: Path, owner: int) -> str | None:
    """Return the text of a small file, or None if it is not an ordinary file of this owner. This blocks.

    Everything is checked on what was opened, not on its name: a name can mean another file a moment later.
    """
    try:
        # NOFOLLOW: not a link to /etc/shadow. NONBLOCK: not a pipe without a writer.
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != owner:  # not a hard link to somebody else's file
            return None
        return os.read(file, LONGEST).decode(errors="replace").strip()
    finally:
        os.close(file)


def read_plan(homes: Homes, user: str) -> str | None:
    """Return a user's plan, or None if there is no such user. This blocks: call it in a thread."""
    if (found := homes(user)) is None:
        return None
    home, owner = found
    return read_file(home / ".plan", owner) or "No Plan."


class PlanBackend:
    """The plans of the users of this machine."""

    def __init__(self, homes: Homes = home_of) -> None:
        self._homes = homes
        self._threads = trio.CapacityLimiter(THREADS)

    async def get_user(self, user: str) -> str | None:
        return await trio.to_thread.run_sync(
            read_plan, self._homes, user, limiter=self._threads, abandon_on_cancel=True
        )


async def main(
    backend: Backend | None = None,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    await finger19a.main(backend or PlanBackend(), host, task_status=task_status)


if __name__ == "__main__":
    trio.run(main)
