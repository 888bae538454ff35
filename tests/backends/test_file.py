from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from pydantic import ValidationError

from fingertrio.backend import Change, Recency, SetsStatus, UserInfo
from fingertrio.backends import file as file_module
from fingertrio.backends.file import FileBackend, FileOptions, open_file
from fingertrio.testing import CLAUSES, Clause, check_backend
from fingertrio.wire.users_file import USERS_FILE_LIMIT

USERS = {"moshez": "Happy and well", "alice": "In the garden"}
LINES = "moshez: Happy and well\nalice: In the garden\n"

# Every change is served within this time; every wait below uses it as its limit.
A_SECOND = 1.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A users file in a directory that can be renamed."""
    directory = tmp_path / "etc"
    directory.mkdir()
    path = directory / "users"
    path.write_text(LINES)
    return path


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten all intervals, for tests about what is noticed; other tests check when."""
    for name in ("_POLL_INTERVAL", "_SETTLE_INTERVAL", "_SETTLE_LIMIT"):
        monkeypatch.setattr(file_module, name, getattr(file_module, name) / 10)


async def until(holds: Callable[[], bool]) -> None:
    """Wait up to a second for something that sets no event."""
    with trio.fail_after(A_SECOND):
        while not holds():  # noqa: ASYNC110 -- a log and a counting thread set no event
            await trio.sleep(0.01)


class Calls:
    """How often the file was polled and read."""

    def __init__(self) -> None:
        self.count = Counter[str]()

    async def more(self, name: str, number: int) -> None:
        """Wait for `number` calls that begin after now."""
        enough = self.count[name] + number
        await until(lambda: self.count[name] >= enough)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()

    def counted(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            calls.count[name] += 1
            return function(*args)

        return call

    for name in ("_poll", "_read"):
        monkeypatch.setattr(file_module, name, counted(name, getattr(file_module, name)))
    return calls


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.write_text(text, encoding)


def append(path: Path, text: str = "moshez: Sad\n") -> None:
    with path.open("a") as file:
        file.write(text)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[FileBackend]:
    async with open_file(FileOptions(path=path)) as backend:
        yield backend


async def status_of(backend: FileBackend, user: str) -> str | None:
    info = await backend.get_user(user)
    return None if info is None else info.status


async def logged_within_a_second(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Wait for a log line: the only sign that the backend noticed something that changes no answer."""
    await until(lambda: text in caplog.text)


# The options


@pytest.mark.parametrize("options", [{}, {"path": ""}, {"path": "/"}, {"path": "a\0b"}, {"path": "a", "poll": 1}])
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FileOptions.model_validate(options)


# The contract


@pytest.mark.parametrize("clause", CLAUSES, ids=str)
async def test_the_contract_holds(path: Path, hurried: None, clause: Clause) -> None:
    async def alter(user: str, status: str) -> None:
        write(path, f"{LINES}{user}: {status}\n")

    applies = await check_backend(lambda: open_file(FileOptions(path=path)), known=USERS, alter=alter, clauses=[clause])
    assert applies or clause.name not in MUST_APPLY


MUST_APPLY = {
    "recent_statuses_are_those_of_the_users",
    "known_users_are_answered",
    "the_list_is_of_the_users",
    "what_others_change_is_told",
    "nothing_is_left",
}


async def test_answers_have_no_since_and_nothing_can_be_set(path: Path) -> None:
    async with opened(path) as backend:
        assert await backend.get_user("moshez") == UserInfo("moshez", "Happy and well")
        assert await backend.get_users() == ["moshez", "alice"]
        assert not isinstance(backend, SetsStatus)


# Ways to change a file. Each changes the status of moshez to "Sad" and leaves that of alice.

SAD = "moshez: Sad\nalice: In the garden\n"


def rewrite_in_place(path: Path) -> None:
    path.write_text(SAD)


def rewrite_keeping_size_and_time(path: Path) -> None:
    before = path.stat()
    path.write_text(SAD.replace("Sad", "Sad".ljust(len("Happy and well"))))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_atomically(path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_text(SAD)
    new.rename(path)


def delete_and_make_again(path: Path) -> None:
    path.unlink()
    path.write_text(SAD)


def replace_the_directory(path: Path) -> None:
    new = path.parent.with_name("etc.new")
    new.mkdir()
    (new / path.name).write_text(SAD)
    path.parent.rename(path.parent.with_name("etc.old"))
    new.rename(path.parent)


def delete_the_directory_and_make_it_again(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()
    path.parent.mkdir()
    path.write_text(SAD)


def put_a_link_in_its_place(path: Path) -> None:
    target = path.with_name("users.target")
    target.write_text(SAD)
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize(
    "change",
    [
        append,
        rewrite_in_place,
        rewrite_keeping_size_and_time,
        replace_atomically,
        delete_and_make_again,
        replace_the_directory,
        delete_the_directory_and_make_it_again,
        put_a_link_in_its_place,
    ],
)
async def test_every_kind_of_change_is_emitted_within_a_second(
    path: Path, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path) as backend, backend.changes() as feed:
        change(path)
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change("moshez")
        assert await status_of(backend, "moshez") == "Sad"
        assert await status_of(backend, "alice") == "In the garden"
    assert "stale" not in caplog.text


async def test_later_changes_are_emitted_too(path: Path, hurried: None) -> None:
    async with opened(path) as backend, backend.changes() as feed:
        for change in (replace_the_directory, append_happy, replace_atomically):
            change(path)
            with trio.fail_after(A_SECOND):
                assert await anext(feed) == Change("moshez")


def append_happy(path: Path) -> None:
    append(path, "moshez: Happy again\n")


def turn_a_link(path: Path) -> None:
    turned = path.parent.with_name("turned")
    turned.symlink_to("sad")
    turned.rename(path.parent)


async def test_a_directory_behind_a_link_is_followed_when_the_link_turns(path: Path) -> None:
    link = path.parent.with_name("link")
    link.symlink_to(path.parent.name)
    sad = path.parent.with_name("sad")
    sad.mkdir()
    write(sad / path.name, SAD)
    async with opened(link / path.name) as backend, backend.changes() as feed:
        turn_a_link(link / path.name)
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change("moshez")


async def test_a_file_that_is_written_without_rest_is_read_within_a_second(path: Path) -> None:
    async def keep_writing() -> None:
        while True:
            await trio.sleep(0.02)  # a fifth of the rest that would be waited for
            append(path, "# and on\n")

    async with opened(path) as backend, backend.changes() as feed, trio.open_nursery() as nursery:
        append(path)
        nursery.start_soon(keep_writing)
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change("moshez")
        nursery.cancel_scope.cancel()


async def test_a_change_that_the_times_of_the_file_do_not_show_is_emitted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system with coarse times, a second change of the same size looks like the first."""
    monkeypatch.setattr(file_module, "_state_of", lambda status: (0, 0, status.st_size, 0, 0))
    async with opened(path) as backend, backend.changes() as feed:
        write(path, LINES.replace("Happy and well", "Happy and sad!"))
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change("moshez")


async def test_an_unchanged_file_is_polled_and_not_read(
    path: Path, hurried: None, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "_COARSEST_TIME", 0.0)
    async with opened(path):
        await calls.more("_poll", 5)
    assert calls.count["_read"] == 1


async def test_a_file_that_stays_unusable_is_not_read_again_and_again(
    path: Path, hurried: None, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "_COARSEST_TIME", 0.0)
    save_without_byte_order_mark(path)
    async with opened(path):
        await calls.more("_poll", 5)
    assert calls.count["_read"] == 1


async def test_an_editor_may_save_the_file_as_utf_16_or_windows_1252(path: Path, hurried: None) -> None:
    async with opened(path) as backend, backend.changes() as feed:
        for encoding in ("utf-16", "cp1252"):
            write(path, f"moshez: Gr\u00fc\u00dfe, {encoding}\nalice: In the garden\n", encoding)
            with trio.fail_after(A_SECOND):
                assert await anext(feed) == Change("moshez")
            assert await status_of(backend, "moshez") == f"Gr\u00fc\u00dfe, {encoding}"
            assert backend.stale_since() is None


async def test_a_file_that_was_emptied_has_no_users(path: Path, hurried: None) -> None:
    async with opened(path) as backend, backend.changes() as feed:
        write(path, "# empty\n")
        with trio.fail_after(A_SECOND):
            assert {(await anext(feed)).user for _ in range(2)} == {"moshez", "alice"}
        assert await backend.get_users() == []
        assert backend.stale_since() is None


# Which changes are emitted


async def test_only_users_whose_line_changed_are_emitted(path: Path, hurried: None) -> None:
    lines = "".join(f"user{number}: Status {number}\n" for number in range(100))
    write(path, lines)
    async with opened(path) as backend, backend.changes() as feed:
        lines = lines.replace("user7: Status 7\n", "user7: Other\n").replace("user8: Status 8\n", "")
        write(path, f"# a new comment\nnew: Hello\n{lines}")
        with trio.fail_after(A_SECOND):
            told = {(await anext(feed)).user for _ in range(3)}
        assert told == {"user7", "user8", "new"}
        assert await status_of(backend, "user8") is None
        with trio.move_on_after(0.05) as silence:
            await anext(feed)
        assert silence.cancelled_caught


async def test_a_new_order_of_the_lines_is_emitted(path: Path, hurried: None) -> None:
    async with opened(path) as backend, backend.changes() as feed:
        write(path, "alice: In the garden\nmoshez: Happy and well\n")
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change(None)
        assert await backend.get_users() == ["alice", "moshez"]


async def test_many_changes_are_emitted_as_one(path: Path, hurried: None) -> None:
    async with opened(path) as backend, backend.changes() as feed:
        write(path, "".join(f"user{number}: Hello\n" for number in range(5000)))
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change(None)
        assert len(await backend.get_users()) == 5000


# Half-written files


async def test_a_rewrite_in_place_shows_its_beginning_and_its_end_only(path: Path) -> None:
    async with opened(path) as backend, backend.changes() as feed:
        write(path, "")
        for part in ("mosh", "ez: S", "ad\n", "alice: In the", " garden\n"):
            await trio.sleep(0.05)  # half the rest that is waited for
            assert await status_of(backend, "moshez") == "Happy and well"
            append(path, part)
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change("moshez")
        assert await status_of(backend, "moshez") == "Sad"
        assert await status_of(backend, "alice") == "In the garden"


async def test_a_file_that_changed_while_it_was_read_is_read_again(
    path: Path, hurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = file_module._read
    calls: list[bool] = []

    def read_unsettled(path: Path, last: file_module._Reading) -> object:
        reading = read(path, last)
        if not calls and isinstance(reading, file_module._Reading):
            reading = replace(reading, is_unsettled=True)
        calls.append(True)
        return reading

    async with opened(path) as backend, backend.changes() as feed:
        monkeypatch.setattr(file_module, "_read", read_unsettled)
        rewrite_in_place(path)
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change("moshez")
        assert len(calls) >= 2


# Files that cannot be used


def make_parent(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)


@pytest.mark.parametrize("directory", [True, False])
async def test_a_file_that_is_missing_at_start_is_a_warning_until_it_appears(
    tmp_path: Path, hurried: None, caplog: pytest.LogCaptureFixture, directory: bool
) -> None:
    path = tmp_path / "later" / "users"
    if directory:
        make_parent(path)
    async with opened(path) as backend, backend.changes() as feed:
        assert await backend.get_users() == []
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert record.getMessage() == f"{path}: No such file or directory; there are no users until it is repaired"
        make_parent(path)
        write(path, LINES)
        with trio.fail_after(A_SECOND):
            assert {(await anext(feed)).user for _ in range(2)} == {"moshez", "alice"}
        assert len(caplog.records) == 2
        assert "can be read again" in caplog.text


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def make_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def save_without_byte_order_mark(path: Path) -> None:
    path.write_bytes(LINES.encode("utf-16-le"))


def put_prose_in_its_place(path: Path) -> None:
    path.write_text("Dear diary,\n# to be continued\n")


def make_huge(path: Path) -> None:
    os.truncate(path, USERS_FILE_LIMIT + 1)


def remove_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("gone"))


def put_file_for_directory(path: Path) -> None:
    remove_directory(path)
    path.parent.write_text("no directory")


def repair(path: Path) -> None:
    if path.parent.exists():
        path.parent.rename(path.parent.with_name("broken"))
    path.parent.mkdir()
    path.write_text(SAD)


WAYS_TO_BREAK = [
    (Path.unlink, "No such file or directory"),
    (remove_directory, "No such file or directory"),
    (put_file_for_directory, "Not a directory"),
    (make_directory, "not a regular file"),
    (make_fifo, "not a regular file"),
    (make_device, "not a regular file"),
    (make_loop, "symbolic links"),
    (make_huge, "larger than 16777216 bytes"),
    (save_without_byte_order_mark, "not a text file"),
    (put_prose_in_its_place, "no line is a valid 'user: status' (line 1: there is no colon"),
]


@pytest.mark.parametrize(("break_file", "reason"), WAYS_TO_BREAK)
async def test_an_unusable_file_leaves_the_last_good_reading_in_force_and_is_logged_once(
    path: Path,
    hurried: None,
    calls: Calls,
    caplog: pytest.LogCaptureFixture,
    break_file: Callable[[Path], None],
    reason: str,
) -> None:
    async with opened(path) as backend, backend.changes() as feed:
        assert backend.stale_since() is None
        break_file(path)
        await logged_within_a_second(caplog, "stale")
        assert backend.stale_since() is not None
        assert reason in caplog.text
        await calls.more("_poll", 5)
        assert await status_of(backend, "moshez") == "Happy and well"
        repair(path)
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change("moshez")
        assert backend.stale_since() is None
        assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
        assert "can be read again" in caplog.records[1].getMessage()


@pytest.mark.parametrize(("break_file", "reason"), WAYS_TO_BREAK)
async def test_an_unusable_file_at_the_start_is_a_warning(
    path: Path, caplog: pytest.LogCaptureFixture, break_file: Callable[[Path], None], reason: str
) -> None:
    break_file(path)
    with trio.fail_after(A_SECOND):  # opening a FIFO would block
        async with opened(path) as backend:
            assert await backend.get_user("moshez") is None
            assert backend.stale_since() is None, "there are no users, so nothing is out of date"
    (record,) = caplog.records
    assert reason in record.getMessage()


async def test_a_file_that_may_not_be_opened_is_tried_again(
    path: Path, hurried: None, calls: Calls, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests may run as root, whom permissions do not stop, so `os.open` is made to refuse."""
    allowed = True
    open_descriptor = os.open

    def guarded(name: Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if name == path and not allowed:
            raise PermissionError(13, "Permission denied")
        return open_descriptor(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", guarded)
    async with opened(path) as backend, backend.changes() as feed:
        allowed = False
        rewrite_in_place(path)
        await logged_within_a_second(caplog, "Permission denied")
        await calls.more("_read", 5)
        assert await status_of(backend, "moshez") == "Happy and well"
        allowed = True
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change("moshez")
    assert len(caplog.records) == 2


async def test_the_same_file_is_back_when_its_directory_is(
    path: Path, hurried: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "_COARSEST_TIME", 0.0)
    async with opened(path):
        remove_directory(path)
        await logged_within_a_second(caplog, "stale")
        path.parent.with_name("gone").rename(path.parent)
        await logged_within_a_second(caplog, "can be read again")


async def test_a_file_that_grows_past_the_limit_while_it_is_read_is_not_read_on(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "_state_of", lambda _status: (0, 0, 0, 0, 0))
    monkeypatch.setattr(file_module, "USERS_FILE_LIMIT", len(LINES) - 1)
    async with opened(path) as backend:
        assert await backend.get_users() == []
    assert "larger than" in caplog.text


async def test_a_short_deletion_is_not_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(path) as backend, backend.changes() as feed:
        Path.unlink(path)
        await trio.sleep(0.05)  # half of what counts as gone
        rewrite_in_place(path)
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change("moshez")
        assert await status_of(backend, "moshez") == "Sad"
    assert not caplog.records


async def test_bad_lines_are_logged_once_with_file_and_line(
    path: Path, hurried: None, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, f"{LINES}nonsense\n")
    async with opened(path) as backend, backend.changes() as feed:
        assert await backend.get_users() == ["moshez", "alice"]
        await calls.more("_read", 3)  # the file is read again until its times are certain
        assert [record.getMessage() for record in caplog.records] == [
            f"{path}:3: there is no colon after the user name"
        ]
        caplog.clear()
        write(path, f"{SAD}\nmore nonsense\n")
        with trio.fail_after(A_SECOND):
            await anext(feed)
        assert [record.getMessage() for record in caplog.records] == [
            f"{path}:4: there is no colon after the user name"
        ]


async def test_many_bad_lines_do_not_flood_the_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(path, LINES + "nonsense\n" * 1000)
    async with opened(path):
        assert len(caplog.records) == 21
        assert caplog.records[-1].getMessage() == f"{path}: 980 more bad lines"


# The thread


@pytest.mark.parametrize("stuck", ["_poll", "_read"])
async def test_a_file_system_that_does_not_answer_stops_neither_answers_nor_the_end(
    path: Path, hurried: None, monkeypatch: pytest.MonkeyPatch, stuck: str
) -> None:
    asked, answer = trio.Event(), threading.Event()

    def hang(*_args: object) -> str:
        trio.from_thread.run_sync(asked.set)
        answer.wait()
        return "never mind"

    try:
        with trio.fail_after(A_SECOND):
            async with opened(path) as backend:
                monkeypatch.setattr(file_module, stuck, hang)
                rewrite_in_place(path)
                await asked.wait()
                assert await status_of(backend, "moshez") == "Happy and well"
    finally:
        answer.set()


async def test_a_line_that_changes_is_as_old_as_its_change(path: Path, hurried: None) -> None:
    write(path, "ada: Weaving\nbob: Out\ncy: Here\n")
    async with open_file(FileOptions(path=path)) as backend, backend.changes() as feed:
        began = datetime.now(UTC)
        assert [info.user for info in await backend.get_recent(10)] == ["ada", "bob", "cy"]
        write(path, "ada: Weaving\nbob: Back\ncy: Here\n")
        assert (await anext(feed)).user == "bob"
        write(path, "cy: Away\nada: Weaving\nbob: Back\n")
        assert (await anext(feed)).user == "cy"
        infos = await backend.get_recent(10)
        assert [(info.user, info.since is not None) for info in infos] == [("cy", True), ("bob", True), ("ada", False)]
        assert all(info.since is None or began <= info.since <= datetime.now(UTC) for info in infos)
        assert [info.user for info in await backend.get_recent(10, Recency.of(infos[1]))] == ["ada"]
        assert infos[0] == await backend.get_user("cy")
