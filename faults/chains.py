"""Whether the statuses of a database of ours hang together, as sqlite3 sees it and without any code of ours.

A user's statuses are a chain: `user.latest` is its newest, and `previous` leads from each to the one before. When old
ones are forgotten the chain is cut, and mended where an old one outlives younger ones. What has to hold whenever the
file is looked at (fingertrio/backends/sqlite/schema.py):

- the chain meets each row of `status` that is this user's, and no other;
- ids descend along it, so that it ends;
- `kept` is at least their number, lest they would never be forgotten;
- `lasting` is NULL, or in the chain.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path


def damage(path: Path) -> tuple[int, list[str]]:
    """Walk all chains in the file at `path`, at one moment, whoever writes to it meanwhile.

    Returns:
        How many rows of `status` there are, and what is wrong, a line each.
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
            wrong.append(f"it meets {sorted(strangers)}, which are others'")
        if unmet := rows - chain:
            wrong.append(f"it never meets {sorted(unmet)}")
        if kept < len(rows):
            wrong.append(f"kept is {kept}, there are {len(rows)}")
        if lasting is not None and lasting not in chain:
            wrong.append(f"lasting is {lasting}, which is not in it")
        found += [f"the chain of {login}: {one}" for one in wrong]
    found += [f"{sorted(rows)} are of user {user}, who is not there" for user, rows in theirs.items()]
    return len(previous), found


def _walk(latest: int | None, previous: Mapping[int, int | None]) -> tuple[set[int], list[str]]:
    """What is met from `latest` on, as far as the chain can be followed, and why it cannot be followed further."""
    chain: set[int] = set()
    status = latest
    while status is not None:
        if status not in previous:
            return chain, [f"it leads to {status}, which is not there"]
        chain.add(status)
        before = previous[status]
        if before is not None and before >= status:
            return chain, [f"it leads from {status} up to {before}"]
        status = before
    return chain, []
