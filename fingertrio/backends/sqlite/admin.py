"""What an administrator does to the file, whether it is being served or not: users, with their names and details.

Each function is one look or one transaction on a connection of `administered`. A server that has the file open notices
within two of its looks, half a second. Nothing here knows trio: it belongs to the command line.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fingertrio.backend import UserInfo
from fingertrio.backends.sqlite import checks, files, rows, writing
from fingertrio.backends.sqlite.opening import ADMIN_PATIENCE, check, connect, open_to_write, transaction
from fingertrio.backends.sqlite.rows import Put, Retention
from fingertrio.names import canonical_name
from fingertrio.wire.times import to_microseconds


@dataclass(frozen=True, slots=True)
class StoredUser:
    """What the file says of a user, with or without a status that holds now.

    Attributes:
        past: newest first, the present status left out.
    """

    login: str
    name: str | None
    details: Mapping[str, str]
    present: UserInfo | None
    past: tuple[UserInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What is to be said of a user.

    Attributes:
        name: the full name; empty: none; None: as it is.
        details: those that are to be different, by name; an empty text takes one away.
        status: a new status; None: as it is.
        until: when the new status ends; aware.
    """

    name: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    status: str | None = None
    until: datetime | None = None


@contextmanager
def administered(path: Path, *, make: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection to the database at `path`, which must be there unless it is to be made.

    Where the file may not be written, it can still be read, if it is of our version.

    Raises:
        ValueError: it is damaged, another program's, or a later version's; it stays as it is.
        OSError: it is not there, cannot be made or opened.
        sqlite3.Error: from what is done in the context, too.
    """
    if not path.exists():
        if not make:
            raise FileNotFoundError(f"{path}: there is no such file")
        files.make(path)
    if check(path) == 0 and not make:
        raise ValueError(f"{path} is empty")
    connection = open_to_write(path) if files.is_writable(path) else connect(path, "ro")
    try:
        yield connection
    finally:
        connection.close()


def now() -> int:
    """Microseconds since 1970."""
    return to_microseconds(datetime.now(UTC))


def show_user(connection: sqlite3.Connection, login: str, history: int, retention: Retention) -> StoredUser | None:
    """What the file says of `login`, with the last `history` statuses; None: nothing."""
    login = canonical_name(login)
    found = connection.execute("SELECT name, details FROM user WHERE login = ?", (login,)).fetchone()
    if found is None:
        return None
    name, details = found
    time = now()
    present = rows.find(connection, login, time)
    said = rows.history(connection, login, history + 1, None, time, retention)
    past = [info for info in said if present is None or info.since != present.since][:history]
    return StoredUser(login, name, rows.details_from_json(details), present, tuple(past))


def add_user(connection: sqlite3.Connection, login: str, edit: Edit, retention: Retention) -> None:
    """Make a user. Raises ValueError: something cannot be taken, or there is such a user already."""
    login = checks.login(login)
    with transaction(connection, ADMIN_PATIENCE):
        if _find_id(connection, login) is not None:
            raise ValueError(f"there is a user {login} already")
        writing.add(connection, login)
        _change(connection, login, edit, retention)


def change_user(connection: sqlite3.Connection, login: str, edit: Edit, retention: Retention) -> None:
    """Change what is said of a user. Raises ValueError: something cannot be taken, or there is no such user."""
    login = canonical_name(login)
    with transaction(connection, ADMIN_PATIENCE):
        if _find_id(connection, login) is None:
            raise ValueError(f"there is no user {login}")
        _change(connection, login, edit, retention)


def remove_user(connection: sqlite3.Connection, login: str) -> None:
    """Forget a user and everything that he said. Raises ValueError: there is no such user."""
    login = canonical_name(login)
    with transaction(connection, ADMIN_PATIENCE):
        user = _find_id(connection, login)
        if user is None:
            raise ValueError(f"there is no user {login}")
        writing.erase_log(connection, user)
        connection.execute("DELETE FROM user WHERE id = ?", (user,))


def _find_id(connection: sqlite3.Connection, login: str) -> int | None:
    found = connection.execute("SELECT id FROM user WHERE login = ?", (login,)).fetchone()
    return None if found is None else int(found[0])


def _change(connection: sqlite3.Connection, login: str, edit: Edit, retention: Retention) -> None:
    user, name, text = connection.execute("SELECT id, name, details FROM user WHERE login = ?", (login,)).fetchone()
    if edit.name is not None:
        name = checks.full_name(edit.name)
    details = checks.details({**rows.details_from_json(text), **edit.details})
    writing.update_profile(connection, user, name, details)
    if edit.status is not None:
        time = now()
        until = None if edit.until is None else to_microseconds(edit.until)
        if until is not None and until <= time:
            raise ValueError("the time until which the status should hold has passed")
        writing.put(connection, [Put(login, checks.status(edit.status), until)], time, retention)
