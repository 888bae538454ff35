"""Queries, as plain functions of a connection, and the values that stand for rows.

No threads, no trio, no files. Times are microseconds since 1970, as `wire.times` converts them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from fingertrio.backend import Recency, UserInfo
from fingertrio.wire.times import from_microseconds, to_microseconds

_DAY = 24 * 60 * 60 * 1_000_000  # microseconds

_NO_DETAILS: Mapping[str, str] = MappingProxyType({})

DEFAULT_HISTORY = 1000  # statuses of each user that are kept


@dataclass(frozen=True, slots=True)
class Retention:
    """How much history is kept: `count` statuses of each user, and none that was set more than `days` ago.

    The status that holds now, and the one that will hold when it ends, are always kept.
    """

    count: int
    days: float | None = None

    @property
    def by_count(self) -> Retention:
        """The same without `days`, for a clock that may be wrong."""
        return Retention(self.count)

    def cutoff(self, now: int) -> int:
        """The time before which no history is kept."""
        return 0 if self.days is None else now - int(self.days * _DAY)

    @property
    def trim_above(self) -> int:
        """How many statuses of a user may be stored before they are trimmed; answers always respect `count`.

        Trimming walks along all statuses of a user, so it is only done when there are twice as many as wanted.
        """
        return self.count + max(8, self.count)


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One row of the table `status`; `until` None: a lasting status."""

    since: int
    until: int | None
    text: str


# Stands in the table for a cleared status: the table rejects an empty text, and no status consists of a line end.
# Rebuilding the table without that constraint would stop a server with a long history for a while.
_CLEARED = "\n"


def to_stored(text: str) -> str:
    """The form of a status in the table."""
    return text or _CLEARED


def from_stored(text: str) -> str:
    """The form of a status outside of the table; empty if it was cleared."""
    return "" if text == _CLEARED else text


class Describe(NamedTuple):
    """A full name and details to set."""

    login: str
    name: str | None
    details: Mapping[str, str]


class Put(NamedTuple):
    """A status to set; `until` in microseconds. A tuple, because thousands are created in a second."""

    login: str
    text: str
    until: int | None = None


_FIND = """
SELECT user.login, user.name, user.details, status.text, status.since, status.until
FROM user JOIN status ON status.id = CASE WHEN user.passing_until > ?2 THEN user.latest ELSE user.lasting END
WHERE user.login = ?1
"""

_LIST = "SELECT login FROM user WHERE lasting IS NOT NULL OR passing_until > ? ORDER BY login"

# From the latest status backwards. A lasting status ended when the next lasting one was set. A passing status ended at
# its `until`, or earlier if any other status was set.
_HISTORY = """
WITH RECURSIVE chain (id, since, until, previous, ended, replaced, position, lasting) AS (
    SELECT status.id, status.since, status.until, status.previous, status.until,
           CASE WHEN status.until IS NULL THEN status.since END, 1, user.lasting
    FROM user JOIN status ON status.id = user.latest
    WHERE user.login = :login
    UNION ALL
    SELECT status.id, status.since, status.until, status.previous,
           CASE WHEN status.until IS NULL THEN chain.replaced ELSE min(status.until, chain.since) END,
           CASE WHEN status.until IS NULL THEN status.since ELSE chain.replaced END,
           chain.position + 1, chain.lasting
    FROM chain CROSS JOIN status ON status.id = chain.previous
)
SELECT status.text, chain.since, chain.ended
FROM chain CROSS JOIN status ON status.id = chain.id
WHERE chain.since < :before
  AND (chain.position = 1 OR chain.id = chain.lasting OR chain.position <= :count AND chain.since >= :cutoff)
LIMIT :limit
"""

_FOREVER = 2**63 - 1  # no `before`

# From the place (:recency, :login). Not those whose status has ended: their place is that of the ended one.
_RECENT = """
SELECT user.login, user.name, user.details, status.text, status.since, status.until
FROM user JOIN status ON status.id = CASE WHEN user.recency_until IS NULL THEN user.lasting ELSE user.latest END
WHERE user.recency IS NOT NULL AND (user.recency, user.login) > (:recency, :login)
  AND (user.recency_until IS NULL OR user.recency_until > :now)
ORDER BY user.recency, user.login
LIMIT :limit
"""

# Those, with the status that holds again. There are few: a server moves them as soon as their status has ended.
_RECENTLY_ENDED = """
SELECT user.login, user.name, user.details, status.text, status.since, status.until
FROM user JOIN status ON status.id = user.lasting
WHERE user.recency_until <= :now AND status.text <> char(10) AND (-status.since, user.login) > (:recency, :login)
"""


def find(connection: sqlite3.Connection, login: str, now: int) -> UserInfo | None:
    """The user with the status that holds now; None: the user is unknown or has no status now."""
    row = connection.execute(_FIND, (login, now)).fetchone()
    return None if row is None else info_of(*row)


def logins(connection: sqlite3.Connection, now: int) -> list[str]:
    """Every user who has a status now, in the order of the names."""
    return [login for (login,) in connection.execute(_LIST, (now,))]


def history(
    connection: sqlite3.Connection, login: str, limit: int, before: int | None, now: int, retention: Retention
) -> list[UserInfo]:
    """Statuses of `login`, newest first. `until`: when it ended or will end; None: it holds, or will hold again."""
    found = connection.execute(
        _HISTORY,
        {
            "login": login,
            "limit": max(limit, 0),
            "before": _FOREVER if before is None else before,
            "count": retention.count,
            "cutoff": retention.cutoff(now),
        },
    )
    return [
        UserInfo(
            login,
            from_stored(text),
            since=from_microseconds(since),
            until=None if ended is None else from_microseconds(ended),
        )
        for text, since, ended in found
    ]


def recent(connection: sqlite3.Connection, limit: int, before: Recency | None, now: int) -> list[UserInfo]:
    """The first `limit` statuses that hold now, or those behind the place `before`."""
    recency, login = -_FOREVER, ""
    if before is not None:
        if before.since is None:  # behind all statuses that have a time, as all have
            return []
        recency, login = -to_microseconds(before.since), before.user
    place = {"recency": recency, "login": login, "now": now, "limit": limit}
    # Of one snapshot: a user who is moved to another place between the two would be in neither.
    connection.execute("BEGIN")
    try:
        infos = [info_of(*row) for row in connection.execute(_RECENT, place)]
        ended = [info_of(*row) for row in connection.execute(_RECENTLY_ENDED, place)]
    finally:
        connection.rollback()
    if ended:
        infos = sorted([*infos, *ended], key=Recency.of)[:limit]
    return infos


def are_behind(connection: sqlite3.Connection, now: int) -> bool:
    """Whether some user is at the place of a status that has ended."""
    return connection.execute("SELECT 1 FROM user WHERE recency_until <= ? LIMIT 1", (now,)).fetchone() is not None


def are_ahead(connection: sqlite3.Connection, now: int) -> bool:
    """Whether some user has been moved from the place of a status that has not ended, by a clock that was ahead."""
    query = "SELECT 1 FROM user WHERE passing_until > ? AND recency_until IS NULL LIMIT 1"
    return connection.execute(query, (now,)).fetchone() is not None


def expired(connection: sqlite3.Connection, after: int, now: int) -> list[str]:
    """Users whose passing status ended after `after` and not after `now`."""
    found = connection.execute("SELECT login FROM user WHERE passing_until > ? AND passing_until <= ?", (after, now))
    return [login for (login,) in found]


def next_expiry(connection: sqlite3.Connection, now: int) -> int | None:
    """When the next passing status will end."""
    row: tuple[int | None] = connection.execute(
        "SELECT min(passing_until) FROM user WHERE passing_until > ?", (now,)
    ).fetchone()
    return row[0]


def info_of(login: str, name: str | None, details: str, text: str, since: int, until: int | None) -> UserInfo:
    return UserInfo(
        login,
        from_stored(text),
        name,
        from_microseconds(since),
        None if until is None else from_microseconds(until),
        details_from_json(details),
    )


def details_from_json(text: str) -> Mapping[str, str]:
    """The details in the form of UserInfo."""
    return _NO_DETAILS if text == "{}" else MappingProxyType(json.loads(text))
