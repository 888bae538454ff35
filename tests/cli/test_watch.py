"""`fingertrio watch`: what it shows, unit by unit, and the real program in a pipe and on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from fingertrio.backend import Change
from fingertrio.backends.memory import MemoryBackend
from fingertrio.cli.commands import cli
from fingertrio.cli.watch import Watcher
from fingertrio.cli.watch_output import JSONLines, Lines
from fingertrio.clients.live import ClosedError, open_live
from fingertrio.testing.program import running
from fingertrio.wire.live import (
    Alive,
    Changed,
    Event,
    LiveUser,
    Present,
    Removed,
    SnapshotBegins,
    SnapshotEnds,
    Unavailable,
)
from tests.frontends.web.kit import USERS, serving

ADA = LiveUser("ada", "Weaving")
GRACE = LiveUser("grace", "Looking for a bug")
NOW = datetime.now(UTC)


class RecordingShow:
    """Records what it should show."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def user(self, info: LiveUser, at: str | None) -> None:
        self.calls.append((info, at))

    def gone(self, user: str, at: str | None) -> None:
        self.calls.append((user, at, "gone"))

    def missing(self, user: str) -> None:
        self.calls.append((user, "missing"))

    def unavailable(self, user: str) -> None:
        self.calls.append(user)

    def take(self) -> list[object]:
        calls, self.calls = self.calls, []
        return calls


def snapshot(*events: Event) -> list[Event]:
    return [SnapshotBegins(), *events, SnapshotEnds("e:1")]


def test_a_snapshot_is_shown_and_then_changes():
    shown = RecordingShow()
    watcher = Watcher(shown, ())
    whole = [watcher.take(event) for event in snapshot(Present(ADA), Unavailable("x"))]
    assert whole == [False, False, False, True]
    assert shown.take() == [(ADA, None), "x"]
    assert watcher.take(Changed("e:2", GRACE))
    assert watcher.take(Alive("e:2"))
    assert watcher.take(Removed("e:3", "ada"))
    assert shown.take() == [(GRACE, "e:2"), ("ada", "e:3", "gone")]


def test_a_second_snapshot_shows_only_the_differences():
    shown = RecordingShow()
    watcher = Watcher(shown, ())
    idle = LiveUser("ada", "Dreaming")
    for event in [*snapshot(Present(ADA), Present(GRACE)), Changed("e:2", LiveUser("linus", "Away"))]:
        watcher.take(event)
    shown.take()
    for event in snapshot(Present(idle), Present(GRACE)):
        watcher.take(event)
    assert shown.take() == [(idle, None), ("linus", None, "gone")]
    for event in snapshot(Present(idle), Present(GRACE)):
        watcher.take(event)
    assert shown.take() == []


def test_a_named_user_that_does_not_exist_is_reported_once():
    shown = RecordingShow()
    watcher = Watcher(shown, ("ada", "nobody"))
    for _ in range(2):
        for event in snapshot(Present(ADA)):
            watcher.take(event)
    assert shown.take() == [(ADA, None), ("nobody", "missing")]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """What was printed, on a terminal of 40 columns."""
    monkeypatch.setenv("COLUMNS", "40")

    def printed() -> list[str]:
        return capsys.readouterr().out.splitlines()

    return printed


@pytest.mark.parametrize(
    ("info", "line"),
    [
        (ADA, "            ada           Weaving"),
        (LiveUser("ada", "Weaving", since=NOW), f"  {NOW.astimezone():%H:%M:%S}  ada           Weaving"),
        (LiveUser("ada", "x", since=datetime(2020, 2, 3, 12, tzinfo=UTC)), "2020-02-03  ada           x"),
        (LiveUser("ada", "Weaving patterns"), "            ada           Weaving patte…"),
        (LiveUser("ada", "眠い眠い眠い眠い"), "            ada           眠い眠い眠い…"),
        (LiveUser("張三", "x"), "            張三          x"),
        (LiveUser("a-long-login-name", "Weaving"), "            a-long-login-name  Weaving"),
        (LiveUser("ada", "\n\nTwo\nlines"), "            ada           Two (+3 lines)"),
        (LiveUser("ada", "a\tb\x1b[2J"), "            ada           a b"),
        (LiveUser("ada", ""), "            ada           "),
    ],
    ids=["plain", "today", "old", "cut", "wide", "wide name", "long name", "lines", "controls", "empty"],
)
def test_a_status_is_one_line_that_fits(info: LiveUser, line: str, lines: Callable[[], list[str]]):
    Lines().user(info, None)
    assert lines() == [line]


def test_the_other_events_are_one_line_too(lines: Callable[[], list[str]]):
    Lines().user(LiveUser("ada", "Out", until=datetime(2040, 2, 3, 12, tzinfo=UTC)), None)
    Lines().missing("ada")
    Lines().gone("ada", "e:1")
    Lines().unavailable("ada")
    first, second, third, fourth = lines()
    assert first.endswith("ada           Out (until 2040-02-03)")
    assert second == "            ada           no such user"
    assert re.fullmatch(r"  \d\d:\d\d:\d\d  ada           is gone", third)
    assert fourth.endswith("cannot be read now")


def test_json_lines_have_every_field(lines: Callable[[], list[str]]):
    info = LiveUser("ada", 'a\n"b"', "Ada L", NOW, NOW + timedelta(hours=1), {"project": "眠い"})
    show = JSONLines()
    show.user(info, None)
    show.user(ADA, "e:1")
    show.gone("ada", "e:2")
    show.unavailable("ada")
    first, *rest = map(json.loads, lines())
    assert first == {
        "type": "user",
        "user": "ada",
        "status": 'a\n"b"',
        "emoji": None,
        "line": "a",
        "name": "Ada L",
        "since": NOW.isoformat().replace("+00:00", "Z"),
        "until": (NOW + timedelta(hours=1)).isoformat().replace("+00:00", "Z"),
        "details": {"project": "眠い"},
    }
    assert [(line["type"], line.get("id")) for line in rest] == [("change", "e:1"), ("change", "e:2"), ("user", None)]
    assert [line for line in rest if line.get("removed") or line.get("unavailable")] == rest[1:]


class WatchCommand:
    """The command as a process of its own."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._buffers = {process.stdout: b"", process.stderr: b""}

    async def line(self, stream: trio.abc.ReceiveStream | None = None) -> str:
        stream = stream or self.process.stdout
        assert stream is not None
        with trio.fail_after(20):
            while b"\n" not in self._buffers[stream]:
                data = await stream.receive_some()
                assert data, "it ended"
                self._buffers[stream] += data
        line, _, self._buffers[stream] = self._buffers[stream].partition(b"\n")
        return line.decode()

    async def json(self) -> dict[str, Any]:
        found = json.loads(await self.line())
        assert isinstance(found, dict)
        return found

    async def notice(self) -> str:
        """The next line of standard error."""
        return await self.line(self.process.stderr)

    async def no_more_notices(self) -> bool:
        """Whether standard error has ended without another byte."""
        assert self.process.stderr is not None
        return await self.process.stderr.receive_some() == b""

    async def ended(self) -> int:
        with trio.fail_after(20):
            return await self.process.wait()


@asynccontextmanager
async def watch_command(*arguments: str, **options: Any) -> AsyncIterator[WatchCommand]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    command = [sys.executable, "-m", "fingertrio", "watch", *arguments]
    process = await trio.lowlevel.open_process(command, **pipes)
    try:
        yield WatchCommand(process)
    finally:
        if process.poll() is None:
            process.kill()
        await process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                await stream.aclose()


async def test_in_a_pipe_it_writes_json_lines_until_it_is_interrupted():
    backend = MemoryBackend(USERS)
    async with serving(backend) as site, watch_command("--url", site.url) as program:
        assert [(await program.json())["user"] for _ in USERS] == list(USERS)
        await backend.set_user("moshez", "In the garden")
        change = await program.json()
        assert (change["type"], change["status"]) == ("change", "In the garden")
        program.process.send_signal(signal.SIGINT)
        assert await program.ended() == 130
        assert await program.no_more_notices()
        await site.empty()


async def test_it_reconnects_after_breaks_and_shows_nothing_twice():
    backend = MemoryBackend(USERS)
    async with AsyncExitStack() as stack:
        async with serving(backend) as site:
            program = await stack.enter_async_context(watch_command("--url", site.url, "moshez", "shawn"))
            for _ in USERS:
                await program.json()
        assert "closed with 1001: the server stops; trying again" in await program.notice()
        await backend.set_user("moshez", "In the garden")
        async with serving(backend, at=site.url.removeprefix("http://")):
            assert await program.notice() == f"fingertrio: {site.url}: connected again"
            record = await program.json()
            assert (record["type"], record["status"]) == ("user", "In the garden")
            backend._hub.emit(Change(None))
            await backend.set_user("ada", "Weaving")
            await backend.set_user("shawn", "Away")
            assert (await program.json())["status"] == "Away"


async def test_it_ends_when_the_reader_is_gone_even_with_nothing_to_write():
    async with serving() as site, watch_command("--url", site.url) as program:
        for _ in USERS:
            await program.json()
        assert program.process.stdout is not None
        await program.process.stdout.aclose()
        assert await program.ended() == 0
        assert await program.no_more_notices()


async def test_it_ends_when_it_finds_that_out_by_writing():
    backend = MemoryBackend({f"user{number}": "x" * 1000 for number in range(500)})
    async with serving(backend) as site, watch_command("--url", site.url) as program:
        await program.json()
        assert program.process.stdout is not None
        await program.process.stdout.aclose()
        assert await program.ended() == 0
        assert await program.no_more_notices()


async def test_once_is_once():
    async with serving() as site, AsyncExitStack() as stack:
        for arguments, shown, status in [((), ["moshez", "shawn"], 0), (("shawn", "nobody"), ["shawn", "nobody"], 1)]:
            program = await stack.enter_async_context(watch_command("--url", site.url, "--once", *arguments))
            assert [(await program.json())["user"] for _ in shown] == shown
            assert await program.ended() == status


async def test_where_there_is_nothing_to_watch_it_says_so():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with watch_command("--url", f"http://127.0.0.1:{taken.getsockname()[1]}", "--once") as program:
            assert await program.notice() == "fingertrio: 127.0.0.1: Connection refused"
            assert await program.ended() == 3
    async with serving() as site, watch_command("--url", f"{site.url}/elsewhere") as program:
        assert await program.notice() == "fingertrio: 127.0.0.1: HTTP status 404"
        assert await program.ended() == 3


@pytest.mark.parametrize("arguments", [["--url", "ftp://x"], ["--", "-l"], ["\x1b[2J"]])
def test_wrong_usage(arguments: list[str]):
    result = CliRunner().invoke(cli, ["watch", *arguments])
    assert result.exit_code == 2
    assert "Error: " in result.output
    assert "\x1b" not in result.output


async def test_on_a_terminal_each_change_is_one_line_in_colours_and_nothing_steers_it():
    backend = MemoryBackend({"張三": "眠い" * 100, "ada": "\x1b[2J\x9b5n" + "x" * 100})
    near, far = pty.openpty()
    try:
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        async with serving(backend) as site, watch_command("--url", site.url, stdout=far, stderr=far) as program:
            os.close(far)
            terminal = trio.lowlevel.FdStream(near)
            seen = b""
            with trio.fail_after(20):
                while seen.count(b"\n") < 2:
                    seen += await terminal.receive_some()
                await backend.set_user("ada", "In the garden")
                while seen.count(b"\n") < 3:
                    seen += await terminal.receive_some()
            program.process.send_signal(signal.SIGINT)
            assert await program.ended() == 130
            await terminal.aclose()
    except BaseException:
        os.close(near)
        raise
    text = seen.decode()
    plain = re.sub(r"\x1b\[[0-9]*m", "", text)
    assert text != plain
    assert "\x1b" not in plain
    assert "\x9b" not in plain
    first, second, third = plain.splitlines()
    assert first.startswith("            張三          眠い眠い")
    assert second.startswith("            ada           xxx")
    assert re.fullmatch(r"  \d\d:\d\d:\d\d  ada           In the garden", third)
    assert [first[-1], second[-1], len(second)] == ["…", "…", 60]


async def test_a_program_that_is_stopped_tells_its_watchers_and_waits_for_none():
    with running({"backend": {"use": "memory", "users": USERS}, "http": {"listen": ["127.0.0.1:0"]}}) as origin:
        async with open_live(origin.addresses["http"]) as feed:
            while not isinstance(await anext(feed), SnapshotEnds):
                pass
            begun = time.monotonic()
            origin.signal(signal.SIGTERM)
            with pytest.raises(ClosedError) as closed:
                await anext(feed)
            assert closed.value.code == 1001
        assert await trio.to_thread.run_sync(origin.wait, 20) == 0
        assert time.monotonic() - begun < 4.5  # the grace period is 5 seconds
