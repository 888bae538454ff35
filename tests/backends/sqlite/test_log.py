"""The write-ahead log is removed, replaced or damaged while the database is open: no acknowledged status is lost."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from math import inf
from pathlib import Path
from typing import Any

import pytest

from fingertrio.backend import BackendError
from fingertrio.backends.sqlite import opening
from fingertrio.backends.sqlite.store import SQLiteStore
from tests.backends.sqlite.kit import opened, put, rows_of, status


@pytest.fixture
def path(tmp_path: Path) -> Path:
    directory = tmp_path / "database"
    directory.mkdir()
    return directory / "x.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with opened(path) as store:
        yield store


def wal(path: Path) -> Path:
    return path.with_name("x.db-wal")


def shm(path: Path) -> Path:
    return path.with_name("x.db-shm")


def after_kill(path: Path) -> dict[str, str]:
    """What a new server would find if this process was killed now: the statuses, after recovery from the files."""
    crashed = path.parent.with_name("crashed")
    shutil.rmtree(crashed, ignore_errors=True)
    crashed.mkdir()
    for file in (path, wal(path)):
        if file.exists():
            shutil.copy(file, crashed)
    assert rows_of(crashed / "x.db", "PRAGMA integrity_check") == [("ok",)]
    query = "SELECT login, text FROM user JOIN status ON status.id = user.latest"
    return {str(login): str(text) for login, text in rows_of(crashed / "x.db", query)}


def remove_wal(path: Path) -> None:
    wal(path).unlink()


def remove_shm(path: Path) -> None:
    shm(path).unlink()


def remove_both(path: Path) -> None:
    remove_wal(path)
    remove_shm(path)


def move_wal_away(path: Path) -> None:
    wal(path).rename(path.parent.with_name("moved"))


def replace_wal_by_a_copy(path: Path) -> None:
    shutil.copy(wal(path), wal(path).with_name("copy"))
    wal(path).with_name("copy").replace(wal(path))


def replace_wal_by_something_else(path: Path) -> None:
    wal(path).unlink()
    wal(path).write_bytes(b"\xa5" * 10_000)


def replace_shm_by_something_else(path: Path) -> None:
    shm(path).unlink()
    shm(path).write_bytes(b"\xa5" * 32768)


DISPLACEMENTS = [
    remove_wal,
    remove_shm,
    remove_both,
    move_wal_away,
    replace_wal_by_a_copy,
    replace_wal_by_something_else,
    replace_shm_by_something_else,
]


@pytest.mark.parametrize("displace", DISPLACEMENTS)
@pytest.mark.parametrize("noticed_by", ["set", "poll"])
def test_after_a_displaced_log_every_acknowledged_status_survives_a_kill(
    path: Path,
    store: SQLiteStore,
    displace: Callable[[Path], None],
    noticed_by: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(store, "ada", "Weaving")
    displace(path)
    if noticed_by == "poll":
        store.poll()
        assert after_kill(path) == {"ada": "Weaving"}
    put(store, "moshez", "Happy and well")
    assert after_kill(path) == {"ada": "Weaving", "moshez": "Happy and well"}
    assert [status(store, user) for user in ("ada", "moshez")] == ["Weaving", "Happy and well"]
    assert store.logins() == ["ada", "moshez"]
    assert store.stale_since() is None
    (record,) = [record for record in caplog.records if "while in use" in record.getMessage()]
    assert "removed" in record.getMessage() or "replaced" in record.getMessage()


@pytest.mark.parametrize("displace", DISPLACEMENTS)
def test_a_kill_right_after_the_displacement_loses_nothing_that_was_polled_twice(
    path: Path, store: SQLiteStore, displace: Callable[[Path], None]
) -> None:
    put(store, "ada", "Weaving")
    store.poll()
    store.poll()  # no set came in between, so the log goes into the file
    displace(path)
    wal(path).unlink(missing_ok=True)
    assert after_kill(path) == {"ada": "Weaving"}


def test_a_new_or_migrated_database_does_not_depend_on_its_log(path: Path, store: SQLiteStore) -> None:
    wal(path).unlink()
    assert after_kill(path) == {}


def test_each_displacement_is_logged(path: Path, store: SQLiteStore, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        put(store, "ada", f"Status {number}")
        remove_wal(path)
        store.poll()
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: x.db-wal was removed while in use; nothing is lost, and a new log is in use"
    ] * 3


def test_a_log_that_replaced_ours_is_kept(path: Path, store: SQLiteStore) -> None:
    put(store, "ada", "Weaving")
    replace_wal_by_something_else(path)
    put(store, "ada", "Out")
    assert wal(path).with_name("x.db-wal.replaced").read_bytes() == b"\xa5" * 10_000


# --- another program has the database open ----------------------------------------------------------------------------


def test_while_another_program_uses_it_sets_are_refused_and_nothing_is_lost(
    path: Path, store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, "ada", "Weaving")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert other.execute("SELECT count(*) FROM status").fetchone() == (1,)
        wal(path).unlink()
        for _ in range(2):
            with pytest.raises(BackendError, match="log of the database is not in its place"):
                put(store, "moshez", "Happy and well")
            store.poll()
        assert store.stale_since() is not None, "this is what /readyz shows"
        assert (status(store, "ada"), status(store, "moshez"), store.logins()) == ("Weaving", None, ["ada"])
        assert after_kill(path) == {"ada": "Weaving"}
        assert len(caplog.records) == 1
    store.poll()
    assert store.stale_since() is None
    put(store, "moshez", "Happy and well")
    assert after_kill(path) == {"ada": "Weaving", "moshez": "Happy and well"}


_OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("INSERT INTO user (login) VALUES ('other')")
print("done", flush=True)
sys.stdin.readline()
import os
os._exit(0)
"""


@contextmanager
def other_program(path: Path) -> Iterator[None]:
    """Another process that has added a user and keeps the database open."""
    process = subprocess.Popen(
        [sys.executable, "-c", _OTHER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"
            yield
        finally:
            process.communicate("\n")


@pytest.mark.parametrize("still_open", [True, False])
def test_what_another_program_added_with_a_new_shm_is_not_lost(
    path: Path, store: SQLiteStore, still_open: bool
) -> None:
    put(store, "ada", "Weaving")
    shm(path).unlink()
    with other_program(path):
        if still_open:
            put(store, "ada", "Out")
    put(store, "moshez", "Happy and well")
    assert after_kill(path) == {"ada": "Out" if still_open else "Weaving", "moshez": "Happy and well"}
    assert rows_of(path, "SELECT login FROM user ORDER BY login") == [("ada",), ("moshez",), ("other",)]


def test_emptying_the_log_by_a_checkpoint_is_not_damage(
    path: Path, store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, "ada", "Weaving")
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    assert wal(path).stat().st_size == 0
    put(store, "moshez", "Happy and well")
    assert after_kill(path) == {"ada": "Weaving", "moshez": "Happy and well"}
    assert not caplog.records


def test_commits_and_checkpoints_by_another_program_are_not_damage(
    path: Path, store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for number in range(60):
            put(store, "ada", f"Status {number}")
            other.execute("UPDATE user SET name = ? WHERE login = 'ada'", (f"Ada {number}",))
            if number % 7 == 3:
                other.execute("PRAGMA wal_checkpoint(RESTART)")
            if number % 5 == 1:
                store.poll()
            if number % 4 == 2:
                other.execute("BEGIN IMMEDIATE")
                other.execute("UPDATE user SET name = 'never'")
                other.execute("ROLLBACK")
    assert after_kill(path) == {"ada": "Status 59"}
    assert not caplog.records


def begin_a_long_transaction(other: sqlite3.Connection) -> None:
    """Start the log again from its beginning, and fill it with frames that are not committed yet."""
    assert other.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0
    other.execute("PRAGMA cache_size = 1")
    other.execute("BEGIN IMMEDIATE")
    for number in range(50):
        other.execute("INSERT INTO user (login, details) VALUES (?, ?)", (f"other{number}", "x" * 5000))


def test_an_uncommitted_transaction_of_another_program_is_not_damage(
    path: Path, store: SQLiteStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_PATIENCE", 0.05)
    put(store, "ada", "Weaving")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        before = wal(path).read_bytes()
        begin_a_long_transaction(other)
        assert wal(path).read_bytes()[: len(before)] != before
        for _ in range(3):
            store.poll()
        with pytest.raises(BackendError, match="busy"):
            put(store, "ada", "Out")
        other.execute("COMMIT")
        put(store, "ada", "Back")
    assert after_kill(path)["ada"] == "Back"
    assert len(rows_of(path, "SELECT login FROM user")) == 51
    assert not caplog.records


def test_another_program_may_start_the_log_again_right_after_our_commit(
    path: Path, store: SQLiteStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_committed = store._database.is_committed
    with closing(sqlite3.connect(path, isolation_level=None)) as other:

        def begin_first() -> bool:
            begin_a_long_transaction(other)
            return is_committed()

        monkeypatch.setattr(store._database, "is_committed", begin_first)
        put(store, "ada", "Weaving")
        assert after_kill(path) == {"ada": "Weaving"}
        other.execute("COMMIT")
    assert not caplog.records


def test_a_full_disk_stops_neither_polls_nor_reads(
    path: Path, store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, "ada", "Weaving")
    keeper = store._database._keeper
    real, keeper._connections.writer.open = keeper._connections.writer.open, None

    class FullDisk:
        """Executes everything but checkpoints."""

        def execute(self, statement: str) -> sqlite3.Cursor:
            if "checkpoint" in statement:
                raise sqlite3.OperationalError("database or disk is full")
            assert real is not None
            return real.execute(statement)

    full: Any = FullDisk()
    keeper._connections.writer.open = full
    for _ in range(4):
        store.poll()
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["database or disk is full"]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE user SET name = 'Ada'")
    assert store.poll()
    keeper._connections.writer.open = real


# --- damage -----------------------------------------------------------------------------------------------------------


def damaging(change: Callable[[Path], None]) -> Callable[[Path], None]:
    """Damage a log a moment after its last commit: within the same tick of the clock its time would not show it."""

    def damage(log: Path) -> None:
        before = log.stat()
        change(log)
        os.utime(log, ns=(before.st_atime_ns, before.st_mtime_ns + 10_000_000))

    return damage


@damaging
def truncate(log: Path) -> None:
    log.write_bytes(b"")


@damaging
def cut_in_half(log: Path) -> None:
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])


@damaging
def overwrite(log: Path) -> None:
    with log.open("r+b") as file:
        file.write(b"\xa5" * log.stat().st_size)


@damaging
def spoil_the_header(log: Path) -> None:
    with log.open("r+b") as file:
        file.seek(17)
        file.write(b"\xa5")


@damaging
def spoil_a_page(log: Path) -> None:
    with log.open("r+b") as file:
        file.seek(32 + 24 + 100)
        file.write(b"\xa5" * 8)


@damaging
def spoil_the_end(log: Path) -> None:
    with log.open("r+b") as file:
        file.seek(-50, 2)
        file.write(b"\xa5" * 8)


DAMAGES = [truncate, cut_in_half, overwrite, spoil_the_header, spoil_a_page, spoil_the_end]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("noticed_by", ["set", "poll"])
def test_after_damage_new_statuses_survive_a_kill_and_the_database_stays_sound(
    path: Path,
    store: SQLiteStore,
    damage: Callable[[Path], None],
    noticed_by: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fingertrio.backends.sqlite.log._CHECKPOINT_INTERVAL", inf)  # however long this test takes
    put(store, "ada", "Weaving")
    store.poll()
    store.poll()  # into the file
    put(store, "ada", "Out")
    put(store, "bob", "In")
    damage(wal(path))
    if noticed_by == "poll":
        store.poll()
    put(store, "moshez", "Happy and well")
    survivors = after_kill(path)
    assert survivors["moshez"] == "Happy and well"
    assert survivors["ada"] in {"Weaving", "Out"}
    assert {user: status(store, user) for user in survivors} == survivors, "what is served is what is stored"
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "damaged x.db-wal" in record.getMessage()
    copy = wal(path).with_name("x.db-wal.damaged")
    assert copy.exists() == (damage is not truncate)
    assert not copy.exists() or copy.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_a_log_that_is_in_the_file_already_costs_nothing(
    path: Path, store: SQLiteStore, damage: Callable[[Path], None]
) -> None:
    put(store, "ada", "Weaving")
    put(store, "bob", "In")
    store.poll()
    store.poll()
    damage(wal(path))
    store.poll()
    put(store, "moshez", "Happy and well")
    assert after_kill(path) == {"ada": "Weaving", "bob": "In", "moshez": "Happy and well"}


def test_damage_that_the_time_of_the_log_does_not_show_is_found_before_it_gets_into_the_database(
    path: Path, store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, "ada", "Weaving")
    store.poll()
    store.poll()
    put(store, "ada", "Out")
    before = wal(path).stat()
    spoil_a_page(wal(path))
    os.utime(wal(path), ns=(before.st_atime_ns, before.st_mtime_ns))
    store.poll()
    store.poll()
    assert "damaged x.db-wal" in caplog.text
    assert after_kill(path) == {"ada": "Weaving"}
    put(store, "ada", "Back")
    assert after_kill(path) == {"ada": "Back"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_closing_after_damage_does_not_copy_it_into_the_database(
    path: Path, store: SQLiteStore, damage: Callable[[Path], None]
) -> None:
    put(store, "ada", "Weaving")
    store.poll()
    store.poll()
    put(store, "ada", "Out")
    damage(wal(path))
    store.close()
    assert rows_of(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_commit_during_which_the_log_is_damaged_is_repeated(
    path: Path, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "ada", "Weaving")
    is_committed = store._database.is_committed
    damaged: list[bool] = []

    def damage_first() -> bool:
        if not damaged:
            damaged.append(True)
            overwrite(wal(path))
        return is_committed()

    monkeypatch.setattr(store._database, "is_committed", damage_first)
    put(store, "moshez", "Happy and well")
    assert after_kill(path)["moshez"] == "Happy and well"
    assert [info.status for info in store.history("moshez", 10, None)] == ["Happy and well"]


def test_while_sets_keep_coming_the_log_goes_into_the_file_all_the_same(
    path: Path, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fingertrio.backends.sqlite.log._CHECKPOINT_INTERVAL", 0.0)
    put(store, "ada", "Weaving")
    store.poll()
    wal(path).unlink()
    assert after_kill(path) == {"ada": "Weaving"}
