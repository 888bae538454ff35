"""What is asked of the database, as plain functions of a connection; and the values that stand for its rows.

No threads, no trio, no files. Times are microseconds since 1970, as `wire.times` converts them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from fingertrio.backend import UserInfo
from fingertrio.wire.times import from_microseconds

_DAY = 24 * 60 * 60 * 1_000_000  # microseconds

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of what was said before is kept: `count` statuses of each user, and nothing set before `days` ago.

    The statuses that hold now, or will again when the latest has expired, are kept in any case.
    """

    count: int
    days: float | None = None

    def cutoff(self, now: int) -> int:
        """Before when nothing is kept."""
        return 0 if self.days is None else now - int(self.days * _DAY)

    @property
    def most(self) -> int:
        """How many there may be in the log before it is trimmed; answers always keep to `count`.

        To trim is to walk along all of a user's statuses, so it is done once in a while: when there are twice as many.
        """
        return self.count + max(8, self.count)


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One row of the log; `until` None: a lasting status."""

    since: int
    until: int | None
    text: str


class Put(NamedTuple):
    """A status to be set; `until` in microseconds. A tuple, since thousands are made in a second."""

    login: str
    text: str
    until: int | None = None


_FIND = """
SELECT user.login, user.name, user.details, status.text, status.since, status.until
FROM user JOIN status ON status.id = CASE WHEN user.passing_until > ?2 THEN user.latest ELSE user.lasting END
WHERE user.login = ?1
"""

_LIST = "SELECT login FROM user WHERE lasting IS NOT NULL OR passing_until > ? ORDER BY login"

# Along the log from the latest. A status without `until` ended when the next one without it was set; one with it ended
# then, or as soon as any other was set.
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


def find(connection: sqlite3.Connection, login: str, now: int) -> UserInfo | None:
    """What is to be answered for `login`."""
    row = connection.execute(_FIND, (login, now)).fetchone()
    return None if row is None else info_of(*row)


def logins(connection: sqlite3.Connection, now: int) -> list[str]:
    """Everybody who has a status now, in the order of their names."""
    return [login for (login,) in connection.execute(_LIST, (now,))]


def history(
    connection: sqlite3.Connection, login: str, limit: int, before: int | None, now: int, retention: Retention
) -> list[UserInfo]:
    """Statuses of `login`, newest first. `until`: when it ended or will; None: it holds, or will again."""
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
        UserInfo(login, text, since=from_microseconds(since), until=None if ended is None else from_microseconds(ended))
        for text, since, ended in found
    ]


def expired(connection: sqlite3.Connection, after: int, now: int) -> list[str]:
    """Whose status ended by its `until` later than `after`, up to `now`."""
    found = connection.execute("SELECT login FROM user WHERE passing_until > ? AND passing_until <= ?", (after, now))
    return [login for (login,) in found]


def next_expiry(connection: sqlite3.Connection, now: int) -> int | None:
    """When the next status will end by its `until`."""
    row: tuple[int | None] = connection.execute(
        "SELECT min(passing_until) FROM user WHERE passing_until > ?", (now,)
    ).fetchone()
    return row[0]


def info_of(login: str, name: str | None, details: str, text: str, since: int, until: int | None) -> UserInfo:
    return UserInfo(
        login,
        text,
        name,
        from_microseconds(since),
        None if until is None else from_microseconds(until),
        details_from_json(details),
    )


def details_from_json(text: str) -> Mapping[str, str]:
    """The details as UserInfo has them."""
    return _NOTHING if text == "{}" else MappingProxyType(json.loads(text))
