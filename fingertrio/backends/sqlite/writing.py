"""What is written to the database, as plain functions of a connection, in whatever transaction it has.

schema.py tells the shape: statuses are a log, each pointing at the one that the same user had before.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from fingertrio.backend import UserInfo
from fingertrio.backends.sqlite.rows import Put, Retention, StatusRow, info_of


class _UserRow:
    """A row of `user` while statuses are added."""

    __slots__ = ("details", "id", "kept", "lasting", "latest", "name", "passing_until", "since")

    def __init__(self, row: Sequence[Any]) -> None:
        self.id, self.name, self.details, self.kept, self.latest, self.lasting, self.since = row
        self.passing_until: int | None = None


# The last status of all; and of each login, the user's row and when the latest status was set. All of it in one row.
_WHOM = """
SELECT (SELECT coalesce(max(id), 0) FROM status), json_group_array(json_array(
    user.login, user.id, user.name, user.details, user.kept, user.latest, user.lasting, coalesce(status.since, 0)
))
FROM user LEFT JOIN status ON status.id = user.latest
WHERE user.login IN ({})
"""


# Rows for the log.
_SAY = "INSERT INTO status (id, user, since, until, previous, text) VALUES {}"

# Let users, who are there, point at other statuses.
_POINT = """
INSERT INTO user (id, login, kept, latest, lasting, passing_until) VALUES {}
ON CONFLICT (id) DO UPDATE SET kept = excluded.kept, latest = excluded.latest, lasting = excluded.lasting,
    passing_until = excluded.passing_until
"""


@cache
def _for(statement: str, count: int, placeholders: str = "(?, ?, ?, ?, ?, ?)") -> str:
    """`statement` with the placeholders for as many."""
    return statement.format(", ".join([placeholders] * count))


def put(connection: sqlite3.Connection, puts: Sequence[Put], now: int, retention: Retention) -> list[UserInfo]:
    """Let users, who need not exist, have new statuses from `now` on. For each what `find` gives after it.

    All are worked on together: each row that is fetched or written by itself gives the interpreter away, and has to
    wait until it gets it back from a loop that is busy.
    """
    status, rows = _whom(connection, {one.login for one in puts})
    people = {login: _UserRow(row) for login, *row in rows}
    said: list[int | str | None] = []
    infos: list[UserInfo] = []
    for login, text, until in puts:
        person = people.get(login)
        if person is None:
            person = people[login] = _UserRow((add(connection, login), None, "{}", 0, None, None, 0))
        status += 1
        person.since = max(now, person.since + 1)  # along with the log, also after the clock was set back
        said += (status, person.id, person.since, until, person.latest, text)
        person.kept += 1
        person.latest = status
        person.passing_until = until
        if until is None:
            person.lasting = status
        infos.append(info_of(login, person.name, person.details, text, person.since, until))
    connection.execute(_for(_SAY, len(puts)), said)
    pointers: list[int | str | None] = []
    for login, person in people.items():
        pointers += (person.id, login, person.kept, person.latest, person.lasting, person.passing_until)
    connection.execute(_for(_POINT, len(people)), pointers)
    for person in people.values():
        if person.kept > retention.most:
            trim(connection, person.id, now, retention)
    return infos


def _whom(connection: sqlite3.Connection, wanted: Collection[str]) -> tuple[int, list[list[Any]]]:
    status, rows = connection.execute(_for(_WHOM, len(wanted), "?"), tuple(wanted)).fetchone()
    return status, json.loads(rows)


def _last_status(connection: sqlite3.Connection) -> int:
    (status,) = connection.execute("SELECT coalesce(max(id), 0) FROM status").fetchone()
    return int(status)


def add(connection: sqlite3.Connection, login: str) -> int:
    """Make a user without a status. Returns the id."""
    added = connection.execute("INSERT INTO user (login) VALUES (?)", (login,)).lastrowid
    if added is None:
        raise AssertionError("INSERT gives a rowid")
    return added


def update_profile(connection: sqlite3.Connection, user: int, name: str | None, details: Mapping[str, str]) -> None:
    """Set the full name and the details."""
    text = json.dumps(dict(details), ensure_ascii=False)
    connection.execute("UPDATE user SET name = ?, details = ? WHERE id = ?", (name, text, user))


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

# How many of the statuses from ?1 back are kept for their number and their age, and which is the last of these.
_KEPT = """
WITH RECURSIVE chain (id, previous, number) AS (
    SELECT id, previous, 1 FROM status WHERE id = ?1
    UNION ALL
    SELECT status.id, status.previous, number + 1
    FROM chain CROSS JOIN status ON status.id = chain.previous
    WHERE number < ?2 AND status.since >= ?3
)
SELECT max(number), id, previous FROM chain
"""

# All from ?1 back but ?2.
_DROP = """
DELETE FROM status WHERE id IS NOT ?2 AND id IN (
    WITH RECURSIVE chain (id) AS (
        VALUES (?1)
        UNION ALL
        SELECT status.previous FROM chain CROSS JOIN status ON status.id = chain.id WHERE status.previous IS NOT NULL
    )
    SELECT id FROM chain
)
"""


def trim(connection: sqlite3.Connection, user: int, now: int, retention: Retention) -> bool:
    """Forget what is not to be kept of the user with the id `user`. Returns whether there was anything."""
    latest, lasting = connection.execute("SELECT latest, lasting FROM user WHERE id = ?", (user,)).fetchone()
    number, last, following = connection.execute(_KEPT, (latest, retention.count, retention.cutoff(now))).fetchone()
    if following is None:  # the last one that is kept is the first that was said; or nothing ever was
        return False
    outlives = lasting is not None and lasting < last  # the ids of a user's statuses grow
    dropped = connection.execute(_DROP, (following, lasting if outlives else None)).rowcount
    if not dropped:
        return False
    connection.execute("UPDATE status SET previous = ? WHERE id = ?", (lasting if outlives else None, last))
    if outlives:
        connection.execute("UPDATE status SET previous = NULL WHERE id = ?", (lasting,))
    connection.execute("UPDATE user SET kept = ? WHERE id = ?", (number + outlives, user))
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


def log_of(connection: sqlite3.Connection, user: int) -> list[StatusRow]:
    """Everything that the user said, oldest first."""
    found = connection.execute(_LOG, (user,)).fetchall()
    return [StatusRow(since, until, text) for _id, since, _previous, until, text in reversed(found)]


def rewrite_log(connection: sqlite3.Connection, user: int, statuses: Sequence[StatusRow]) -> None:
    """Let `statuses`, oldest first, be everything that the user said."""
    erase_log(connection, user)
    first = _last_status(connection) + 1
    latest: int | None = None
    lasting: int | None = None
    log = []
    for status, said in enumerate(statuses, first):
        log.append((status, user, said.since, said.until, latest, said.text))
        latest = status
        if said.until is None:
            lasting = status
    connection.executemany(_for(_SAY, 1), log)
    connection.execute(
        "UPDATE user SET kept = ?, latest = ?, lasting = ?, passing_until = ? WHERE id = ?",
        (len(log), latest, lasting, statuses[-1].until if statuses else None, user),
    )


def erase_log(connection: sqlite3.Connection, user: int) -> None:
    """Forget everything that the user said."""
    found = connection.execute(_LOG, (user,)).fetchall()
    connection.executemany("DELETE FROM status WHERE id = ?", [row[:1] for row in found])
    connection.execute(
        "UPDATE user SET kept = 0, latest = NULL, lasting = NULL, passing_until = NULL WHERE id = ?", (user,)
    )


def retained(statuses: Iterable[StatusRow], now: int, retention: Retention) -> list[StatusRow]:
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
