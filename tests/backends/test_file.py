from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fingertrio.backend import Change, SetsStatus, UserInfo
from fingertrio.backends import file as file_module
from fingertrio.backends.file import SIZE_LIMIT, FileBackend, FileOptions, Problem, open_file, parse_users
from fingertrio.names import is_user_name
from fingertrio.testing import CLAUSES, Clause, check_backend

USERS = {"moshez": "Happy and well", "alice": "In the garden"}
LINES = "moshez: Happy and well\nalice: In the garden\n"

# The promise of the backend, and what every wait here is held to.
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
    """Everything but time: for tests of what is noticed, where when is another test's affair."""
    for name in ("_LOOK", "_REST", "_PATIENCE"):
        monkeypatch.setattr(file_module, name, getattr(file_module, name) / 10)


class Calls:
    """How often the file was looked at and read."""

    def __init__(self) -> None:
        self.count = Counter[str]()

    async def more(self, name: str, number: int) -> None:
        """Wait for `number` calls that begin after now."""
        enough = self.count[name] + number
        with trio.fail_after(A_SECOND):
            while self.count[name] < enough:  # noqa: ASYNC110 -- a thread that counts sets no event
                await trio.sleep(0.01)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()

    def counted(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            calls.count[name] += 1
            return function(*args)

        return call

    for name in ("_look", "_read"):
        monkeypatch.setattr(file_module, name, counted(name, getattr(file_module, name)))
    return calls


def write(path: Path, text: str) -> None:
    path.write_text(text)


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


async def said_within_a_second(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Wait for the log, which is where the backend tells that it noticed what changes no answer."""
    with trio.fail_after(A_SECOND):
        while text not in caplog.text:  # noqa: ASYNC110 -- a log sets no event
            await trio.sleep(0.01)


# What a line says


@pytest.mark.parametrize(
    ("data", "users"),
    [
        (b"", {}),
        (b"moshez: Happy and well", {"moshez": "Happy and well"}),
        (b"moshez: Happy and well\r\nalice:In the garden\r\n", USERS),
        (b"  moshez\t :\t Happy and well  \n", {"moshez": "Happy and well"}),
        (b"# comment\n   # another: one\n\n \t\nalice: In the garden\n", {"alice": "In the garden"}),
        (b"moshez: at: the: pub\n", {"moshez": "at: the: pub"}),
        (b"moshez: number # 1\n", {"moshez": "number # 1"}),
        (b"\xef\xbb\xbfmoshez: Happy and well\n", {"moshez": "Happy and well"}),
        ("張三: 眠い 🌈\n".encode(), {"張三": "眠い 🌈"}),
        (b"moshez: \x1b[31mred\x07\n", {"moshez": "[31mred"}),
        (b"moshez: old Mac\rline\n", {"moshez": "old Mac line"}),
    ],
)
def test_lines_are_read(data: bytes, users: dict[str, str]) -> None:
    assert parse_users(data) == (users, [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"moshez", "there is no colon"),
        (b": Happy", "the user name is empty"),
        (b"-l: Happy", "a user name is made of"),
        (b"a b: Happy", "a user name is made of"),
        (b"x" * 65 + b": Happy", "longer than 64"),
        ("m\u043eshez: Happy".encode(), "different scripts"),
        (b"moshez:", "the status is empty"),
        (b"moshez: \x07", "the status is empty"),
        (b"moshez: caf\xe9", "not UTF-8"),
        (b"\xff\xfem\x00", "not UTF-8"),
    ],
)
def test_a_bad_line_is_skipped_and_told_by_its_number(line: bytes, reason: str) -> None:
    users, (problem,) = parse_users(b"# first\n" + line + b"\nalice: In the garden\n")
    assert users == {"alice": "In the garden"}
    assert problem.line == 2
    assert reason in problem.reason


def test_of_several_lines_for_one_user_the_last_counts_and_stands_in_its_place() -> None:
    users, problems = parse_users(b"moshez: one\nalice: In the garden\nmoshez: two\nmoshez: three\n")
    assert list(users.items()) == [("alice", "In the garden"), ("moshez", "three")]
    assert problems == [
        Problem(3, "moshez was in line 1 already; this line counts"),
        Problem(4, "moshez was in line 3 already; this line counts"),
    ]


@given(st.binary() | st.text("ab:#\n\r\t é", max_size=60).map(str.encode))
def test_any_bytes_are_users_and_problems_and_never_an_error(data: bytes) -> None:
    users, problems = parse_users(data)
    assert all(is_user_name(user) and status.strip() == status != "" for user, status in users.items())
    assert all(1 <= problem.line <= data.count(b"\n") + 1 for problem in problems)


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


MUST_APPLY = {"known_users_are_answered", "the_list_is_of_the_users", "what_others_change_is_told", "nothing_is_left"}


async def test_answers_have_no_since_and_nothing_can_be_set(path: Path) -> None:
    async with opened(path) as backend:
        assert await backend.get_user("moshez") == UserInfo("moshez", "Happy and well")
        assert await backend.get_users() == ["moshez", "alice"]
        assert not isinstance(backend, SetsStatus)


# Ways to change a file. Each leaves moshez sad and alice as she was.

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
async def test_a_change_is_told_within_a_second_however_it_is_made(
    path: Path, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path) as backend, backend.changes() as feed:
        change(path)
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change("moshez")
        assert await status_of(backend, "moshez") == "Sad"
        assert await status_of(backend, "alice") == "In the garden"
    assert "stale" not in caplog.text


async def test_a_second_change_is_told_like_the_first(path: Path, hurried: None) -> None:
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


async def test_a_change_that_no_time_of_the_file_shows_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system whose times are coarse, where a second change of the same size looks like the first."""
    monkeypatch.setattr(file_module, "_state_of", lambda status: (0, 0, status.st_size, 0, 0))
    async with opened(path) as backend, backend.changes() as feed:
        write(path, LINES.replace("Happy and well", "Happy and sad!"))
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change("moshez")


async def test_a_file_at_rest_is_looked_at_and_not_read(
    path: Path, hurried: None, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "_COARSEST_TIME", 0.0)
    async with opened(path):
        await calls.more("_look", 5)
    assert calls.count["_read"] == 1


# What is told


async def test_only_those_whose_line_changed_are_told(path: Path, hurried: None) -> None:
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


async def test_another_order_of_the_list_is_told_too(path: Path, hurried: None) -> None:
    async with opened(path) as backend, backend.changes() as feed:
        write(path, "alice: In the garden\nmoshez: Happy and well\n")
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change(None)
        assert await backend.get_users() == ["alice", "moshez"]


async def test_many_changes_are_told_as_one(path: Path, hurried: None) -> None:
    async with opened(path) as backend, backend.changes() as feed:
        write(path, "".join(f"user{number}: Hello\n" for number in range(5000)))
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change(None)
        assert len(await backend.get_users()) == 5000


# What is half written


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
    moved: list[bool] = []

    def read_moving(*args: object) -> object:
        reading = read(*args)  # type: ignore[arg-type]
        if not moved and isinstance(reading, file_module._Reading):
            reading = replace(reading, moved=True)
        moved.append(True)
        return reading

    async with opened(path) as backend, backend.changes() as feed:
        monkeypatch.setattr(file_module, "_read", read_moving)
        rewrite_in_place(path)
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change("moshez")
        assert len(moved) >= 2


# What cannot be read


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
        assert record.getMessage() == f"{path}: No such file or directory; nobody is known until it can be read"
        make_parent(path)
        write(path, LINES)
        with trio.fail_after(A_SECOND):
            assert {(await anext(feed)).user for _ in range(2)} == {"moshez", "alice"}
        assert len(caplog.records) == 2
        assert "it can be read again" in caplog.text


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


def make_huge(path: Path) -> None:
    os.truncate(path, SIZE_LIMIT + 1)


def remove_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("gone"))


def put_file_for_directory(path: Path) -> None:
    remove_directory(path)
    path.parent.write_text("no directory")


def repair(path: Path) -> None:
    if path.parent.exists():
        path.parent.rename(path.parent.with_name("spoilt"))
    path.parent.mkdir()
    path.write_text(SAD)


WAYS_TO_SPOIL = [
    (Path.unlink, "No such file or directory"),
    (remove_directory, "No such file or directory"),
    (put_file_for_directory, "Not a directory"),
    (make_directory, "no regular file"),
    (make_fifo, "no regular file"),
    (make_device, "no regular file"),
    (make_loop, "symbolic links"),
    (make_huge, "larger than 16777216 bytes"),
]


@pytest.mark.parametrize(("spoil", "reason"), WAYS_TO_SPOIL)
async def test_while_it_cannot_be_read_what_it_said_last_is_served_and_that_is_said_once(
    path: Path,
    hurried: None,
    calls: Calls,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
    reason: str,
) -> None:
    async with opened(path) as backend, backend.changes() as feed:
        assert backend.stale_since() is None
        spoil(path)
        await said_within_a_second(caplog, "stale")
        assert backend.stale_since() is not None
        assert reason in caplog.text
        await calls.more("_look", 5)
        assert await status_of(backend, "moshez") == "Happy and well"
        repair(path)
        with trio.fail_after(A_SECOND):
            assert await anext(feed) == Change("moshez")
        assert backend.stale_since() is None
        assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
        assert "it can be read again" in caplog.records[1].getMessage()


@pytest.mark.parametrize(("spoil", "reason"), WAYS_TO_SPOIL)
async def test_what_cannot_be_read_at_start_is_a_warning(
    path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(path)
    with trio.fail_after(A_SECOND):  # a FIFO would block who opens it
        async with opened(path) as backend:
            assert await backend.get_user("moshez") is None
            assert backend.stale_since() is None, "nobody is known, so nothing is out of date"
    (record,) = caplog.records
    assert reason in record.getMessage()


async def test_a_file_that_may_not_be_opened_is_tried_again(
    path: Path, hurried: None, calls: Calls, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions do not bind root, as whom tests may run: the refusal is put in where the system would refuse."""
    allowed = True
    open_descriptor = os.open

    def guarded(*args: object, **kwargs: object) -> int:
        if args[0] == path and not allowed:
            raise PermissionError(13, "Permission denied")
        return open_descriptor(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", guarded)
    async with opened(path) as backend, backend.changes() as feed:
        allowed = False
        rewrite_in_place(path)
        await said_within_a_second(caplog, "Permission denied")
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
        await said_within_a_second(caplog, "stale")
        path.parent.with_name("gone").rename(path.parent)
        await said_within_a_second(caplog, "it can be read again")


async def test_a_file_that_grows_past_the_limit_while_it_is_read_is_not_read_on(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_module, "_state_of", lambda _status: (0, 0, 0, 0, 0))
    monkeypatch.setattr(file_module, "SIZE_LIMIT", len(LINES) - 1)
    async with opened(path) as backend:
        assert await backend.get_users() == []
    assert "larger than" in caplog.text


async def test_deleting_for_a_moment_is_not_worth_a_word(path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
        await calls.more("_read", 3)  # as it is, until its times are certain
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


async def test_what_is_no_users_file_does_not_flood_the_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(path, "nonsense\n" * 1000)
    async with opened(path):
        assert len(caplog.records) == 21
        assert caplog.records[-1].getMessage() == f"{path}: 980 more lines are bad"


# The thread


@pytest.mark.parametrize("stuck", ["_look", "_read"])
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
