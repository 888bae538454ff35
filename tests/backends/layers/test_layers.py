"""The layers backend over real backends, checked against the contract."""

from __future__ import annotations

import os
import pwd
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from fingertrio.backend import Backend, BackendError, EmitsChanges
from fingertrio.backends.file import FileOptions, open_file
from fingertrio.backends.layers import Layer, LayersOptions, open_layers
from fingertrio.backends.memory import MemoryOptions, open_memory
from fingertrio.backends.plan import PlanBackend, PlanOptions
from fingertrio.backends.sqlite import SQLiteOptions, open_sqlite
from fingertrio.clients.finger import finger
from fingertrio.clients.setter import set_status
from fingertrio.config.config import load_config
from fingertrio.observe.observer import Observer
from fingertrio.server.app import run
from fingertrio.testing import CLAUSES, Clause, FakeReader, check_backend
from fingertrio.wire.finger import Query

MOSHEZ = {"moshez": "Happy and well"}
ALICE = {"alice": "In the garden"}


def memory(users: dict[str, str]) -> Layer:
    return Layer(name="layer 1 (memory)", open=open_memory, options=MemoryOptions(users=users))


def over(*layers: Layer) -> Callable[[], AbstractAsyncContextManager[Backend]]:
    return lambda: open_layers(LayersOptions(layers=layers))


@pytest.mark.parametrize("clause", CLAUSES, ids=str)
async def test_the_contract_holds_over_a_file_that_others_write(tmp_path: Path, clause: Clause) -> None:
    path = tmp_path / "users"
    path.write_text("alice: In the garden\n")

    async def alter(user: str, status: str) -> None:
        (tmp_path / "new").write_text(f"alice: In the garden\n{user}: {status}\n")
        (tmp_path / "new").replace(path)

    file = Layer(name="layer 2 (file)", open=open_file, options=FileOptions(path=path))
    applies = await check_backend(over(memory(MOSHEZ), file), known=MOSHEZ | ALICE, alter=alter, clauses=[clause])
    assert applies or clause.name.startswith(("history_", "clearing_", "a_cleared_"))


async def test_the_contract_holds_under_what_cannot_be_set(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("alice: In the garden\n")
    file = Layer(name="layer 1 (file)", open=open_file, options=FileOptions(path=path))
    checked = await check_backend(over(file, memory(MOSHEZ)), known=MOSHEZ | ALICE)
    assert {"what_is_set_is_answered", "a_set_is_told", "until_ends_a_status"} <= set(checked)


async def test_the_contract_holds_where_a_layer_falls_through(tmp_path: Path) -> None:
    path = tmp_path / "statuses.db"
    sqlite = Layer(name="layer 1 (sqlite)", open=open_sqlite, options=SQLiteOptions(path=path), falls_through=True)
    checked = await check_backend(over(sqlite, memory(ALICE)), known=ALICE)
    assert {"what_is_set_is_answered", "until_ends_a_status"} <= set(checked)


async def test_the_contract_holds_under_a_layer_that_always_fails() -> None:
    @asynccontextmanager
    async def open_failing(_options: object) -> AsyncIterator[Backend]:
        backend = FakeReader({})
        backend.failure = BackendError("Gone fishing")
        yield backend

    failing = Layer(name="layer 1 (failing)", open=open_failing, options=None, skip_after=1.0)
    checked = await check_backend(over(failing, memory(MOSHEZ)), known=MOSHEZ)
    assert {"what_is_set_is_answered", "the_list_is_of_the_users"} <= set(checked)
    assert "a_set_is_told" not in checked


class Passwords:
    """A password database of users whose homes are in one directory."""

    def __init__(self, homes: Path) -> None:
        self._homes = homes

    def find(self, user: str) -> pwd.struct_passwd | None:
        uid = os.getuid()
        home = self._homes / user
        return pwd.struct_passwd((user, "x", uid, uid, user.title(), str(home), "/bin/sh")) if home.exists() else None

    def names(self) -> Iterable[str]:
        return sorted(home.name for home in self._homes.iterdir())


class TestPubnix:
    """Statuses in a database, over the users' ~/.plan files."""

    @pytest.fixture
    def pubnix(self, tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[Backend]]:
        homes = tmp_path / "home"
        for user, plan in {"moshez": "Gone fishing.\n", "alice": None}.items():
            (homes / user).mkdir(parents=True)
            if plan is not None:
                (homes / user / ".plan").write_text(plan)

        @asynccontextmanager
        async def open_plan(options: PlanOptions) -> AsyncIterator[Backend]:
            yield PlanBackend(options, Passwords(homes))

        sqlite = Layer(name="layer 1 (sqlite)", open=open_sqlite, options=SQLiteOptions(path=tmp_path / "f.db"))
        plans = Layer(
            name="layer 2 (plan)", open=open_plan, options=PlanOptions(min_uid=0, max_uid=2**32, unknown_delay=0)
        )
        return over(sqlite, plans)

    async def test_keeps_the_contract(self, pubnix: Callable[[], AbstractAsyncContextManager[Backend]]) -> None:
        checked = await check_backend(pubnix, known={"moshez": "Gone fishing.", "alice": "No Plan."})
        assert {"what_is_set_is_answered", "the_list_is_of_the_users", "history_goes_back"} <= set(checked)

    async def test_shows_the_plan_until_a_status_is_set(
        self, pubnix: Callable[[], AbstractAsyncContextManager[Any]]
    ) -> None:
        async with pubnix() as backend:
            assert not isinstance(backend, EmitsChanges)  # plans emit no changes, so the service must ask again
            assert (await backend.get_user("moshez")).status == "Gone fishing."
            await backend.set_user("moshez", "Back")
            assert (await backend.get_user("moshez")).status == "Back"
            assert list(await backend.get_users()) == ["moshez", "alice"]
            assert [info.status for info in await backend.get_history("moshez", 10)] == ["Back"]
            assert await backend.get_history("alice", 10) == []  # "No Plan." has no known beginning


class TestOpening:
    @staticmethod
    def failing(error: Exception, *, in_nursery: bool = False) -> Layer:
        def fail() -> None:
            raise error

        @asynccontextmanager
        async def open_failing(_options: object) -> AsyncIterator[Backend]:
            async with trio.open_nursery() if in_nursery else nullcontext():
                fail()
            yield FakeReader({})

        return Layer(name="layer 2 (failing)", open=open_failing, options=None, skip_after=1.0)

    @pytest.mark.parametrize("error", [ValueError("no"), OSError("no"), BackendError("no")])
    @pytest.mark.parametrize("in_nursery", [False, True])
    async def test_a_layer_that_cannot_start_is_named(self, error: Exception, in_nursery: bool) -> None:
        told = pytest.RaisesExc(ValueError, match=r"^layer 2 \(failing\): no$")
        with pytest.RaisesGroup(told, flatten_subgroups=True):
            async with over(memory({}), self.failing(error, in_nursery=in_nursery))():
                pytest.fail("opened")

    async def test_an_unexpected_exception_of_a_backend_goes_through(self) -> None:
        with pytest.raises(LookupError):
            async with over(self.failing(LookupError("a mistake")))():
                pytest.fail("opened")

    async def test_layers_are_closed_in_reverse_order_also_if_a_later_one_cannot_start(self) -> None:
        seen: list[str] = []

        def noting(name: str) -> Layer:
            @asynccontextmanager
            async def open_noting(_options: object) -> AsyncIterator[Backend]:
                seen.append(f"open {name}")
                try:
                    yield FakeReader({})
                finally:
                    seen.append(f"close {name}")

            return Layer(name=name, open=open_noting, options=None)

        async with over(noting("a"), noting("b"))():
            pass
        assert seen == ["open a", "open b", "close b", "close a"]
        seen.clear()
        with pytest.raises(ValueError, match="layer 2"):
            async with over(noting("a"), self.failing(ValueError("no")))():
                pytest.fail("opened")
        assert seen == ["open a", "close a"]


async def test_the_whole_program_over_layers(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("alice: In the garden\n")
    (tmp_path / "f.toml").write_text(f"""
        [backend]
        use = "layers"
        [[backend.layers]]
        use = "sqlite"
        path = "{tmp_path}/f.db"
        [[backend.layers]]
        use = "file"
        path = "{tmp_path}/users"
        on_failure = "skip"
        [finger]
        listen = "127.0.0.1:0"
        [setter]
        listen = "127.0.0.1:0"
        [process]
        run_as_root = true
    """)
    opened, stopping = trio.Event(), trio.Event()
    places: dict[str, tuple[str, int]] = {}

    def ready(addresses: Mapping[str, Sequence[str]]) -> None:
        for door, (address,) in addresses.items():
            host, _, port = address.rpartition(":")
            places[door] = host, int(port)
        opened.set()

    async def ask(user: str) -> bytes:
        return await finger(Query(user), *places["finger"], timeout=5)

    async with trio.open_nursery() as nursery:
        config = load_config(tmp_path / "f.toml", {})
        nursery.start_soon(partial(run, config, Observer(), ready=ready, stopping=stopping))
        with trio.fail_after(10):
            await opened.wait()
        assert await ask("alice") == b"In the garden\r\n"
        await set_status("alice", "Inside", host=places["setter"][0], port=places["setter"][1], path="")
        assert await ask("alice") == b"Inside\r\n"
        assert (await ask("")).endswith(b"alice  Inside\r\n")
        stopping.set()
