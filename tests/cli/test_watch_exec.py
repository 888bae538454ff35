"""`fingertrio watch --exec`: a command for each change, also across restarts of both sides."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from fingertrio.backends.memory import MemoryBackend
from fingertrio.cli import watch_exec
from fingertrio.cli.watch import NOT_ASKED, execute, watch_command
from fingertrio.cli.watch_exec import Execution, State, parse_command
from fingertrio.clients.dial import RemoteError
from fingertrio.wire.live import Hello
from tests.frontends.web.kit import serving


async def until(happened: Callable[[], bool]) -> None:
    """Poll in real time: commands are processes."""
    with trio.fail_after(20):
        while not happened():  # noqa: ASYNC110 -- see above
            await trio.sleep(0.005)


class Silent:
    def __init__(self) -> None:
        self.open = trio.Event()

    def opened(self, hello: Hello) -> None:
        self.open.set()

    def lost(self, error: RemoteError) -> None:
        raise AssertionError(error)


class Ran:
    """A command that appends its input to a file, and then does something more."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "ran"
        self.script = directory / "script"
        self.becomes()

    def becomes(self, more: str = "") -> None:
        self.script.write_text(f'#!/bin/sh\ncat >> "{self.path}"\n{more}\n')
        self.script.chmod(0o755)

    def changes(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    async def until(self, count: int) -> list[dict[str, Any]]:
        await until(lambda: len(self.changes()) >= count)
        return self.changes()


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    return Ran(tmp_path)


@asynccontextmanager
async def executing(url: str, ran: Ran, state: State, *users: str) -> AsyncIterator[list[str]]:
    """The feed with the command, until the end of the context; what it reported."""
    notices: list[str] = []
    messages = Silent()
    execution = Execution(url, users, parse_command(str(ran.script)), state, messages, notices.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execution.read)
        await messages.open.wait()
        yield notices
        nursery.cancel_scope.cancel()


async def test_each_change_is_one_command_with_the_change_on_its_input(ran: Ran) -> None:
    backend = MemoryBackend({"ada": "Weaving"})
    async with serving(backend) as site, executing(site.url, ran, State(None)):
        await backend.set_user("ada", "Grüße\nzwei")
        await ran.until(1)
        await backend.set_user("bob", "Out")
        first, second = await ran.until(2)
    assert (first["type"], first["user"], first["status"]) == ("change", "ada", "Grüße\nzwei")
    assert second["user"] == "bob"
    assert first["id"] != second["id"]


async def test_with_a_state_it_goes_on_where_it_was(ran: Ran, tmp_path: Path) -> None:
    backend = MemoryBackend({"ada": "Weaving"})
    async with serving(backend) as site:
        async with executing(site.url, ran, State(tmp_path / "state")):
            await backend.set_user("ada", "one")
            [first] = await ran.until(1)
            await until(lambda: first["id"] in (tmp_path / "state").read_text())
        await backend.set_user("ada", "two")  # nothing runs
        state = State(tmp_path / "state")
        state.load()
        async with executing(site.url, ran, state) as notices:
            assert [change["status"] for change in await ran.until(2)] == ["one", "two"]
    assert notices == []


async def test_what_the_server_no_longer_knows_is_reported_and_not_run(ran: Ran, tmp_path: Path) -> None:
    backend = MemoryBackend({"ada": "Weaving"})
    (tmp_path / "state").write_text("0123456789ab:7\n")  # of another run of the server
    state = State(tmp_path / "state")
    state.load()
    async with serving(backend) as site, executing(site.url, ran, state) as notices:
        await until(lambda: "0123456789ab" not in (tmp_path / "state").read_text())
        await backend.set_user("ada", "new")
        assert [change["status"] for change in await ran.until(1)] == ["new"]
    assert notices == ["changes were missed: the server no longer knows them; going on from now"]


async def test_a_command_that_fails_is_reported_and_stops_nothing(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_exec, "COMMAND_TIMEOUT", 0.2)
    backend = MemoryBackend({"ada": "Weaving"})
    async with serving(backend) as site, executing(site.url, ran, State(None)) as notices:
        for number, more in enumerate(["exit 3", "exec sleep 60", ""], 1):
            ran.becomes(more)
            await backend.set_user("ada", str(number))
            await ran.until(number)
            await until(lambda: len(notices) >= min(number, 2))  # noqa: B023 -- awaited here
    assert notices == [
        f"{ran.script} ended with status 3, for ada",
        f"{ran.script} was ended after 0.2 seconds, for ada",
    ]


async def test_while_a_command_runs_changes_of_one_user_become_one(ran: Ran, tmp_path: Path) -> None:
    backend = MemoryBackend({"ada": "Weaving"})
    go = tmp_path / "go"
    ran.becomes(f'until [ -e "{go}" ]; do sleep 0.01; done')
    async with serving(backend) as site, executing(site.url, ran, State(None)):
        await backend.set_user("ada", "first")
        await ran.until(1)
        for number in range(50):
            await backend.set_user("ada", str(number))
        await backend.set_user("bob", "last")
        go.touch()
        # The feed may send a state twice, so either user can be the last.
        await until(lambda: {"49", "last"} <= {change["status"] for change in ran.changes()})
    found = ran.changes()
    assert [change["status"] for change in found if change["user"] == "ada"][-1] == "49"
    assert len(found) < 10


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--exec", "no-such-program-here"], "there is no program 'no-such-program-here' that can be run"),
        (["--exec", ""], "there is no program '' that can be run"),
        (["--exec", "cat 'x"], "--exec: no closing quotation"),
        (["--exec", "cat", "--once"], "--exec shows nothing"),
        (["--exec", "cat", "--json"], "--exec shows nothing"),
        (["--state", "x"], "--state needs --exec"),
        (["--exec", "cat", "--state", "{directory}/many"], "is not a file of --state"),
        (["--exec", "cat", "a b"], "cannot be a user name"),
    ],
)
def test_wrong_usage(arguments: list[str], reason: str, tmp_path: Path):
    (tmp_path / "many").write_text("some words\n")
    arguments = [each.format(directory=tmp_path) for each in arguments]
    ended = CliRunner().invoke(watch_command, ["--url", "http://127.0.0.1:1", *arguments])
    assert (ended.exit_code, reason in ended.output) == (2, True), ended.output


async def test_a_state_that_cannot_be_kept_ends_it(ran: Ran, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with serving(MemoryBackend({"ada": "Weaving"})) as site:
        with trio.fail_after(20), pytest.raises(SystemExit) as ended:
            await execute(site.url, [], str(ran.script), tmp_path / "missing" / "state")
    assert ended.value.code == NOT_ASKED
    assert "cannot be written: No such file" in capfd.readouterr().err
