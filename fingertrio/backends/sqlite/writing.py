"""What is written to the database, as plain functions of a connection, in whatever transaction it has.

schema.py tells the shape: statuses are a log, each pointing at the one that the same user had before.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from fingertrio.backend import UserInfo
from fingertrio.backends.sqlite.rows import Put, Retention, Said, info_of


class _Person:
    """A row of `user` while statuses are added."""

    __slots__ = ("details", "id", "kept", "lasting", "latest", "name", "passing_until", "since")

    def __init__(self, row: Sequence[Any]) -> None:
        self.id, self.name, self.details, self.kept, self.latest, self.lasting, self.since = row
        self.passing_until: int | None = None


# The `?` of the logins are put in for as many as there are. The user's row, and when the latest status was set.
_WHOM = """
SELECT user.login, user.id, user.name, user.details, user.kept, user.latest, user.lasting, coalesce(status.since, 0)
FROM user LEFT JOIN status ON status.id = user.latest
WHERE user.login IN ({})
"""

_SAY = "INSERT INTO status (id, user, since, until, previous, text) VALUES (?, ?, ?, ?, ?, ?)"

_POINT = "UPDATE user SET kept = ?, latest = ?, lasting = ?, passing_until = ? WHERE id = ?"


def put(connection: sqlite3.Connection, puts: Sequence[Put], now: int, retention: Retention) -> list[UserInfo]:
    """Let users, who need not exist, have new statuses from `now` on. For each what `find` gives after it.

    All are worked on together: each statement that is executed by itself gives the interpreter away and has to wait
    until it gets it back, beside a loop that is busy.
    """
    people = {login: _Person(row) for login, *row in _whom(connection, {one.login for one in puts})}
    status = _last_status(connection)
    said: list[tuple[int, int, int, int | None, int | None, str]] = []
    infos: list[UserInfo] = []
    for login, text, until in puts:
        person = people.get(login)
        if person is None:
            person = people[login] = _Person((add(connection, login), None, "{}", 0, None, None, 0))
        status += 1
        person.since = max(now, person.since + 1)  # along with the log, also after the clock was set back
        said.append((status, person.id, person.since, until, person.latest, text))
        person.kept += 1
        person.latest = status
        person.passing_until = until
        if until is None:
            person.lasting = status
        infos.append(info_of(login, person.name, person.details, text, person.since, until))
    connection.executemany(_SAY, said)
    connection.executemany(
        _POINT,
        [(person.kept, person.latest, person.lasting, person.passing_until, person.id) for person in people.values()],
    )
    for person in people.values():
        if person.kept > retention.most:
            trim(connection, person.id, now, retention)
    return infos


def _whom(connection: sqlite3.Connection, wanted: Collection[str]) -> list[tuple[Any, ...]]:
    return connection.execute(_WHOM.format(", ".join("?" * len(wanted))), tuple(wanted)).fetchall()


def _last_status(connection: sqlite3.Connection) -> int:
    (status,) = connection.execute("SELECT coalesce(max(id), 0) FROM status").fetchone()
    return int(status)


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
    first = _last_status(connection) + 1
    latest: int | None = None
    lasting: int | None = None
    log = []
    for status, said in enumerate(statuses, first):
        log.append((status, user, said.since, said.until, latest, said.text))
        latest = status
        if said.until is None:
            lasting = status
    connection.executemany(_SAY, log)
    passing_until = statuses[-1].until if statuses else None
    connection.execute(_POINT, (len(log), latest, lasting, passing_until, user))


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
