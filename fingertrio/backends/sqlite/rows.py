"""What is said to the database: every statement, as plain functions of a connection, in whatever transaction it has.

No threads, no trio, no files. Times are microseconds since 1970, as `moment` and `microseconds` translate them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from fingertrio.backend import UserInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = 24 * 60 * 60 * 1_000_000  # microseconds

_NOTHING: Mapping[str, str] = MappingProxyType({})


def microseconds(when: datetime) -> int:
    """Exact, as a floating-point timestamp would not be."""
    return (when - _EPOCH) // _MICROSECOND


def moment(time: int) -> datetime:
    """The opposite of `microseconds`, in UTC."""
    return _EPOCH + timedelta(microseconds=time)


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

        To trim is to walk along all of a user's statuses, so it is done once in a while: for every fourth part more.
        """
        return self.count + max(8, self.count // 4)


@dataclass(frozen=True, slots=True)
class Said:
    """One row of the log; `until` None: a lasting status."""

    since: int
    until: int | None
    text: str


# --- asking -----------------------------------------------------------------------------------------------------------

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
    return None if row is None else _info(*row)


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
        UserInfo(login, text, since=moment(since), until=None if ended is None else moment(ended))
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


def _info(login: str, name: str | None, details: str, text: str, since: int, until: int | None) -> UserInfo:
    return UserInfo(
        login, text, name, moment(since), None if until is None else moment(until), details_from_json(details)
    )


def details_from_json(text: str) -> Mapping[str, str]:
    """The details as UserInfo has them."""
    return _NOTHING if text == "{}" else MappingProxyType(json.loads(text))


# --- saying -----------------------------------------------------------------------------------------------------------

_WHOM = """
SELECT user.id, user.name, user.details, user.kept, user.latest, status.since
FROM user LEFT JOIN status ON status.id = user.latest
WHERE user.login = ?
"""

_SAY = "INSERT INTO status (user, since, until, previous, text) VALUES (?, ?, ?, ?, ?)"

_POINT = """
UPDATE user SET kept = ?, latest = ?, lasting = coalesce(?, lasting), passing_until = ?
WHERE id = ?
"""


def put(
    connection: sqlite3.Connection, login: str, text: str, until: int | None, now: int, retention: Retention
) -> UserInfo:
    """Let `login`, who need not exist, have a new status from `now` on. Returns what `find` gives."""
    row = connection.execute(_WHOM, (login,)).fetchone()
    if row is None:
        row = (add(connection, login), None, "{}", 0, None, None)
    user, name, details, kept, latest, last = row
    since = now if last is None else max(now, last + 1)  # along with the log, also after the clock was set back
    status = connection.execute(_SAY, (user, since, until, latest, text)).lastrowid
    connection.execute(_POINT, (kept + 1, status, status if until is None else None, until, user))
    if kept >= retention.most:
        trim(connection, user, now, retention)
    return _info(login, name, details, text, since, until)


def add(connection: sqlite3.Connection, login: str) -> int:
    """Make a user without a status. Returns the id."""
    added = connection.execute("INSERT INTO user (login) VALUES (?)", (login,)).lastrowid
    if added is None:
        raise AssertionError("INSERT gives a rowid")
    return added


def describe(connection: sqlite3.Connection, user: int, name: str | None, details: Mapping[str, str]) -> None:
    """Set the full name and the details."""
    text = json.dumps(dict(details), ensure_ascii=False)
    connection.execute("UPDATE user SET name = ?, details = ? WHERE id = ?", (name, text, user))


# --- the log of one user ----------------------------------------------------------------------------------------------

# Newest first.
_LOG = """
WITH RECURSIVE chain (id, since, previous) AS (
    SELECT status.id, status.since, status.previous
    FROM user JOIN status ON status.id = user.latest
    WHERE user.id = ?
    UNION ALL
    SELECT status.id, status.since, status.previous
    FROM chain CROSS JOIN status ON status.id = chain.previous
)
SELECT chain.id, chain.since, chain.previous, status.until, status.text
FROM chain CROSS JOIN status ON status.id = chain.id
"""


def trim(connection: sqlite3.Connection, user: int, now: int, retention: Retention) -> bool:
    """Forget what is not to be kept of the user with the id `user`. Returns whether there was anything."""
    chain = connection.execute(_LOG, (user,)).fetchall()
    (lasting,) = connection.execute("SELECT lasting FROM user WHERE id = ?", (user,)).fetchone()
    cutoff = retention.cutoff(now)
    kept: list[tuple[int, int | None]] = []
    dropped: list[tuple[int]] = []
    for position, (status, since, previous, _until, _text) in enumerate(chain):
        wanted = position < retention.count and since >= cutoff
        if wanted or position == 0 or status == lasting:
            kept.append((status, previous))
        else:
            dropped.append((status,))
    if not dropped:
        return False
    connection.executemany("DELETE FROM status WHERE id = ?", dropped)
    following = [*(status for status, _ in kept[1:]), None]
    links = [(after, status) for (status, previous), after in zip(kept, following, strict=True) if previous != after]
    connection.executemany("UPDATE status SET previous = ? WHERE id = ?", links)
    connection.execute("UPDATE user SET kept = ? WHERE id = ?", (len(kept), user))
    return True


def last_said(connection: sqlite3.Connection, user: int) -> tuple[str | None, int]:
    """The text of the last lasting status, and when the latest one was set; None and 0 where nothing was said."""
    row: tuple[str | None, int] = connection.execute(
        """
        SELECT (SELECT text FROM status WHERE id = user.lasting),
               coalesce((SELECT since FROM status WHERE id = user.latest), 0)
        FROM user WHERE user.id = ?
        """,
        (user,),
    ).fetchone()
    return row


def users_after(connection: sqlite3.Connection, after: int, count: int) -> list[int]:
    """The ids of the next `count` users."""
    found = connection.execute("SELECT id FROM user WHERE id > ? ORDER BY id LIMIT ?", (after, count))
    return [user for (user,) in found]


def log_of(connection: sqlite3.Connection, user: int) -> list[Said]:
    """Everything that the user said, oldest first."""
    found = connection.execute(_LOG, (user,)).fetchall()
    return [Said(since, until, text) for _id, since, _previous, until, text in reversed(found)]


def rewrite_log(connection: sqlite3.Connection, user: int, statuses: Sequence[Said]) -> None:
    """Let `statuses`, oldest first, be everything that the user said."""
    erase_log(connection, user)
    latest = lasting = passing_until = None
    for said in statuses:
        latest = connection.execute(_SAY, (user, said.since, said.until, latest, said.text)).lastrowid
        if said.until is None:
            lasting = latest
        passing_until = said.until
    connection.execute(_POINT, (len(statuses), latest, lasting, passing_until, user))


def erase_log(connection: sqlite3.Connection, user: int) -> None:
    """Forget everything that the user said."""
    found = connection.execute(_LOG, (user,)).fetchall()
    connection.executemany("DELETE FROM status WHERE id = ?", [row[:1] for row in found])
    connection.execute(
        "UPDATE user SET kept = 0, latest = NULL, lasting = NULL, passing_until = NULL WHERE id = ?", (user,)
    )


def retained(statuses: Iterable[Said], now: int, retention: Retention) -> list[Said]:
    """What `trim` would leave of `statuses`, oldest first."""
    said = list(statuses)
    first = len(said) - retention.count
    lasting = max((number for number, one in enumerate(said) if one.until is None), default=-1)
    cutoff = retention.cutoff(now)
    return [
        one
        for number, one in enumerate(said)
        if (number >= first and one.since >= cutoff) or number in (len(said) - 1, lasting)
    ]
