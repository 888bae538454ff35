"""What is read from a write-ahead log, held against SQLite itself."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingertrio.backends.sqlite.wal import LogWatch, Position


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


@pytest.fixture
def writer(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_wal(path)) as connection:
        yield connection


def open_wal(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE word (text)")
    return connection


def recovered(path: Path, size: int) -> list[str]:
    """What SQLite recovers from the file with the first `size` bytes of its log."""
    with TemporaryDirectory() as directory:
        copy = Path(shutil.copy(path, directory))
        copy.with_name("x.db-wal").write_bytes(path.with_name("x.db-wal").read_bytes()[:size])
        with closing(sqlite3.connect(copy)) as connection:
            return [text for (text,) in connection.execute("SELECT text FROM word ORDER BY rowid")]


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(1, 9000)),
        st.tuples(st.just("roll back"), st.integers(1, 9000)),
        st.tuples(st.sampled_from(["PASSIVE", "RESTART", "TRUNCATE"]), st.just(0)),
    ),
    max_size=15,
)


@settings(max_examples=12)
@given(_STEPS)
def test_the_quick_search_finds_the_commit_that_a_full_check_and_sqlite_find(steps: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "x.db"
        with closing(open_wal(path)) as writer, closing(LogWatch(path)) as watch:
            words = []
            for number, (step, size) in enumerate(steps):
                if step == "insert":
                    words.append(f"{number}" + "x" * size)
                    writer.execute("INSERT INTO word VALUES (?)", (words[-1],))
                    assert watch.was_modified
                    assert watch.update()
                    assert watch.position.frames
                elif step == "roll back":
                    writer.execute("BEGIN")
                    writer.execute("INSERT INTO word VALUES (?)", ("y" * size,))
                    writer.execute("ROLLBACK")
                else:
                    writer.execute(f"PRAGMA wal_checkpoint({step})")
                watch.update()
                assert watch.is_intact()
                assert recovered(path, watch.recoverable_size()) == words


def test_every_single_byte_of_a_committed_log_matters(path: Path, writer: sqlite3.Connection) -> None:
    for word in ("one", "two", "three"):
        writer.execute("INSERT INTO word VALUES (?)", (word,))
    wal = path.with_name("x.db-wal")
    content = wal.read_bytes()
    with closing(LogWatch(path)) as watch:
        for offset in [*range(32 + 24), *range(32 + 24, len(content), 397)]:
            with wal.open("r+b") as file:
                file.seek(offset)
                file.write(bytes([content[offset] ^ 0xFF]))
            assert not watch.is_intact(), f"byte {offset}"
            assert watch.recoverable_size() <= max(offset, 0)
            with wal.open("r+b") as file:
                file.write(content)
        assert watch.is_intact()


def test_an_empty_log_has_no_commit(path: Path, writer: sqlite3.Connection) -> None:
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with closing(LogWatch(path)) as watch:
        assert watch.position == Position()
        assert watch.is_empty
        assert watch.is_intact()
        assert watch.recoverable_size() == 0
        assert not watch.update()


def test_a_removed_or_replaced_file_is_named(path: Path, writer: sqlite3.Connection) -> None:
    wal = path.with_name("x.db-wal")
    with closing(LogWatch(path)) as watch:
        assert watch.displacement() is None
        wal.rename(wal.with_name("elsewhere"))
        assert watch.displacement() == "x.db-wal was removed"
        wal.touch()
        assert watch.displacement() == "x.db-wal was replaced"
        assert not watch.wal_is_in_place
        assert watch.shm_is_in_place
        wal.with_name("elsewhere").replace(wal)
        assert watch.displacement() is None
        path.with_name("x.db-shm").unlink()
        assert watch.displacement() == "x.db-shm was removed"


def test_a_displacement_is_noticed_after_a_long_time_without_one(
    path: Path, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the directory has not changed for a while, only its time is compared."""
    monkeypatch.setattr("fingertrio.backends.sqlite.wal._COARSE_TIME", -(10**12))
    with closing(LogWatch(path)) as watch:
        assert watch.displacement() is None
        assert watch._unchanged_since
        # Give the directory another time even if the clock of the file system has not advanced.
        while path.parent.stat().st_mtime_ns == watch._unchanged_since:
            path.with_name("other").touch()
            path.with_name("other").unlink()
        path.with_name("x.db-wal").unlink()
        assert watch.displacement() == "x.db-wal was removed"
