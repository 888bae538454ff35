"""The plan backend: the users of this machine, from the password database and the files in their homes.

    backend.py      the backend contract: who is shown, who is hidden
    homes.py        reads the files of one home
    looks.py        runs these reads in threads, and survives homes that do not answer
    release.py      waits until an exact time

The homes belong to the users, and the clients are unknown, so both sides need protection:

- A name is only a key of the password database, and only the exact login name finds a user.
- A file counts if it is a regular file that belongs to the owner of the home. Symbolic links, FIFOs, devices and other
  users' files are ignored and not even opened. No program is ever run.
- `.nofinger` in the home, of any type and any owner, hides the user everywhere. So does a home that we may not search:
  a `.nofinger` in it would be invisible to us, and the owner has closed the directory. Classic finger shows such users
  without their plan; `closed_homes` does the same.
- Hidden users, accounts outside the range of user ids and missing users get the same answer. Finding out takes
  different times (the password database stops at a match), so the answer is sent at a fixed time after the question.
- The password database may be remote and a home may be on a dead file system, so both are read in threads. A home that
  does not answer costs one thread until it answers again, and fails only the queries for its owner.

The files are read with the rights of this process. Do not run it as root: it would show files that are closed to
others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fingertrio.backends.plan.backend import Passwords, PlanBackend, PlanOptions, SystemPasswords

__all__ = ["Passwords", "PlanBackend", "PlanOptions", "SystemPasswords", "open_plan"]


@asynccontextmanager
async def open_plan(options: PlanOptions) -> AsyncIterator[PlanBackend]:
    """A backend over the users of this machine and their ~/.plan. It lists them; only they can change their plans."""
    yield PlanBackend(options)
