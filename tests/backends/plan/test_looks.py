"""Blocked threads: they take nothing from other users, and their number is limited."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fingertrio.backends.plan import looks
from fingertrio.backends.plan.looks import Looks, NoAnswerError, mount_of, mount_points

Enter = Callable[[str], None]


class Homes:
    """Looks into homes under /dead block until the test ends."""

    def __init__(self) -> None:
        self.revived = threading.Event()
        self.started: list[str] = []

    def look(self, path: str) -> Callable[[Enter], str]:
        def look(enter: Enter) -> str:
            self.started.append(path)
            enter(path)
            if path.startswith("/dead"):
                assert self.revived.wait(60)
            return path

        return look


@pytest.fixture
def homes() -> Iterator[Homes]:
    homes = Homes()
    yield homes
    homes.revived.set()


@pytest.fixture(autouse=True)
def mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "mount_points", lambda: ("/dead/own1", "/dead/own2", "/dead", "/"))


async def until(happened: Callable[[], bool]) -> None:
    """Poll in real time: threads do not follow Trio's clock."""
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        await trio.to_thread.run_sync(time.sleep, 0.002)


async def give_up(threads: Looks, user: str, path: str, homes: Homes) -> None:
    with pytest.raises(NoAnswerError):
        await threads.run(user, homes.look(path), patience=0.01)
    # On a busy machine the thread may not even have begun.
    await until(lambda: user not in threads._running or threads._running[user].home is not None)


async def test_a_result_and_an_exception_come_back():
    threads = Looks(1)
    assert await threads.run("ada", lambda _enter: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await threads.run("ada", lambda _enter: 1 // 0)


async def test_many_dead_homes_take_nothing_from_the_others(homes: Homes):
    threads = Looks(2)
    for number in range(10):
        await give_up(threads, f"user{number}", "/dead/home", homes)
    with trio.fail_after(5):
        assert await threads.run("ada", homes.look("/home/ada")) == "/home/ada"


async def test_dead_homes_that_are_still_waited_for_take_nothing_either(homes: Homes, mock_clock: MockClock):
    threads = Looks(2)
    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(give_up_late, threads, f"user{number}", homes)
        await until(lambda: len(homes.started) == 2)
        answers: list[str] = []

        async def ask_ada() -> None:
            answers.append(await threads.run("ada", homes.look("/home/ada")))

        nursery.start_soon(ask_ada)
        await wait_all_tasks_blocked()
        assert "/home/ada" not in homes.started
        mock_clock.jump(0.3)  # the two no longer count as starting
        await until(lambda: bool(answers))
        mock_clock.jump(4)


async def give_up_late(threads: Looks, user: str, homes: Homes) -> None:
    with pytest.raises(NoAnswerError, match=f"the home of {user} does not answer within 4 s"):
        await threads.run(user, homes.look("/dead/home"))


async def test_only_so_many_start_at_once(homes: Homes, mock_clock: MockClock):
    threads = Looks(3)
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(threads.run, f"user{number}", homes.look("/dead/home"))
        await until(lambda: len(homes.started) == 3)
        await wait_all_tasks_blocked()
        assert len(homes.started) == 3
        homes.revived.set()
    assert len(homes.started) == 10


async def test_a_user_has_one_thread_and_an_overdue_one_fails_at_once(homes: Homes, mock_clock: MockClock):
    threads = Looks(4)
    await trio.lowlevel.checkpoint()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(threads.run, "ada", homes.look("/dead/ada"))
            await until(lambda: bool(homes.started))
            scope.cancel()
    mock_clock.jump(5)
    with pytest.raises(NoAnswerError, match="still does not answer"):
        await threads.run("ada", homes.look("/dead/ada"))
    assert len(homes.started) == 1
    homes.revived.set()
    await until(lambda: not threads._running)
    assert await threads.run("ada", homes.look("/dead/ada")) == "/dead/ada"


async def test_a_dead_file_system_has_so_many_threads_and_others_are_read(homes: Homes):
    threads = Looks(4)
    for number in range(20):
        await give_up(threads, f"user{number}", "/dead/home", homes)
    assert len(threads._running) == 16
    with pytest.raises(NoAnswerError, match="the file system mounted at /dead does not answer"):
        await threads.run("moshez", homes.look("/dead/moshez"))
    assert await threads.run("ada", homes.look("/home/ada")) == "/home/ada"
    await give_up(threads, "own1", "/dead/own1/x", homes)  # another file system
    assert len(threads._running) == 17
    homes.revived.set()
    await until(lambda: not threads._running)
    assert await threads.run("moshez", homes.look("/dead/moshez")) == "/dead/moshez"


async def test_a_dead_password_database_has_so_many_threads(homes: Homes):
    def look(_enter: Enter) -> None:
        assert homes.revived.wait(60)

    threads = Looks(4)
    for number in range(16):
        with pytest.raises(NoAnswerError):
            await threads.run(f"user{number}", look, patience=0.01)
    with pytest.raises(NoAnswerError, match="the password database does not answer"):
        await threads.run("ada", look)


async def test_there_is_a_limit_for_all_file_systems(homes: Homes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(looks, "_BLOCKED_LIMIT", 2)
    threads = Looks(4)
    for number in range(2):
        await give_up(threads, f"user{number}", f"/dead/own{number}", homes)
    with pytest.raises(NoAnswerError, match="2 homes do not answer"):
        await threads.run("ada", homes.look("/home/ada"))


async def test_a_thread_that_begins_late_does_not_count_itself(homes: Homes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(looks, "_BLOCKED_LIMIT", 1)
    threads, late = Looks(4), threading.Event()

    def look(enter: Enter) -> None:
        assert late.wait(60)
        enter("/dead/home")
        assert homes.revived.wait(60)

    with pytest.raises(NoAnswerError):
        await threads.run("ada", look, patience=0.01)
    late.set()
    await until(lambda: threads._running["ada"].home is not None)


async def test_without_another_thread_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_args: object) -> None:
        raise RuntimeError("can't start new thread")

    threads = Looks(1)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(trio.lowlevel, "start_thread_soon", refuse)
        await threads.run("ada", lambda _enter: 1)
    assert await threads.run("ada", lambda _enter: 1) == 1


def test_a_thread_may_outlive_trio(homes: Homes):
    async def main() -> None:
        threads = Looks(1)
        await give_up(threads, "ada", "/dead/ada", homes)

    trio.run(main)
    homes.revived.set()


class TestMounts:
    @pytest.mark.parametrize(
        ("path", "mount"),
        [("/home/ada", "/home"), ("/home", "/home"), ("/homes/ada", "/"), ("/home/nfs/x/y", "/home/nfs"), ("", "/")],
    )
    def test_the_longest_that_contains_a_path(self, path: str, mount: str):
        assert mount_of(path, ("/home/nfs", "/home", "/")) == mount

    def test_those_of_this_machine(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        table = tmp_path / "mountinfo"
        table.write_text(
            "22 1 0:20 / / rw - ext4 /dev/sda rw\n30 22 0:40 / /home/my\\040own rw shared:1 - nfs4 server:/x rw\n"
        )
        with monkeypatch.context() as patch:
            patch.setattr(looks, "_MOUNTS", table)
            assert mount_points() == ["/home/my own", "/"]
            patch.setattr(looks, "_MOUNTS", tmp_path / "missing")
            assert mount_of("/home/x", mount_points()) == "/"
        assert "/" in mount_points()
