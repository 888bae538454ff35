from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from fingertrio.backends.sqlite import SQLiteOptions, open_sqlite
from fingertrio.backends.sqlite.schema import APPLICATION_ID, MIGRATIONS, migrate, version_of

# A made-up future: the next version gives users a colour, the one after that renames it.
FUTURE = (
    *MIGRATIONS,
    ("ALTER TABLE user ADD COLUMN colour TEXT", "UPDATE user SET colour = 'blue'"),
    ("ALTER TABLE user RENAME COLUMN colour TO color",),
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as connection:
        yield connection


def whole(path: Path) -> dict[str, bytes]:
    """All files in the directory of `path` with their bytes; of -shm, which is memory, only the name."""
    return {file.name: b"" if file.name.endswith("-shm") else file.read_bytes() for file in path.parent.iterdir()}


def test_a_new_file_has_the_last_version_and_our_application_id(connection: sqlite3.Connection) -> None:
    assert version_of(connection, "x") == 0
    migrate(connection, "x")
    assert version_of(connection, "x") == len(MIGRATIONS)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    migrate(connection, "x")  # again: nothing to do


@pytest.mark.parametrize("version", range(1, len(FUTURE)))
def test_every_earlier_version_is_migrated_and_keeps_its_rows(connection: sqlite3.Connection, version: int) -> None:
    migrate(connection, "x", FUTURE[:version])
    connection.execute("INSERT INTO user (login) VALUES ('moshez')")
    migrate(connection, "x", FUTURE)
    assert version_of(connection, "x", len(FUTURE)) == len(FUTURE)
    (color,) = connection.execute("SELECT color FROM user WHERE login = 'moshez'").fetchone()
    assert color == ("blue" if version <= len(MIGRATIONS) else None)


def test_a_migration_that_fails_leaves_the_file_as_it_was(connection: sqlite3.Connection) -> None:
    migrate(connection, "x")
    connection.execute("INSERT INTO user (login) VALUES ('moshez')")
    broken = (*MIGRATIONS, ("ALTER TABLE user ADD COLUMN colour TEXT",), ("UPDATE nothing SET colour = 1",))
    with pytest.raises(sqlite3.OperationalError, match="nothing"):
        migrate(connection, "x", broken)
    assert not connection.in_transaction
    assert version_of(connection, "x") == len(MIGRATIONS)
    assert "colour" not in [row[1] for row in connection.execute("PRAGMA table_info(user)")]


def test_two_programs_that_migrate_at_once_migrate_once(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as first:
        with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as second:
            migrate(first, "x")

            class Late:
                """Reads the old version once, as a program that checked before the other one had migrated."""

                looks = 0
                in_transaction = False

                def execute(self, statement: str) -> sqlite3.Cursor:
                    if statement == "PRAGMA user_version":
                        self.looks += 1
                        if self.looks == 1:
                            return second.execute("SELECT 1")
                    cursor = second.execute(statement)
                    self.in_transaction = second.in_transaction
                    return cursor

            migrate(second, "x", FUTURE[:2])
            late: Any = Late()
            migrate(late, "x", FUTURE[:2])
            assert version_of(second, "x", 2) == 2


async def refused(path: Path) -> str:
    """The reason why the backend refuses the file. Checks that it changed no byte."""
    before = whole(path)
    with pytest.raises(ValueError, match="was not changed") as caught:
        async with open_sqlite(SQLiteOptions(path=path)):
            pass
    after = whole(path)
    after.pop(f"{path.name}-shm", None)
    before.pop(f"{path.name}-shm", None)
    assert after == before
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("crashed", [False, True])
async def test_a_later_version_is_refused_untouched(tmp_path: Path, crashed: bool) -> None:
    path = tmp_path / "test.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    migrate(connection, path, FUTURE)
    if crashed:  # the later version is in the log of writes only
        copies = tmp_path / "crashed"
        copies.mkdir()
        for name in ("test.db", "test.db-wal"):
            (copies / name).write_bytes((tmp_path / name).read_bytes())
        path = copies / "test.db"
        assert (copies / "test.db-wal").stat().st_size > 0
    connection.close()
    assert f"version {len(FUTURE)}" in await refused(path)


async def test_another_programs_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    assert "another program" in await refused(path)


@pytest.mark.parametrize("content", [b"moshez: Happy and well\n", b"\0" * 5000, b"SQLite format 3\0" + b"\xff" * 9000])
async def test_a_file_that_is_not_a_database_is_refused_untouched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "test.db"
    path.write_bytes(content)
    await refused(path)


async def test_a_database_cut_short_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    async with open_sqlite(SQLiteOptions(path=path)) as backend:
        for number in range(30):
            await backend.set_user(f"user{number}", "x" * 2000)
    path.write_bytes(path.read_bytes()[:10_000])
    assert "damaged" in await refused(path)


async def test_a_directory_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a regular file"):
        async with open_sqlite(SQLiteOptions(path=tmp_path)):
            pass


async def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "test.db").touch()
    async with open_sqlite(SQLiteOptions(path=tmp_path / "test.db")) as backend:
        assert await backend.get_users() == []
        await trio.lowlevel.checkpoint()
