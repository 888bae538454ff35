"""Front ends that others bring: found by name, checked by their own type, given a door, and reloaded."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fingertrio.config.config import load_config
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import FRONTENDS, find_frontends, frontend_names, installed_frontends
from fingertrio.frontend import ChecksItself, Door, Frontend, TakesOptions
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.observe.observer import Observer
from fingertrio.server import app
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from tests.helpers import no_accounts
from tests.installed import pretend_installed

# Plug-ins of another package: `shout` listens and can change its options, `tick` does neither.
MODULE = '''
from dataclasses import dataclass, field
from functools import partial

import trio
from pydantic import Field, field_validator

from fingertrio.frontend import SEND_DEADLINE, ListeningSection


class ShoutSection(ListeningSection):
    mark: str = Field("!", description="what ends a shout")


class Shout:
    """Sends all user names to each client."""

    reloadable = frozenset({"mark"})

    def __init__(self, options, door):
        self.serve = door.server(self.handle, refusal=b"enough").serve
        self.service = door.service
        self.mark = options.mark

    async def check(self):
        if self.mark == "broken":
            raise OSError("hoarse")

    def prepare(self, options):
        if options.mark == "?":
            raise ValueError("a shout asks nothing")
        return partial(setattr, self, "mark", options.mark)

    async def handle(self, connection):
        users = await self.service.get_users()
        await connection.send(f"{' '.join(users)}{self.mark}".upper().encode(), SEND_DEADLINE)


def open_shout(options: ShoutSection, door):
    """Names, in capitals."""
    if options.mark == "?":
        raise ValueError("a shout asks nothing")
    return Shout(options, door)


@dataclass(frozen=True)
class TickOptions:
    seconds: float = field(default=1.0, metadata={"description": "between two ticks"})


class Tick:
    def __init__(self, options, door):
        self.door = door

    async def serve(self, stopping, *, task_status):
        self.door.observer.info("tick", listeners=len(self.door.listeners))
        task_status.started(["a clock"])
        await stopping.wait()


def open_tick(options: TickOptions, door):
    """Tells the time."""
    return Tick(options, door)


def open_untyped(options, door): ...


def open_alone(options: TickOptions): ...
'''

CONFIG = """
[backend]
use = "memory"
users = { moshez = "Happy and well" }
[process]
run_as_root = true
"""


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """The package is installed; writes a configuration and gives its path."""
    (tmp_path / "others_doors.py").write_text(MODULE)
    names = {name: f"others_doors:open_{name}" for name in ("shout", "tick", "untyped", "alone")}
    pretend_installed(monkeypatch, tmp_path, FRONTENDS, **names, gone="others_missing:open_gone")
    monkeypatch.delitem(sys.modules, "others_doors", raising=False)
    path = tmp_path / "f.toml"

    def write(text: str) -> Path:
        path.write_text(CONFIG + textwrap.dedent(text))
        return path

    return write


def mistake(path: Path, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ)
    return str(caught.value)


class TestSections:
    def test_of_front_ends_that_are_installed_have_the_options_of_their_own_type(
        self, configure: Callable[[str], Path]
    ) -> None:
        config = load_config(
            configure("""
                [tick]
                seconds = 2
                [shout]
                listen = "127.0.0.1:0"
                [finger]
                listen = "127.0.0.1:0"
            """),
            {"FINGERTRIO_SHOUT__MARK": "."},
        )
        assert list(config.doors) == ["finger", "shout", "tick"]  # ours first
        assert config.doors["tick"].seconds == 2.0
        assert config.doors["shout"].mark == "."
        assert config.doors["shout"].max_connections == 20_000

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("[shuot]", ["[shuot]: unknown section", 'did you mean "shout"?']),
            ("[shout]", ["[shout] listen: is missing"]),
            ('[shout]\nlisten = "127.0.0.1:0"\nmrak = 1', ['[shout] mrak: unknown key; did you mean "mark"?']),
            ("[tick]\nseconds = 'often'", ["[tick] seconds: ", "number"]),
            ("[tick]\nminutes = 1", ["[tick] minutes: unknown key", "seconds"]),
            ("[untyped]", ["[untyped]: others_doors:open_untyped (pretended) is not a front end", "two arguments"]),
            ("[alone]", ["[alone]: others_doors:open_alone (pretended) is not a front end", "two arguments"]),
            ("[gone]", ["[gone]: the gone front end cannot be imported", "others_missing"]),
        ],
    )
    def test_with_mistakes_are_told_like_ours(
        self, configure: Callable[[str], Path], text: str, parts: list[str]
    ) -> None:
        path = configure(text)
        message = mistake(path)
        assert message.startswith(f"{path}: ")
        for part in parts:
            assert part in message

    def test_that_are_no_tables_are_mistakes(self, configure: Callable[[str], Path]) -> None:
        path = configure("")
        path.write_text("tick = 1\n" + path.read_text())
        assert "[tick]: " in mistake(path)

    def test_have_their_mistakes_told_with_all_others(self, configure: Callable[[str], Path]) -> None:
        message = mistake(configure("[tick]\nseconds = 'often'\n[shuot]\n[finger]\nlisten = 1"))
        assert "3 mistakes" in message
        assert ["[tick]" in message, "[shuot]" in message, "[finger]" in message] == [True] * 3

    def test_are_named_where_a_variable_means_none(self, configure: Callable[[str], Path]) -> None:
        assert "SHOUT" in mistake(configure(""), FINGERTRIO_SHUOT__MARK="x")


def test_ours_are_found_like_anybodys() -> None:
    assert {"finger", "setter", "http", "irc", "admin"} <= set(frontend_names())
    for plugin in installed_frontends():
        assert not isinstance(plugin, ConfigError), plugin
        assert plugin.summary()
        for option in plugin.options():
            assert option.description, f"{plugin.name}.{option.name} has no description"


def test_a_front_end_that_is_not_installed_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"^f\.toml: \[shout\]: no such front end; installed are: .*finger"):
        find_frontends(["shout"], "f.toml")


class Program:
    """The whole program over one file, in this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = io.StringIO()
        self.addresses: dict[str, str] = {}

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    async def run(self, stopping: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        def ready(found: Mapping[str, Sequence[str]]) -> None:
            self.addresses = {name: places[0] for name, places in found.items()}
            task_status.started()

        load = partial(load_config, self.path, {})
        observer = Observer(self.log, human=False)
        await app.run(load(), observer, source="f.toml", ready=ready, stopping=stopping, load=load)

    async def connect(self) -> bytes:
        host, _, port = self.addresses["shout"].rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            return b"".join([chunk async for chunk in stream])

    async def reload(self) -> dict[str, Any]:
        """Send SIGHUP; the events that it logs, by name."""
        before = len(self.events())
        os.kill(os.getpid(), signal.SIGHUP)
        with trio.fail_after(5):
            while not any(e["event"] in {"reloaded", "reload_refused"} for e in self.events()[before:]):
                await wait_all_tasks_blocked(0.001)
        return {str(event["event"]): event for event in self.events()[before:]}


Running = Callable[[Path], AbstractAsyncContextManager[Program]]


@pytest.fixture
def running() -> Running:
    @asynccontextmanager
    async def run(path: Path) -> AsyncIterator[Program]:
        program, stopping = Program(path), trio.Event()
        async with trio.open_nursery() as nursery:
            with trio.fail_after(10):
                await nursery.start(program.run, stopping)
            yield program
            stopping.set()

    return run


SHOUT = '[shout]\nlisten = "127.0.0.1:0"\n'


class TestServing:
    async def test_with_a_socket_and_without(self, configure: Callable[[str], Path], running: Running) -> None:
        async with running(configure(SHOUT + "[tick]\n")) as program:
            assert await program.connect() == b"MOSHEZ!"
            assert program.addresses["tick"] == "a clock"
            assert {"event": "tick", "listeners": 0}.items() <= next(
                event.items() for event in program.events() if event["event"] == "tick"
            )

    async def test_within_the_limits_of_its_section_and_of_all(
        self, configure: Callable[[str], Path], running: Running
    ) -> None:
        path = configure(SHOUT + "[limits]\nexempt = []\nqueries = 0.001\nquery_burst = 1\n")
        async with running(path) as program:
            assert [await program.connect() for _ in range(2)] == [b"MOSHEZ!", b"enough"]

    async def test_imported_before_privileges_are_dropped_and_opened_afterwards(
        self, configure: Callable[[str], Path], running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[bool] = []

        def drop(*_: object, **__: object) -> None:
            seen.append("others_doors" in sys.modules)

        monkeypatch.setattr(app, "drop_privileges", drop)
        async with running(configure(SHOUT)):
            assert seen == [True]

    async def test_refused_by_itself_is_a_mistake_in_its_section(
        self, configure: Callable[[str], Path], running: Running
    ) -> None:
        expected = pytest.RaisesExc(ConfigError, match=r"^f\.toml: \[shout\]: a shout asks nothing$")
        with pytest.RaisesGroup(expected, flatten_subgroups=True):
            async with running(configure(SHOUT + 'mark = "?"')):
                pytest.fail("it serves")


class TestReloading:
    async def test_changes_what_it_can_take(self, configure: Callable[[str], Path], running: Running) -> None:
        async with running(configure(SHOUT)) as program:
            configure(SHOUT + 'mark = "."\nmax_connections = 0')
            assert "reload_refused" in await program.reload()  # nothing of a configuration that is broken
            configure(SHOUT + 'mark = "."\nmax_connections = 1')
            logged = await program.reload()
            assert sorted(logged["reloaded"]["changed"]) == ["shout.mark", "shout.max_connections"]
            assert await program.connect() == b"MOSHEZ."

    async def test_refused_by_it_changes_nothing(self, configure: Callable[[str], Path], running: Running) -> None:
        async with running(configure(SHOUT)) as program:
            configure(SHOUT + 'mark = "?"')
            logged = await program.reload()
            assert "asks nothing" in logged["reload_refused"]["reason"]
            assert await program.connect() == b"MOSHEZ!"

    async def test_names_what_needs_a_restart(self, configure: Callable[[str], Path], running: Running) -> None:
        async with running(configure(SHOUT + "[tick]\n")) as program:
            configure('[shout]\nlisten = "127.0.0.2:0"\n[tick]\nseconds = 2\n')
            logged = await program.reload()
            assert sorted(logged["needs_a_restart"]["keys"]) == ["shout.listen", "tick.seconds"]
            configure(SHOUT)
            assert (await program.reload())["needs_a_restart"]["keys"] == ["tick"]


class TestReadiness:
    async def test_asks_each_front_end_that_can_check_itself(
        self, configure: Callable[[str], Path], running: Running
    ) -> None:
        admin = "[tick]\n" + "".join(f'[{name}]\nlisten = "127.0.0.1:0"\n' for name in ("admin", "http", "finger"))
        async with running(configure(SHOUT + admin)) as program, httpx2.AsyncClient() as client:
            readyz = f"{program.addresses['admin']}/readyz"
            assert (await client.get(readyz)).json() == {"ready": True, "degraded": []}
            configure(SHOUT + 'mark = "broken"\n' + admin)
            await program.reload()
            answer = await client.get(readyz)
            [condition] = answer.json()["degraded"]
            assert (answer.status_code, condition["what"], condition["essential"]) == (503, "shout_answers", True)
            assert "hoarse" in condition["reason"]
            configure(SHOUT + admin)
            await program.reload()
            assert (await client.get(readyz)).status_code == 200


async def test_the_contract_is_told_by_attributes() -> None:
    class Serves:
        async def serve(self, stopping: trio.Event, *, task_status: trio.TaskStatus[list[str]]) -> None: ...

    class Takes(Serves):
        reloadable = ("mark",)

        def prepare(self, options: object) -> Callable[[], None]:
            return lambda: None

    class Checks(Serves):
        async def check(self) -> None: ...

    assert isinstance(Serves(), Frontend)
    assert not isinstance(Serves(), ChecksItself)
    assert isinstance(Checks(), ChecksItself)
    assert not isinstance(Serves(), TakesOptions)
    assert isinstance(Takes(), TakesOptions)
    async with FingerService.open(FakeBackend({})) as service:
        door = Door(
            name="x",
            service=service,
            accounts=no_accounts(),
            observer=Observer(),
            listeners=(),
            caps=ConnectionCaps(total=1, per_address=1),
            queries=RateLimiter(rate=1, burst=1),
            writes=RateLimiter(rate=1, burst=1),
        )

        async def handle(_connection: object) -> None: ...

        assert isinstance(door.server(handle), Frontend)
