from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from fingertrio.backend import BackendError
from fingertrio.backends.sqlite import opening
from fingertrio.backends.sqlite.backup import back_up, restore
from fingertrio.backends.sqlite.rows import Put
from fingertrio.backends.sqlite.schema import MIGRATIONS, migrate
from tests.backends.sqlite.kit import opened, put, rows_of, status


def test_a_backup_is_one_private_file_with_the_same_content(tmp_path: Path) -> None:
    target = tmp_path / "backups" / "one.db"
    target.parent.mkdir()
    with opened(tmp_path / "x.db") as store:
        put(store, "moshez", "Happy and well")
        back_up(tmp_path / "x.db", target)
        put(store, "moshez", "In the garden")
    assert [file.name for file in target.parent.iterdir()] == ["one.db"]
    assert target.stat().st_mode & 0o777 == 0o600
    assert rows_of(target, "PRAGMA journal_mode") == [("delete",)]
    with opened(target) as store:
        assert status(store, "moshez") == "Happy and well"


def test_a_backup_made_during_writes_is_a_snapshot(tmp_path: Path) -> None:
    path, target = tmp_path / "x.db", tmp_path / "backup.db"
    stop = threading.Event()
    seen: list[tuple[int, int]] = []
    with opened(path) as store:
        # Big enough for several steps. Each batch sets all to the same: a mixture would show.
        users = [f"user{number}" for number in range(200)]
        store.commit([Put(user, "0 " + "x" * 8000, None) for user in users])
        began = threading.Event()

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                answers = store.commit([Put(user, f"{number}", None) for user in users])
                assert not any(isinstance(answer, BackendError) for answer in answers)
                began.set()

        thread = threading.Thread(target=write)
        thread.start()
        try:
            assert began.wait(5)
            back_up(path, target, progress=lambda done, total: seen.append((done, total)))
        finally:
            stop.set()
            thread.join()
    assert len(seen) > 1, "it was copied in steps"
    assert seen[-1][0] == seen[-1][1]
    numbers = rows_of(target, "SELECT DISTINCT text FROM user JOIN status ON status.id = user.latest")
    assert len(numbers) == 1
    assert rows_of(target, "PRAGMA integrity_check") == [("ok",)]


def test_an_existing_file_is_only_replaced_with_force(tmp_path: Path) -> None:
    path, target = tmp_path / "x.db", tmp_path / "backup.db"
    with opened(path) as store:
        put(store, "moshez", "Happy and well")
    target.write_text("precious")
    with pytest.raises(FileExistsError, match="already"):
        back_up(path, target)
    assert target.read_text() == "precious"
    back_up(path, target, force=True)
    assert rows_of(target, "SELECT text FROM status") == [("Happy and well",)]
    with pytest.raises(ValueError, match="itself"):
        back_up(path, path, force=True)
    link = tmp_path / "link.db"
    link.hardlink_to(path)
    with pytest.raises(ValueError, match="itself"):
        back_up(path, link, force=True)


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path, target = tmp_path / "x.db", tmp_path / "backup.db"
    with opened(path) as store:
        store.commit([Put(f"user{number:04}", "x" * 3000, None) for number in range(200)])
    with path.open("r+b") as file:
        file.seek(100 * 4096)
        file.write(b"\xa5" * 4096)
    with pytest.raises((ValueError, sqlite3.DatabaseError)):
        back_up(path, target)
    assert [file.name for file in tmp_path.iterdir()] == ["x.db"]
    with pytest.raises(FileNotFoundError):
        back_up(tmp_path / "nothing.db", target)


def test_a_restore_is_one_transaction_and_readers_do_not_wait(tmp_path: Path) -> None:
    path, backup = tmp_path / "x.db", tmp_path / "backup.db"
    seen = []
    with opened(path) as store:
        store.commit([Put(f"user{number}", "x" * 8000, None) for number in range(300)])
        back_up(path, backup)
        store.commit([Put(f"user{number}", "new", None) for number in range(300)])
        put(store, "late", "Came later")
        store.poll()
        restore(path, backup, progress=lambda _done, _total: seen.append(status(store, "user7")))
        assert set(seen[:-1]) == {"new"}
        assert status(store, "user7") == "x" * 8000
        assert status(store, "late") is None
        assert store.poll()
        put(store, "user7", "newest")
    assert rows_of(path, "PRAGMA integrity_check") == [("ok",)]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_restore_creates_a_missing_database(tmp_path: Path) -> None:
    path, backup = tmp_path / "x.db", tmp_path / "backup.db"
    with opened(path) as store:
        put(store, "moshez", "Happy and well")
    back_up(path, backup)
    restore(tmp_path / "deep" / "y.db", backup)
    with opened(tmp_path / "deep" / "y.db") as store:
        assert status(store, "moshez") == "Happy and well"


@pytest.mark.parametrize("kind", ["damaged", "text", "empty", "later version", "itself", "missing"])
def test_an_unusable_backup_is_refused_and_the_database_unchanged(tmp_path: Path, kind: str) -> None:
    path, backup = tmp_path / "x.db", tmp_path / "backup.db"
    with opened(path) as store:
        store.commit([Put(f"user{number}", "x" * 3000, None) for number in range(100)])
    back_up(path, backup)
    if kind == "damaged":
        with backup.open("r+b") as file:
            file.seek(50 * 4096)
            file.write(b"\xa5" * 4096)
    elif kind == "text":
        backup.write_text("moshez: Happy\n")
    elif kind == "empty":
        backup.write_bytes(b"")
    elif kind == "later version":
        connection = sqlite3.connect(backup, isolation_level=None)
        migrate(connection, backup, (*MIGRATIONS, ("CREATE TABLE more (x)",)))
        connection.close()
    elif kind == "itself":
        backup = path
    else:
        backup.unlink()
    with pytest.raises((ValueError, OSError, sqlite3.DatabaseError)):
        restore(path, backup)
    with opened(path) as store:
        assert len(store.logins()) == 100


def test_a_restore_waits_for_the_lock_and_then_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "ADMIN_PATIENCE", 0.05)
    path, backup = tmp_path / "x.db", tmp_path / "backup.db"
    with opened(path) as store:
        put(store, "moshez", "Happy and well")
    back_up(path, backup)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(OSError, match="busy"):
            restore(path, backup)
    finally:
        other.close()
