"""Whether the chains of statuses in a SQLite database are intact, checked without the backend's own code.

A user's statuses are a chain: `user.latest` is the newest, and `previous` leads from each to the one before. Deleting
old statuses cuts the chain, or bridges a gap if an old one outlives younger ones. At every moment
(fingertrio/backends/sqlite/schema.py):

- the chain has each row of `status` of this user, and no other row;
- ids descend along it, so that it ends;
- `kept` is at least their number, since otherwise they would never be deleted;
- `lasting` is NULL or in the chain.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path


def damage(path: Path) -> tuple[int, list[str]]:
    """Check all chains in the file at `path` as of one moment, even while another process writes to it.

    Returns:
        The number of rows of `status`, and one line for each defect.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as database:
        database.execute("BEGIN")
        users = database.execute("SELECT id, login, kept, latest, lasting FROM user").fetchall()
        previous: dict[int, int | None] = {}
        theirs: defaultdict[int, set[int]] = defaultdict(set)
        for status, user, before in database.execute("SELECT id, user, previous FROM status"):
            previous[status] = before
            theirs[user].add(status)
    found: list[str] = []
    for user, login, kept, latest, lasting in users:
        rows = theirs.pop(user, set())
        chain, wrong = _walk(latest, previous)
        if strangers := chain - rows:
            wrong.append(f"it has {sorted(strangers)}, which are another user's")
        if unmet := rows - chain:
            wrong.append(f"it lacks {sorted(unmet)}")
        if kept < len(rows):
            wrong.append(f"kept is {kept}, but there are {len(rows)}")
        if lasting is not None and lasting not in chain:
            wrong.append(f"lasting is {lasting}, which is not in the chain")
        found += [f"the chain of {login}: {one}" for one in wrong]
    found += [f"{sorted(rows)} are of user {user}, who does not exist" for user, rows in theirs.items()]
    return len(previous), found


def _walk(latest: int | None, previous: Mapping[int, int | None]) -> tuple[set[int], list[str]]:
    """The ids from `latest` on, as far as the chain can be followed, and why it ends early."""
    chain: set[int] = set()
    status = latest
    while status is not None:
        if status not in previous:
            return chain, [f"it leads to {status}, which does not exist"]
        chain.add(status)
        before = previous[status]
        if before is not None and before >= status:
            return chain, [f"it leads from {status} up to {before}"]
        status = before
    return chain, []
