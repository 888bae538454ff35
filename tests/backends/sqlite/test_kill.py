"""The real program: its log is removed or damaged, it answers OK, it is killed with SIGKILL, and starts again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
import trio

from fingertrio.clients.finger import finger
from fingertrio.clients.setter import SetterError, set_status
from fingertrio.testing.program import Program, running
from fingertrio.wire.finger import Query
from tests.backends.sqlite.test_log import overwrite, remove_both, remove_wal, truncate

pytestmark = pytest.mark.slow  # each test starts the program twice; test_log.py has the same cases without it


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


@pytest.fixture
def program(path: Path) -> Iterator[Program]:
    doors = {door: {"listen": ["127.0.0.1:0"]} for door in ("setter", "admin")}
    finger_door = {"listen": ["127.0.0.1:0"], "answer": "status"}
    with running({"backend": {"use": "sqlite", "path": path}, "finger": finger_door, **doors}) as program:
        yield program


def set_to(program: Program, user: str, status: str) -> None:
    async def call() -> None:
        host, port = program.address("setter")
        await set_status(user, status, host=host, port=port)

    trio.run(call)


def status_of(program: Program, user: str) -> str:
    return trio.run(finger, Query(user=user), *program.address("finger")).decode().strip()


def degraded(program: Program) -> set[str]:
    host, port = program.address("admin")
    answer = httpx2.get(f"http://{host}:{port}/readyz").json()
    return {condition["what"] for condition in answer["degraded"]}


def restart_after_kill(program: Program) -> None:
    program.kill()
    program.start()
    program.addresses.clear()
    program.wait_ready()


def wait_until_in_the_file(path: Path, user: str) -> None:
    """Wait until the database file by itself, without its log, has a status of the user."""
    query = "SELECT count(*) FROM status JOIN user ON user.id = status.user WHERE login = ?"
    deadline = time.monotonic() + 5
    while True:
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
            if connection.execute(query, (user,)).fetchone() != (0,):
                return
        assert time.monotonic() < deadline, "the log was not checkpointed"
        time.sleep(0.05)


@pytest.mark.parametrize("remove", [remove_wal, remove_both])
def test_a_status_set_before_or_after_the_log_was_removed_survives(
    path: Path, program: Program, remove: Callable[[Path], None]
) -> None:
    set_to(program, "ada", "Weaving")
    remove(path)
    set_to(program, "moshez", "Happy and well")
    restart_after_kill(program)
    assert [status_of(program, user) for user in ("ada", "moshez")] == ["Weaving", "Happy and well"]


@pytest.mark.parametrize("damage", [truncate, overwrite])
def test_a_status_set_after_the_log_was_damaged_survives_and_so_does_what_was_set_a_second_before(
    path: Path, program: Program, damage: Callable[[Path], None]
) -> None:
    set_to(program, "ada", "Weaving")
    wait_until_in_the_file(path, "ada")
    damage(path.with_name("x.db-wal"))
    set_to(program, "moshez", "Happy and well")
    restart_after_kill(program)
    assert [status_of(program, user) for user in ("ada", "moshez")] == ["Weaving", "Happy and well"]


def test_while_another_program_uses_the_removed_log_sets_are_refused_and_readyz_says_so(
    path: Path, program: Program
) -> None:
    set_to(program, "ada", "Weaving")
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM status").fetchone()
        remove_wal(path)
        with pytest.raises(SetterError, match="The log of the database is not in its place"):
            set_to(program, "moshez", "Happy and well")
        assert "backend_writes" in degraded(program)
        assert status_of(program, "ada") == "Weaving"
        restart_after_kill(program)
    assert [status_of(program, user) for user in ("ada", "moshez")] == ["Weaving", "No such user"]
    set_to(program, "moshez", "Happy and well")
    assert degraded(program) == set()
