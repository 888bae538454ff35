"""The reasons given for a database that cannot be opened."""

from __future__ import annotations

import os
import pwd
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fingertrio.backends.sqlite import files
from fingertrio.backends.sqlite.opening import check, make_durable, open_to_write


@pytest.fixture
def path(nobody: Path) -> Path:
    """A database of ours."""
    path = nobody / "x.db"
    files.make(path)
    open_to_write(path).close()
    return path


def refused(path: Path) -> str:
    with pytest.raises(PermissionError) as caught:
        check(path)
    return str(caught.value)


def test_a_refusal_names_the_owner_of_the_file_and_of_the_process(path: Path) -> None:
    path.chmod(0o200)
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert refused(path).startswith(f"the database cannot be opened: {path} belongs to {me}:")
    assert ", mode 0200; " in refused(path)
    assert f"this program runs as {me}:" in refused(path)


def test_an_unreadable_log_is_named(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        make_durable(connection)
        connection.execute("CREATE TABLE x (y)")
        files.companion(path, "-wal").chmod(0o000)
        assert f"{path}-wal belongs to" in refused(path)


def test_a_directory_in_which_shm_cannot_be_created_is_named(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        make_durable(connection)
        connection.execute("CREATE TABLE x (y)")
        log = files.companion(path, "-wal").read_bytes()
    files.companion(path, "-wal").write_bytes(log)  # as a crash leaves it
    path.parent.chmod(0o500)
    assert f"{path.parent} belongs to" in refused(path)
    assert "SQLite has to create x.db-shm there" in refused(path)


def test_a_closed_parent_directory_is_named(path: Path) -> None:
    path.parent.chmod(0o600)
    assert f"{path.parent} belongs to" in (files.missing_permission(path) or "")


def test_without_a_missing_permission_the_error_is_sqlites(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.missing_permission(path) is None

    def too_many(*_arguments: object, **_options: object) -> None:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(sqlite3, "connect", too_many)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        check(path)


def test_an_owner_without_a_name_is_shown_as_a_number(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.chmod(0o000)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert f"belongs to {os.geteuid()}:" in refused(path)
