from __future__ import annotations

import os
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fingertrio.backend import BackendError, UserInfo
from fingertrio.backends.sqlite import opening
from fingertrio.backends.sqlite.backup import back_up
from fingertrio.backends.sqlite.rows import Put
from fingertrio.backends.sqlite.schema import APPLICATION_ID
from fingertrio.wire.times import from_microseconds
from tests.backends.sqlite.kit import SECOND, Clock, opened, put, rows_of, status


def test_the_file_and_its_directories_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state" / "x.db"
    before = os.umask(0)
    try:
        with opened(path) as store:
            put(store, "moshez", "Happy and well")
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"x.db": 0o600, "x.db-wal": 0o600, "x.db-shm": 0o600}
    assert [directory.stat().st_mode & 0o777 for directory in (path.parent, path.parent.parent)] == [0o700, 0o700]


@pytest.mark.parametrize("name", ["a?b#c%20.db", "ü \u7720.db", "file:x"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    with opened(tmp_path / name) as store:
        put(store, "moshez", "Happy and well")
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        assert store._database.connections.writer.open is not None
        assert store._database.connections.writer.open.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert store._database.connections.writer.open.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_many_sets_are_one_transaction_in_their_order(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        statements: list[str] = []
        assert store._database.connections.writer.open is not None
        store._database.connections.writer.open.set_trace_callback(statements.append)
        puts = [Put(f"user{number % 10}", f"Status {number}", None) for number in range(64)]
        answers = store.commit(puts)
        store._database.connections.writer.open.set_trace_callback(None)
        assert statements.count("COMMIT") == 1
        assert [isinstance(answer, UserInfo) and answer.status for answer in answers] == [put.text for put in puts]
        assert [status(store, f"user{number}") for number in range(10)] == [
            f"Status {60 + number if number < 4 else 50 + number}" for number in range(10)
        ]


@pytest.mark.parametrize("bad", [{0}, {63}, {31, 32}, {5, 6, 40}, set(range(64))])
def test_bad_statuses_fail_alone(tmp_path: Path, bad: set[int]) -> None:
    with opened(tmp_path / "x.db") as store:
        # The table rejects an empty name.
        puts = [Put("" if number in bad else f"user{number}", f"Status {number}", None) for number in range(64)]
        answers = store.commit(puts)
        assert {number for number, answer in enumerate(answers) if isinstance(answer, BackendError)} == bad
        for number, put in enumerate(puts):
            assert status(store, f"user{number}") == (None if number in bad else put.text)
        assert len(store.logins()) == 64 - len(bad)


def test_lone_surrogates_fail_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        good, bad = store.commit([Put("moshez", "Happy", None), Put("ada", "\ud800", None)])
        assert isinstance(good, UserInfo)
        assert isinstance(bad, BackendError)
        found = store.find(["\ud800", "moshez"])
        assert isinstance(found[0], BackendError)
        assert isinstance(found[1], UserInfo)


# --- failures ---------------------------------------------------------------------------------------------------------


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the write lock."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_while_another_program_writes_sets_fail_and_readers_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_PATIENCE", 0.05)
    path = tmp_path / "x.db"
    with opened(path) as store:
        put(store, "moshez", "Happy and well")
        with locked(path):
            with pytest.raises(BackendError, match="busy"):
                put(store, "moshez", "In the garden")
            assert status(store, "moshez") == "Happy and well"
            assert store.logins() == ["moshez"]
        assert status(store, "moshez") == "Happy and well"
        put(store, "moshez", "In the garden")
        assert status(store, "moshez") == "In the garden"


def test_a_server_starts_while_another_program_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with opened(path) as store:
        put(store, "moshez", "Happy and well")
    with locked(path), opened(path) as store:
        assert status(store, "moshez") == "Happy and well"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit all files of this process to `size` bytes: writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_sets_fail_old_statuses_stay_and_later_sets_succeed(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with opened(path) as store:
        put(store, "moshez", "Happy and well")
        size = (tmp_path / "x.db-wal").stat().st_size
        with largest_file(size + 100_000):
            failed = 0
            for number in range(20):
                try:
                    put(store, "ada", f"{number} " + "x" * 8000)
                except BackendError as error:
                    assert isinstance(error.__cause__, sqlite3.Error)  # noqa: PT017 -- some succeed
                    failed += 1
            assert 0 < failed < 20
            with pytest.raises(BackendError):
                put(store, "moshez", "x" * 16_000)
            assert status(store, "moshez") == "Happy and well"
            assert store.logins() == ["ada", "moshez"]
        put(store, "moshez", "In the garden")
        assert status(store, "moshez") == "In the garden"
    assert rows_of(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_full_database_takes_what_still_fits(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        put(store, "moshez", "Happy and well")
        assert store._database.connections.writer.open is not None
        (pages,) = store._database.connections.writer.open.execute("PRAGMA page_count").fetchone()
        store._database.connections.writer.open.execute(f"PRAGMA max_page_count = {pages}")
        answers = store.commit(
            [Put("ada", "short", None), Put("grace", "x" * 16_000, None), Put("moshez", "In the garden", None)]
        )
        assert [isinstance(answer, UserInfo) for answer in answers] == [True, False, True]
        assert isinstance(answers[1], BackendError)
        assert answers[1].public_message == "The disk is full"
        assert store.logins() == ["ada", "moshez"]


@pytest.mark.parametrize("directory_too", [False, True])
def test_a_read_only_file_is_served_and_becomes_writable_with_its_permissions(
    nobody: Path, directory_too: bool
) -> None:
    path = nobody / "x.db"
    with opened(path) as store:
        put(store, "moshez", "Happy and well")
    path.chmod(0o400)
    if directory_too:
        nobody.chmod(0o500)
    with opened(path) as store:
        assert status(store, "moshez") == "Happy and well"
        assert store.logins() == ["moshez"]
        with pytest.raises(BackendError, match="read-only"):
            put(store, "moshez", "In the garden")
        store.poll()
        assert not store.poll()
        assert status(store, "moshez") == "Happy and well"
        nobody.chmod(0o700)
        path.chmod(0o600)
        put(store, "moshez", "In the garden")
        assert status(store, "moshez") == "In the garden"


def test_an_older_version_that_may_not_be_written_is_refused(nobody: Path) -> None:
    path = nobody / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("CREATE TABLE x (y)")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("PRAGMA user_version = 0")
        connection.execute("DROP TABLE x")
        connection.execute("PRAGMA application_id = 0")
    path.chmod(0o400)
    with pytest.raises(OSError, match="may not be written"), opened(path):
        pass


def test_users_outside_a_damaged_page_are_served_and_set(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with opened(path) as store:
        store.commit([Put(f"user{number:04}", "x" * 3000, None) for number in range(200)])
        ((page,),) = rows_of(
            path,
            "SELECT pageno FROM dbstat WHERE name = 'status' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 OFFSET 50",
        )
    assert isinstance(page, int)
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)
    with opened(path) as store:
        answers = store.find([f"user{number:04}" for number in range(200)])
        damaged = [answer for answer in answers if isinstance(answer, BackendError)]
        assert {error.public_message for error in damaged} == {"The database is damaged"}
        assert 1 <= len(damaged) < 5
        known = [f"user{number:04}" for number in range(200) if isinstance(answers[number], UserInfo)]
        results = store.commit([Put(f"user{number:04}", "new", None) for number in range(200)])
        set_now = [f"user{number:04}" for number in range(200) if isinstance(results[number], UserInfo)]
        assert set(known) <= set(set_now)
        assert status(store, known[0]) == "new"


# --- another file in its place ----------------------------------------------------------------------------------------


def test_a_backup_moved_into_place_is_served_without_anything_of_the_old_log(tmp_path: Path) -> None:
    path, backup = tmp_path / "x.db", tmp_path / "backup.db"
    with opened(path) as store:
        put(store, "moshez", "Happy and well")
        back_up(path, backup)
        put(store, "moshez", "In the garden")
        put(store, "ada", "Weaving")
        assert not store.poll()
        backup.replace(path)
        assert store.poll()
        assert status(store, "moshez") == "Happy and well"
        assert status(store, "ada") is None
        assert not store.poll()
        put(store, "moshez", "Back again")
    assert rows_of(path, "PRAGMA integrity_check") == [("ok",)]
    with opened(path) as store:
        assert status(store, "moshez") == "Back again"


def test_a_set_right_after_the_replacement_goes_to_the_new_file(tmp_path: Path) -> None:
    path, backup = tmp_path / "x.db", tmp_path / "backup.db"
    with opened(path) as store:
        put(store, "moshez", "Happy and well")
        back_up(path, backup)
        backup.replace(path)
        put(store, "moshez", "In the garden")
        assert store.poll(), "the replacement is reported even if a set noticed it first"
    with opened(path) as store:
        assert status(store, "moshez") == "In the garden"


@pytest.mark.parametrize("content", [None, b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_while_the_file_is_missing_or_unusable_the_old_content_is_served_and_sets_fail(
    tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path, backup = tmp_path / "x.db", tmp_path / "backup.db"
    clock = Clock()
    with opened(path, now=clock) as store:
        put(store, "moshez", "Happy and well")
        back_up(path, backup)
        assert not store.poll()
        assert store.stale_since() is None
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        began = from_microseconds(clock.time)
        for _ in range(3):
            assert not store.poll()
            assert store.stale_since() == began
            clock.time += SECOND
        with pytest.raises(BackendError, match="not in its place"):
            put(store, "moshez", "In the garden")
        assert status(store, "moshez") == "Happy and well"
        assert store.logins() == ["moshez"]
        assert len(caplog.records) == 1, "it is logged once"
        backup.replace(path)
        assert store.poll()
        assert store.stale_since() is None
        put(store, "moshez", "In the garden")
        assert status(store, "moshez") == "In the garden"


def test_the_same_file_may_come_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, elsewhere = tmp_path / "x.db", tmp_path / "elsewhere.db"
    with opened(path) as store:
        put(store, "moshez", "Happy and well")
        for times in (1, 2):
            path.rename(elsewhere)
            assert not store.poll()
            assert store.stale_since() is not None
            elsewhere.rename(path)
            store.poll()
            assert store.stale_since() is None
            assert [record.getMessage().partition(": the database is ")[2][:4] for record in caplog.records] == [
                "gone",
                "in i",
            ] * times
        put(store, "moshez", "In the garden")
        assert status(store, "moshez") == "In the garden"


def test_every_failure_inside_is_a_backend_error(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with opened(path) as store:
        put(store, "moshez", "Happy and well")
        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE status")
        with pytest.raises(BackendError):
            store.history("moshez", 1, None)
        with pytest.raises(BackendError):
            status(store, "moshez")
        with pytest.raises(BackendError):
            put(store, "moshez", "In the garden")


def test_a_log_without_its_database_is_ignored(tmp_path: Path) -> None:
    path, crashed = tmp_path / "x.db", tmp_path / "crashed.db"
    with opened(path) as store:
        put(store, "moshez", "Happy and well")
        shutil.copy(tmp_path / "x.db-wal", tmp_path / "crashed.db-wal")
    with opened(crashed) as store:
        assert store.logins() == []
        put(store, "ada", "Weaving")
    with opened(crashed) as store:
        assert store.logins() == ["ada"]


def test_the_path_may_be_a_link_and_the_link_may_change(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link, one, two = tmp_path / "x.db", tmp_path / "real" / "one.db", tmp_path / "real" / "two.db"
    for path in (one, two):
        with opened(path) as store:
            put(store, "moshez", path.name)
    link.symlink_to(one)
    with opened(link) as store:
        put(store, "ada", "Weaving")
        (tmp_path / "new").symlink_to(two)
        (tmp_path / "new").replace(link)
        assert store.poll()
        assert status(store, "moshez") == "two.db"
        assert store.logins() == ["moshez"]
    with opened(one) as store:
        assert store.logins() == ["ada", "moshez"]
    assert sorted(file.name for file in (tmp_path / "real").iterdir()) == ["one.db", "two.db"]
