"""The file system under the database, who may write it, and whether it is whole. Nothing is changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from fingertrio.backends.sqlite.opening import open_to_write
from fingertrio.cli.doctor.installation import Installation
from fingertrio.cli.doctor.sqlite import CHECK
from fingertrio.server.access import ServerUser
from tests.cli.doctor.kit import FakeMachine, faults, installation, look, only


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "fingertrio.db"
    path.parent.mkdir()
    path.touch()
    open_to_write(path).close()
    return path


@pytest.fixture
def unchanged(database: Path) -> Iterator[None]:
    """The directory of the database has the same files with the same content afterwards."""
    before = {path.name: path.read_bytes() for path in database.parent.iterdir()}
    yield
    assert {path.name: path.read_bytes() for path in database.parent.iterdir()} == before


def place(database: Path, fake: FakeMachine, account: ServerUser | None = None) -> Installation:
    more = {} if account is None else {"account": account}
    return installation({"backend": {"use": "sqlite", "path": str(database)}}, machine=fake.machine, **more)


async def test_a_database_on_a_local_disk(database: Path, fake: FakeMachine, unchanged: None):
    fake.mount(("/", "ext4"))
    results = await look(CHECK, place(database, fake))
    assert [result.level for result in results] == ["ok", "ok", "ok"]
    assert "is whole (PRAGMA quick_check)" in results[2].what


@pytest.mark.parametrize(
    ("kind", "level", "said"),
    [
        ("nfs4", "problem", "a network file system"),
        ("cifs", "problem", "a network file system"),
        ("9p", "problem", "a network file system"),
        ("fuse.sshfs", "problem", "a network file system"),
        ("overlay", "warning", "is on overlay"),
        ("tmpfs", "warning", "is on tmpfs"),
    ],
)
async def test_a_file_system_that_is_not_safe(database: Path, fake: FakeMachine, kind: str, level: str, said: str):
    fake.mount(("/", "ext4"), (str(database.parent), kind))
    assert said in (await only(CHECK, place(database, fake), level)).what


async def test_a_read_only_file_system(database: Path, fake: FakeMachine):
    fake.mount(("/", "ext4"), options="ro")
    assert "mounted read-only" in (await only(CHECK, place(database, fake), "problem")).what


@pytest.mark.parametrize(("free", "level"), [(10, "problem"), (100, "warning")])
async def test_little_room(database: Path, fake: FakeMachine, monkeypatch: pytest.MonkeyPatch, free: int, level: str):
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=free, f_frsize=1024 * 1024))
    assert f"{free} MiB are free" in (await only(CHECK, place(database, fake), level)).what


async def test_a_user_who_may_not_write(database: Path, fake: FakeMachine):
    stranger = ServerUser("finger", 4711, frozenset({4711}))
    found = await only(CHECK, place(database, fake, stranger), "problem")
    assert "finger, which the server runs as, may not" in found.what
    assert "chown -R finger" in found.next


async def test_a_damaged_database(database: Path, fake: FakeMachine):
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE more (x)")
        connection.executemany("INSERT INTO more VALUES (?)", [("x" * 500,)] * 200)
    connection.close()  # empties the log
    data = bytearray(database.read_bytes())
    for page in range(8, len(data) // 4096):
        data[page * 4096 : page * 4096 + 512] = b"\xff" * 512
    database.write_bytes(data)
    assert "is damaged" in (await only(CHECK, place(database, fake), "problem")).what
    database.write_bytes(b"this is not a database at all" * 100)
    assert "is damaged" in (await only(CHECK, place(database, fake), "problem")).what


async def test_a_database_that_is_in_use(database: Path, fake: FakeMachine):
    connection = open_to_write(database)
    try:
        connection.execute("CREATE TABLE more (x)")
        assert any("is whole" in result.what for result in await look(CHECK, place(database, fake)))
    finally:
        connection.close()


async def test_the_log_of_a_program_that_was_killed_is_left_alone(database: Path, fake: FakeMachine):
    database.with_name("fingertrio.db-wal").write_bytes(b"x" * 100)
    results = await look(CHECK, place(database, fake))
    assert "left by a program that was killed" in results[-1].what
    assert not database.with_name("fingertrio.db-shm").exists()


async def test_a_log_that_grows(database: Path, fake: FakeMachine):
    with database.with_name("fingertrio.db-wal").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    assert "has 100 MiB" in (await only(CHECK, place(database, fake), "warning")).what


async def test_there_is_none_yet(tmp_path: Path, fake: FakeMachine):
    path = tmp_path / "later/fingertrio.db"
    assert await faults(CHECK, place(path, fake)) == []
    assert not path.parent.exists()


def test_it_does_not_apply_to_other_backends():
    assert CHECK.skip(installation()) == "there is no SQLite database"
    layers = {"use": "layers", "layers": [{"use": "plan", "on_failure": "skip"}, {"use": "sqlite", "path": "/x/y.db"}]}
    assert CHECK.skip(installation({"backend": layers})) == ""
