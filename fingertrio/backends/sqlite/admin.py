"""Managing users in the file, for the command line, whether a server uses the file or not.

Each function is one query or one transaction on a connection from `administered`. A running server notices a change
within half a second. Nothing here uses trio.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path

from fingertrio.backend import UserInfo
from fingertrio.backends.sqlite import checks, files, rows, writing
from fingertrio.backends.sqlite.opening import ADMIN_PATIENCE, check, connect, open_to_write, transaction
from fingertrio.backends.sqlite.rows import Put, Retention
from fingertrio.names import canonical_name
from fingertrio.wire.details import check_details
from fingertrio.wire.times import to_microseconds


@dataclass(frozen=True, slots=True)
class StoredUser:
    """The stored data of a user.

    Attributes:
        present: the status that holds now, if any.
        past: the other statuses, newest first.
    """

    login: str
    name: str | None
    details: Mapping[str, str]
    present: UserInfo | None
    past: tuple[UserInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Changes to a user.

    Attributes:
        name: the full name; empty: remove it; None: no change.
        details: the details to change, by name; an empty text removes a detail.
        status: a new status; None: no change.
        until: when the new status ends; aware.
    """

    name: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    status: str | None = None
    until: datetime | None = None


@contextmanager
def administered(path: Path, *, make: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection to the database at `path`, which must exist unless `make` is given.

    A file of the current version that may not be written is opened for reading.

    Raises:
        ValueError: the file is damaged, another program's, or of a later version; it is unchanged.
        OSError: the file does not exist, or cannot be created or opened.
        sqlite3.Error: from the context, too.
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
    """The stored data of `login`, with the last `history` statuses; None: no such user."""
    login = canonical_name(login)
    found = connection.execute("SELECT name, details FROM user WHERE login = ?", (login,)).fetchone()
    if found is None:
        return None
    name, details = found
    time = now()
    present = rows.find(connection, login, time)
    statuses = rows.history(connection, login, history + 1, None, time, retention)
    past = [info for info in statuses if present is None or info.since != present.since][:history]
    return StoredUser(login, name, rows.details_from_json(details), present, tuple(past))


def list_users(connection: sqlite3.Connection) -> list[UserInfo]:
    """Every user that has a status now, in the order of their names."""
    time = now()
    found = (rows.find(connection, login, time) for login in rows.logins(connection, time))
    return [info for info in found if info is not None]


def all_logins(connection: sqlite3.Connection) -> list[str]:
    """Every login, also of users without a status now."""
    return [login for (login,) in connection.execute("SELECT login FROM user ORDER BY login")]


class Spellings:
    """The existing logins, to find one that differs from a new one by case alone."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._logins: dict[str, set[str]] = {}
        for login in all_logins(connection):
            self.add(login)

    def add(self, login: str) -> None:
        """One more login."""
        self._logins.setdefault(login.casefold(), set()).add(login)

    def check(self, login: str) -> None:
        """Raise ValueError if `login` is new and there is another spelling of it."""
        others = self._logins.get(login.casefold())
        if others and login not in others:
            raise ValueError(
                f"{login} differs from the user {min(others)} by case alone; use that spelling, or another name"
            )


def unknown_user(connection: sqlite3.Connection, login: str) -> str:
    """The message for a login that does not exist, with those that resemble it."""
    close = get_close_matches(login, all_logins(connection), 3)
    hint = f"did you mean {' or '.join(close)}?" if close else "fingertrio user list shows those who have a status"
    return f"there is no user {login}; {hint}"


def add_user(connection: sqlite3.Connection, login: str, edit: Edit, retention: Retention) -> None:
    """Add a user. Raises ValueError: the data is not valid, or the user exists already."""
    login = checks.login(login)
    with transaction(connection, ADMIN_PATIENCE):
        if _find_id(connection, login) is not None:
            raise ValueError(f"user {login} exists already")
        Spellings(connection).check(login)
        writing.add(connection, login)
        _change(connection, login, edit, retention)


def change_user(connection: sqlite3.Connection, login: str, edit: Edit, retention: Retention) -> None:
    """Change a user. Raises ValueError: the data is not valid, or there is no such user."""
    login = canonical_name(login)
    with transaction(connection, ADMIN_PATIENCE):
        if _find_id(connection, login) is None:
            raise ValueError(unknown_user(connection, login))
        _change(connection, login, edit, retention)


def remove_user(connection: sqlite3.Connection, login: str, *, erase: bool = False) -> None:
    """Remove a user with the whole history.

    Args:
        connection: from `administered`.
        login: of the user.
        erase: rewrite the file too, so that neither it nor its write-ahead log holds anything of what was deleted, now
            or earlier. Takes as long as a copy of the file; a server goes on meanwhile.

    Raises:
        ValueError: there is no such user; or the user was removed, and the log still holds what a program is reading.
    """
    login = canonical_name(login)
    if erase:
        connection.execute("PRAGMA secure_delete = ON")
    with transaction(connection, ADMIN_PATIENCE):
        user = _find_id(connection, login)
        if user is None:
            raise ValueError(unknown_user(connection, login))
        writing.delete_log(connection, user)
        connection.execute("DELETE FROM user WHERE id = ?", (user,))
    if erase:
        connection.execute(f"PRAGMA busy_timeout = {ADMIN_PATIENCE * 1000:.0f}")
        connection.execute("VACUUM")
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise ValueError(
                f"{login} was removed, but a program still reads what was there; it goes when it has ended"
            )


def _find_id(connection: sqlite3.Connection, login: str) -> int | None:
    found = connection.execute("SELECT id FROM user WHERE login = ?", (login,)).fetchone()
    return None if found is None else int(found[0])


def _change(connection: sqlite3.Connection, login: str, edit: Edit, retention: Retention) -> None:
    user, name, text = connection.execute("SELECT id, name, details FROM user WHERE login = ?", (login,)).fetchone()
    # What is not edited is kept, whatever it is: an import may have brought it.
    new_name, new = check_details(edit.name, edit.details)
    details = checks.details({**rows.details_from_json(text), **dict.fromkeys(edit.details, ""), **new})
    writing.update_profile(connection, user, name if edit.name is None else new_name, details)
    if edit.status is not None:
        time = now()
        until = None if edit.until is None else to_microseconds(edit.until)
        if until is not None and until <= time:
            raise ValueError("the end of the status has passed already")
        writing.put(connection, [Put(login, checks.status(edit.status), until)], time, retention.by_count)
