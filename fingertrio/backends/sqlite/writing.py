"""Changes to the database, as plain functions of a connection, inside the transaction of the caller.

schema.py describes the tables: statuses form a log, in which each row points to the previous row of the same user.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from fingertrio.backend import UserInfo
from fingertrio.backends.sqlite import clock
from fingertrio.backends.sqlite.rows import (
    Describe,
    Put,
    Retention,
    StatusRow,
    are_ahead,
    find,
    from_stored,
    info_of,
    to_stored,
)


class _UserRow:
    """A row of the table `user` while statuses are added."""

    __slots__ = ("details", "id", "kept", "lasting", "latest", "name", "passing_until", "recency", "since")

    def __init__(self, row: Sequence[Any]) -> None:
        self.id, self.name, self.details, self.kept, self.latest, self.lasting, self.since = row
        self.passing_until: int | None = None
        self.recency: int | None = None


# The id of the last status; and for each login the user's row with the time of the latest status. All in one row.
_SELECT_USERS = """
SELECT (SELECT coalesce(max(id), 0) FROM status), json_group_array(json_array(
    user.login, user.id, user.name, user.details, user.kept, user.latest, user.lasting, coalesce(status.since, 0)
))
FROM user LEFT JOIN status ON status.id = user.latest
WHERE user.login IN ({})
"""


_INSERT_STATUSES = "INSERT INTO status (id, user, since, until, previous, text) VALUES {}"

# An upsert because it takes many rows; the users exist already.
_UPDATE_USERS = """
INSERT INTO user (id, login, kept, latest, lasting, passing_until, recency, recency_until) VALUES {}
ON CONFLICT (id) DO UPDATE SET kept = excluded.kept, latest = excluded.latest, lasting = excluded.lasting,
    passing_until = excluded.passing_until, recency = excluded.recency, recency_until = excluded.recency_until
"""
_USER = "(?, ?, ?, ?, ?, ?, ?, ?)"

# The place of the latest status, whether it has ended or not (`move_places`).
_SET_PLACE = """
UPDATE user SET recency_until = passing_until,
    recency = (SELECT -status.since FROM status WHERE status.id = user.latest AND status.text <> char(10))
"""
_PLACE = f"{_SET_PLACE} WHERE id = ?"
_PLACE_AHEAD = f"{_SET_PLACE} WHERE passing_until > ? AND recency_until IS NULL"

# Of users whose status has ended: the place of the one that holds again.
_END_PLACES = """
UPDATE user SET recency_until = NULL,
    recency = (SELECT -status.since FROM status WHERE status.id = user.lasting AND status.text <> char(10))
WHERE recency_until <= ?
"""


@cache
def _repeat(statement: str, count: int, placeholders: str = "(?, ?, ?, ?, ?, ?)") -> str:
    """`statement` with `count` times the placeholders."""
    return statement.format(", ".join([placeholders] * count))


def put(connection: sqlite3.Connection, puts: Sequence[Put], now: int, retention: Retention) -> list[UserInfo]:
    """Set statuses, of users who need not exist yet. For each, what `rows.find` returns after it.

    All rows are read and written together: each statement releases the interpreter lock and then has to wait until the
    busy event loop gives it back.
    """
    status, rows = _select_users(connection, {one.login for one in puts})
    users = {login: _UserRow(row) for login, *row in rows}
    ahead = [row for row in users.values() if row.since > now + clock.TOLERANCE]
    if ahead and clock.is_confirmed_by(connection, now):
        for row in ahead:
            row.since = correct_log(connection, row.id, now)
    statuses: list[int | str | None] = []
    infos: list[UserInfo] = []
    for login, text, until in puts:
        user = users.get(login)
        if user is None:
            user = users[login] = _UserRow((add(connection, login), None, "{}", 0, None, None, 0))
        status += 1
        user.since = max(now, user.since + 1)  # grows along the log, even if the clock was set back
        statuses += (status, user.id, user.since, until, user.latest, to_stored(text))
        user.kept += 1
        user.latest = status
        user.passing_until = until
        user.recency = -user.since if text else None
        if until is None:
            user.lasting = status
        infos.append(info_of(login, user.name, user.details, text, user.since, until))
    connection.execute(_repeat(_INSERT_STATUSES, len(puts)), statuses)
    pointers: list[int | str | None] = []
    for login, user in users.items():
        places = (user.passing_until, user.recency, user.passing_until)
        pointers += (user.id, login, user.kept, user.latest, user.lasting, *places)
    connection.execute(_repeat(_UPDATE_USERS, len(users), _USER), pointers)
    for user in users.values():
        if user.kept > retention.trim_above:
            trim(connection, user.id, now, retention)
    return infos


def _select_users(connection: sqlite3.Connection, wanted: Collection[str]) -> tuple[int, list[list[Any]]]:
    status, rows = connection.execute(_repeat(_SELECT_USERS, len(wanted), "?"), tuple(wanted)).fetchone()
    return status, json.loads(rows)


def _last_status(connection: sqlite3.Connection) -> int:
    (status,) = connection.execute("SELECT coalesce(max(id), 0) FROM status").fetchone()
    return int(status)


def add(connection: sqlite3.Connection, login: str) -> int:
    """Add a user without a status. Returns the id."""
    added = connection.execute("INSERT INTO user (login) VALUES (?)", (login,)).lastrowid
    if added is None:
        raise AssertionError("INSERT returns a rowid")
    return added


def update_profile(connection: sqlite3.Connection, user: int, name: str | None, details: Mapping[str, str]) -> None:
    """Set the full name and the details."""
    text = json.dumps(dict(details), ensure_ascii=False)
    connection.execute("UPDATE user SET name = ?, details = ? WHERE id = ?", (name, text, user))


# Newest first.
_SELECT_LOG = """
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

# Of the statuses from ?1 backwards: how many are kept for their number and age, the last of these, and the one before.
_SELECT_KEPT = """
WITH RECURSIVE chain (id, previous, number) AS (
    SELECT id, previous, 1 FROM status WHERE id = ?1
    UNION ALL
    SELECT status.id, status.previous, number + 1
    FROM chain CROSS JOIN status ON status.id = chain.previous
    WHERE number < ?2 AND status.since >= ?3
)
SELECT max(number), id, previous FROM chain
"""

# Delete the statuses from ?1 backwards, except ?2.
_DELETE_CHAIN = """
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
    """Delete the history of the user with the id `user` that is not kept. Returns whether anything was deleted."""
    latest, lasting = connection.execute("SELECT latest, lasting FROM user WHERE id = ?", (user,)).fetchone()
    number, last, following = connection.execute(
        _SELECT_KEPT, (latest, retention.count, retention.cutoff(now))
    ).fetchone()
    if following is None:  # every status is kept, or there is none
        return False
    outlives = lasting is not None and lasting < last  # the ids of a user's statuses grow
    dropped = connection.execute(_DELETE_CHAIN, (following, lasting if outlives else None)).rowcount
    if not dropped:
        return False
    connection.execute("UPDATE status SET previous = ? WHERE id = ?", (lasting if outlives else None, last))
    if outlives:
        connection.execute("UPDATE status SET previous = NULL WHERE id = ?", (lasting,))
    connection.execute("UPDATE user SET kept = ? WHERE id = ?", (number + outlives, user))
    return True


def last_statuses(connection: sqlite3.Connection, user: int) -> tuple[str | None, int]:
    """The text of the last lasting status, and when the latest status was set; None and 0 if there is none."""
    row: tuple[str | None, int] = connection.execute(
        """
        SELECT (SELECT text FROM status WHERE id = user.lasting),
               coalesce((SELECT since FROM status WHERE id = user.latest), 0)
        FROM user WHERE user.id = ?
        """,
        (user,),
    ).fetchone()
    return row


def user_ids_after(connection: sqlite3.Connection, after: int, count: int) -> list[int]:
    """The ids of the next `count` users."""
    found = connection.execute("SELECT id FROM user WHERE id > ? ORDER BY id LIMIT ?", (after, count))
    return [user for (user,) in found]


def read_log(connection: sqlite3.Connection, user: int) -> list[StatusRow]:
    """All statuses of the user, oldest first."""
    found = connection.execute(_SELECT_LOG, (user,)).fetchall()
    return [StatusRow(since, until, from_stored(text)) for _id, since, _previous, until, text in reversed(found)]


def replace_log(connection: sqlite3.Connection, user: int, statuses: Sequence[StatusRow]) -> None:
    """Replace all statuses of the user by `statuses`, oldest first."""
    delete_log(connection, user)
    first = _last_status(connection) + 1
    latest: int | None = None
    lasting: int | None = None
    log = []
    for status, row in enumerate(statuses, first):
        log.append((status, user, row.since, row.until, latest, to_stored(row.text)))
        latest = status
        if row.until is None:
            lasting = status
    connection.executemany(_repeat(_INSERT_STATUSES, 1), log)
    connection.execute(
        "UPDATE user SET kept = ?, latest = ?, lasting = ?, passing_until = ? WHERE id = ?",
        (len(log), latest, lasting, statuses[-1].until if statuses else None, user),
    )
    connection.execute(_PLACE, (user,))


def delete_log(connection: sqlite3.Connection, user: int) -> None:
    """Delete all statuses of the user."""
    found = connection.execute(_SELECT_LOG, (user,)).fetchall()
    connection.executemany("DELETE FROM status WHERE id = ?", [row[:1] for row in found])
    connection.execute(
        "UPDATE user SET kept = 0, latest = NULL, lasting = NULL, passing_until = NULL WHERE id = ?", (user,)
    )
    connection.execute(_PLACE, (user,))


def correct_log(connection: sqlite3.Connection, user: int, now: int) -> int:
    """Let the statuses of the user that seem to have been set in the future be set before `now`.

    Returns when the latest status was set, 0 if there is none.
    """
    found = connection.execute(_SELECT_LOG, (user,)).fetchall()[::-1]
    before = [StatusRow(since, until, text) for _id, since, _previous, until, text in found]
    after = clock.correct_times(before, now)
    connection.executemany(
        "UPDATE status SET since = ?, until = ? WHERE id = ?",
        [(new.since, new.until, row[0]) for row, old, new in zip(found, before, after, strict=True) if new != old],
    )
    if not after:
        return 0
    connection.execute("UPDATE user SET passing_until = ? WHERE id = ?", (after[-1].until, user))
    connection.execute(_PLACE, (user,))
    return after[-1].since


def move_places(connection: sqlite3.Connection, now: int) -> None:
    """Move users whose status has ended to their earlier status or to none; and back, if a clock was ahead."""
    connection.execute(_END_PLACES, (now,))
    if are_ahead(connection, now):
        connection.execute(_PLACE_AHEAD, (now,))


def describe(connection: sqlite3.Connection, one: Describe, now: int) -> UserInfo | None:
    """Set the full name and the details of a user, who need not exist yet. Returns the user as `rows.find` does."""
    found = connection.execute("SELECT id FROM user WHERE login = ?", (one.login,)).fetchone()
    update_profile(connection, add(connection, one.login) if found is None else found[0], one.name, one.details)
    return find(connection, one.login, now)


def users_ahead(connection: sqlite3.Connection, now: int, count: int) -> list[int]:
    """The ids of up to `count` users whose latest status seems to have been set in the future."""
    found = connection.execute(
        "SELECT user.id FROM user JOIN status ON status.id = user.latest WHERE status.since > ? LIMIT ?",
        (now + clock.TOLERANCE, count),
    )
    return [user for (user,) in found]


def apply_retention(statuses: Iterable[StatusRow], now: int, retention: Retention) -> list[StatusRow]:
    """The `statuses`, oldest first, that `trim` would leave."""
    rows = list(statuses)
    first = len(rows) - retention.count
    lasting = max((number for number, row in enumerate(rows) if row.until is None), default=-1)
    cutoff = retention.cutoff(now)
    return [
        row
        for number, row in enumerate(rows)
        if (number >= first and row.since >= cutoff) or number in (len(rows) - 1, lasting)
    ]
