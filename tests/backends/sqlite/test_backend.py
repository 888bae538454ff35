from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from pydantic import ValidationError

from fingertrio.backend import BackendError, Change, UserInfo
from fingertrio.backends.sqlite import SQLiteBackend, SQLiteOptions, open_sqlite, rows
from fingertrio.backends.sqlite.backend import POLL_INTERVAL
from fingertrio.backends.sqlite.backup import back_up, restore
from fingertrio.backends.sqlite.rows import Put, Retention
from fingertrio.backends.sqlite.store import SQLiteStore
from fingertrio.service import FingerService, warming
from fingertrio.wire.times import from_microseconds
from tests.backends.sqlite.kit import DAY, SECOND, Clock, opened, put, rows_of

SOON = timedelta(milliseconds=200)


@asynccontextmanager
async def running(
    path: Path, now: Callable[[], int], retention: Retention | None = None
) -> AsyncIterator[SQLiteBackend]:
    with opened(path, retention, now) as opened_store:
        running_backend = SQLiteBackend(opened_store, now)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running_backend.run)
            yield running_backend
            nursery.cancel_scope.cancel()


def names_in(directory: Path) -> list[str]:
    return [file.name for file in directory.iterdir()]


async def status_of(backend: SQLiteBackend, user: str) -> str | None:
    info = await backend.get_user(user)
    return None if info is None else info.status


# --- options ----------------------------------------------------------------------------------------------------------


def test_the_default_is_in_the_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/moshez")
    monkeypatch.setenv("XDG_STATE_HOME", "/srv/state")
    assert SQLiteOptions().path == Path("/srv/state/fingertrio/fingertrio.db")
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", ignored)
        assert SQLiteOptions().path == Path("/home/moshez/.local/state/fingertrio/fingertrio.db")


def test_a_path_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/moshez")
    monkeypatch.chdir(tmp_path)
    assert SQLiteOptions(path=Path("~/x.db")).path == Path("/home/moshez/x.db")
    assert SQLiteOptions(path=Path("var/x.db")).path == tmp_path / "var/x.db"


@pytest.mark.parametrize(
    "wrong", [{"path": ""}, {"path": "/"}, {"path": "a\0b"}, {"path": "~nobody-here/x"}, {"history": 0}, {"hist": 1}]
)
def test_wrong_options_are_errors(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SQLiteOptions.model_validate(wrong)


async def test_a_file_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        async with open_sqlite(SQLiteOptions(path=tmp_path / "file" / "x.db")):
            pass


# --- group commit -----------------------------------------------------------------------------------------------------


async def test_64_writers_at_once_share_commits_and_each_is_acknowledged_when_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    batches: list[int] = []
    commit = SQLiteStore.commit

    def counting(self: SQLiteStore, puts: Sequence[Put]) -> list[UserInfo | BackendError | None]:
        batches.append(len(puts))
        return commit(self, puts)

    monkeypatch.setattr(SQLiteStore, "commit", counting)
    async with open_sqlite(SQLiteOptions(path=path)) as backend:

        async def write(number: int) -> None:
            for turn in range(10):
                info = await backend.set_user(f"user{number}", f"Status {turn}")
                assert info.status == f"Status {turn}"
                stored = rows_of(
                    path, f"SELECT text FROM status JOIN user ON user.latest = status.id WHERE login = 'user{number}'"
                )
                assert stored == [(f"Status {turn}",)]

        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(write, number)
    assert sum(batches) == 640
    assert len(batches) < 200, f"{len(batches)} commits: they were hardly shared"
    assert max(batches) <= 64


async def test_bad_sets_among_64_writers_fail_alone(tmp_path: Path) -> None:
    failed: list[int] = []
    async with open_sqlite(SQLiteOptions(path=tmp_path / "x.db")) as backend:

        async def write(number: int) -> None:
            if number % 10 == 3:
                with pytest.raises(BackendError, match="The database failed"):
                    await backend.set_user("", "Happy")  # the table rejects empty names
                failed.append(number)
            else:
                await backend.set_user(f"user{number}", "Happy")

        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(write, number)
        assert sorted(failed) == [3, 13, 23, 33, 43, 53, 63]
        assert len(await backend.get_users()) == 57


async def test_a_set_right_before_closing_is_stored(tmp_path: Path) -> None:
    options = SQLiteOptions(path=tmp_path / "x.db")
    async with open_sqlite(options) as backend:
        await backend.set_user("moshez", "Happy and well")
    assert names_in(tmp_path) == ["x.db"], "the log was checkpointed and removed"
    async with open_sqlite(options) as backend:
        assert await status_of(backend, "moshez") == "Happy and well"


async def test_an_unresponsive_disk_fails_sets_and_not_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go = threading.Event()
    commit = SQLiteStore.commit

    def hanging(self: SQLiteStore, puts: Sequence[Put]) -> list[UserInfo | BackendError | None]:
        assert may_go.wait(5)
        return commit(self, puts)

    async with open_sqlite(SQLiteOptions(path=tmp_path / "x.db")) as backend, backend.changes() as feed:
        await backend.set_user("moshez", "Happy and well")
        assert await anext(feed) == Change("moshez")
        monkeypatch.setattr(backend._sets, "_work", lambda puts: hanging(backend._store, puts))
        monkeypatch.setattr(backend._sets, "_patience", 0.05)
        with pytest.raises(BackendError, match="does not answer"):
            await backend.set_user("moshez", "In the garden")
        assert await status_of(backend, "moshez") == "Happy and well"
        may_go.set()
        with trio.fail_after(3):
            assert await anext(feed) == Change("moshez"), "a late set is emitted, too"
        assert await status_of(backend, "moshez") == "In the garden"


# --- expiry -----------------------------------------------------------------------------------------------------------


async def test_the_end_of_a_status_is_emitted_and_the_one_before_is_back(tmp_path: Path) -> None:
    async with open_sqlite(SQLiteOptions(path=tmp_path / "x.db")) as backend:
        await backend.set_user("moshez", "Happy and well")
        await backend.set_user("ada", "Away for long", until=datetime.now(UTC) + timedelta(days=1))
        async with backend.changes() as feed:
            await backend.set_user("moshez", "Back soon", until=datetime.now(UTC) + SOON)
            assert await anext(feed) == Change("moshez")
            assert await status_of(backend, "moshez") == "Back soon"
            with trio.fail_after(3):
                assert await anext(feed) == Change("moshez")
            assert await status_of(backend, "moshez") == "Happy and well"


async def test_the_end_of_a_replaced_status_is_not_emitted(tmp_path: Path) -> None:
    async with open_sqlite(SQLiteOptions(path=tmp_path / "x.db")) as backend:
        await backend.set_user("moshez", "Back soon", until=datetime.now(UTC) + SOON)
        await backend.set_user("moshez", "Back")
        await backend.set_user("ada", "Back later", until=datetime.now(UTC) + 2 * SOON)
        async with backend.changes() as feed:
            with trio.fail_after(3):
                assert await anext(feed) == Change("ada")


async def test_a_status_that_ended_while_the_server_was_down_is_not_shown(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path / "x.db", clock) as backend:
        await backend.set_user("moshez", "Happy and well")
        until = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=clock.time + SECOND)
        await backend.set_user("moshez", "Back soon", until=until)
        await backend.set_user("bob", "Passing by", until=until)
    clock.time += 2 * SECOND
    async with running(tmp_path / "x.db", clock) as backend:
        assert await status_of(backend, "moshez") == "Happy and well"
        assert await backend.get_users() == ["moshez"]
        told = await backend.get_history("bob", 10)
        assert [info.status for info in told] == ["Passing by"]


async def test_a_past_until_is_refused(tmp_path: Path) -> None:
    async with open_sqlite(SQLiteOptions(path=tmp_path / "x.db")) as backend:
        with pytest.raises(BackendError, match="has passed"):
            await backend.set_user("moshez", "Gone", until=datetime.now(UTC))
        assert await backend.get_users() == []


async def test_old_history_is_deleted_also_for_users_who_set_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    retention = Retention(100, days=1)
    path = tmp_path / "x.db"
    with opened(path, retention, clock) as opened_store:
        for text in ("one", "two", "three"):
            put(opened_store, "moshez", text)
    clock.time += 3 * DAY
    monkeypatch.setattr("fingertrio.backends.sqlite.backend._FIRST_TRIM", 0.0)
    async with running(path, clock, retention):
        with trio.fail_after(3):
            while rows_of(path, "SELECT text FROM status") != [("three",)]:  # noqa: ASYNC110 -- another program's view
                await trio.sleep(0.01)


async def test_a_jump_of_the_clock_is_a_change_of_everything_and_ends_are_emitted_afterwards(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path / "x.db", clock) as backend, backend.changes() as feed:
        until = from_microseconds(clock.time + DAY)
        await backend.set_user("moshez", "Happy and well")
        await backend.set_user("moshez", "Back tomorrow", until=until)
        with trio.fail_after(3):
            assert await anext(feed) == Change("moshez")
            for jump, expected in ((100 * DAY, "Happy and well"), (-100 * DAY, "Back tomorrow")):
                clock.time += jump
                while await anext(feed) != Change(None):
                    pass
                assert await status_of(backend, "moshez") == expected
            clock.time += DAY + 1  # less than a jump would be enough for the end, but not to be noticed at once
            # The feed may have merged the end of the status into a change of everything, which came just before.
            assert await anext(feed) in {Change("moshez"), Change(None)}
            assert await status_of(backend, "moshez") == "Happy and well"


# --- other programs ---------------------------------------------------------------------------------------------------

_SCRIPT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE user SET name = 'Moshe Zadka' WHERE login = 'moshez'")
connection.execute("COMMIT")
"""


async def test_what_another_process_writes_is_noticed_within_a_second(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with open_sqlite(SQLiteOptions(path=path)) as backend:
        await backend.set_user("moshez", "Happy and well")
        async with backend.changes() as feed:
            await trio.run_process([sys.executable, "-c", _SCRIPT, str(path)])
            with trio.fail_after(1):
                assert await anext(feed) == Change(None)
            info = await backend.get_user("moshez")
            assert info is not None
            assert info.name == "Moshe Zadka"
            returned = await backend.set_user("moshez", "In the garden")
            assert returned.name == "Moshe Zadka"


async def test_our_own_sets_are_not_mistaken_for_those_of_another_process(tmp_path: Path) -> None:
    async with open_sqlite(SQLiteOptions(path=tmp_path / "x.db")) as backend, backend.changes() as feed:
        await backend.set_user("moshez", "Happy and well")
        assert await anext(feed) == Change("moshez")
        with trio.move_on_after(3 * POLL_INTERVAL) as silence:
            await anext(feed)
        assert silence.cancelled_caught


async def test_the_end_of_a_status_set_by_another_process_is_emitted(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with open_sqlite(SQLiteOptions(path=path)) as opened_backend:
        await opened_backend.set_user("moshez", "Happy and well")
        async with opened_backend.changes() as feed:

            def write() -> None:
                with opened(path) as other:
                    put(other, "moshez", "Back soon", other._now() + SECOND)

            await trio.to_thread.run_sync(write)
            with trio.fail_after(1):
                assert await anext(feed) == Change(None)
            assert await status_of(opened_backend, "moshez") == "Back soon"
            with trio.fail_after(3):
                assert await anext(feed) == Change("moshez")
            assert await status_of(opened_backend, "moshez") == "Happy and well"


@pytest.mark.parametrize("how", ["moved into place", "restored"])
async def test_restoring_a_backup_while_serving_is_noticed_within_a_second(tmp_path: Path, how: str) -> None:
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    async with open_sqlite(SQLiteOptions(path=path)) as backend:
        await backend.set_user("moshez", "Happy and well")
        await trio.to_thread.run_sync(back_up, path, copy)
        await backend.set_user("moshez", "In the garden")
        async with backend.changes() as feed:
            if how == "moved into place":
                copy.replace(path)
            else:
                await trio.to_thread.run_sync(restore, path, copy)
            with trio.fail_after(1):
                assert await anext(feed) == Change(None)
        assert await status_of(backend, "moshez") == "Happy and well"
        await backend.set_user("moshez", "Back again")
        assert await status_of(backend, "moshez") == "Back again"
    assert rows_of(path, "PRAGMA integrity_check") == [("ok",)]


async def test_the_cache_of_the_service_is_warm_after_the_start_and_after_a_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "_PAUSE", 0.01)
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    options = SQLiteOptions(path=path)

    async def cached(service: FingerService, status: str) -> None:
        with trio.fail_after(3):
            while (answer := service.cached("moshez")) is None or answer.value is None or answer.value.status != status:
                await trio.testing.wait_all_tasks_blocked(0.01)

    async with open_sqlite(options) as backend:
        await backend.set_user("moshez", "Happy and well")
        await trio.to_thread.run_sync(back_up, path, copy)
        await backend.set_user("moshez", "In the garden")
    async with open_sqlite(options) as backend, FingerService.open(backend) as service:
        await cached(service, "In the garden")
        await trio.to_thread.run_sync(restore, path, copy)
        await cached(service, "Happy and well")


async def test_two_servers_of_one_file_notice_each_others_sets(tmp_path: Path) -> None:
    options = SQLiteOptions(path=tmp_path / "x.db")
    async with open_sqlite(options) as one, open_sqlite(options) as two, two.changes() as feed:
        await one.set_user("moshez", "Happy and well")
        with trio.fail_after(1):
            assert await anext(feed) == Change(None)
        assert await status_of(two, "moshez") == "Happy and well"


async def test_a_long_query_is_interrupted_when_its_caller_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n WHERE ? > 0"
    async with open_sqlite(SQLiteOptions(path=tmp_path / "x.db")) as backend:
        await backend.set_user("moshez", "Happy and well")
        with monkeypatch.context() as patch:
            patch.setattr(rows, "_LIST", endless)
            with trio.move_on_after(0.1) as scope:
                await backend.get_users()
            assert scope.cancelled_caught
        with trio.fail_after(2):
            assert await backend.get_users() == ["moshez"]


# --- size -------------------------------------------------------------------------------------------------------------


def test_the_write_ahead_log_stays_small(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as opened_store:
        for number in range(400):
            opened_store.commit([Put(f"user{user}", f"{number}" + "x" * 500, None) for user in range(20)])
        assert (tmp_path / "x.db-wal").stat().st_size < 8 * 1024 * 1024


def test_what_was_written_is_read_by_any_sqlite(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as opened_store:
        put(opened_store, "moshez", "Happy and well")
    script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT text FROM status').fetchall())"
    said = subprocess.run(
        [sys.executable, "-c", script, os.fspath(tmp_path / "x.db")], capture_output=True, text=True, check=True
    )
    assert said.stdout == "[('Happy and well',)]\n"
