"""The layers backend as it is opened, over real backends, held against the contract."""

from __future__ import annotations

import os
import pwd
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import trio

from fingertrio.backend import Backend, BackendError, EmitsChanges
from fingertrio.backends.file import FileOptions, open_file
from fingertrio.backends.layers import Layer, LayersOptions, open_layers
from fingertrio.backends.memory import MemoryOptions, open_memory
from fingertrio.backends.plan import PlanBackend, PlanOptions
from fingertrio.testing import CLAUSES, Clause, FakeReader, check_backend

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
    assert applies or clause.name.startswith("history_")


async def test_the_contract_holds_under_what_cannot_be_set(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("alice: In the garden\n")
    file = Layer(name="layer 1 (file)", open=open_file, options=FileOptions(path=path))
    checked = await check_backend(over(file, memory(MOSHEZ)), known=MOSHEZ | ALICE)
    assert {"what_is_set_is_answered", "a_set_is_told", "until_ends_a_status"} <= set(checked)


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
    """Statuses that are set over everybody's ~/.plan."""

    @pytest.fixture
    def pubnix(self, tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[Backend]]:
        for user, plan in {"moshez": "Gone fishing.\n", "alice": None}.items():
            (tmp_path / user).mkdir()
            if plan is not None:
                (tmp_path / user / ".plan").write_text(plan)

        @asynccontextmanager
        async def open_plan(options: PlanOptions) -> AsyncIterator[Backend]:
            yield PlanBackend(options, Passwords(tmp_path))

        plans = Layer(name="layer 2 (plan)", open=open_plan, options=PlanOptions(min_uid=0, max_uid=2**32))
        return over(memory({}), plans)

    async def test_keeps_the_contract(self, pubnix: Callable[[], AbstractAsyncContextManager[Backend]]) -> None:
        checked = await check_backend(pubnix, known={"moshez": "Gone fishing.", "alice": "No Plan."})
        assert {"what_is_set_is_answered", "the_list_is_of_the_users"} <= set(checked)

    async def test_shows_the_plan_until_a_status_is_set(
        self, pubnix: Callable[[], AbstractAsyncContextManager[Any]]
    ) -> None:
        async with pubnix() as backend:
            assert not isinstance(backend, EmitsChanges)  # of a plan nothing is told, so the service must ask again
            assert (await backend.get_user("moshez")).status == "Gone fishing."
            await backend.set_user("moshez", "Back")
            assert (await backend.get_user("moshez")).status == "Back"
            assert list(await backend.get_users()) == ["moshez", "alice"]


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

    async def test_what_a_backend_does_not_foresee_is_not_disguised(self) -> None:
        with pytest.raises(LookupError):
            async with over(self.failing(LookupError("a mistake")))():
                pytest.fail("opened")

    async def test_layers_are_closed_in_the_reverse_order_also_those_over_one_that_cannot_start(self) -> None:
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
