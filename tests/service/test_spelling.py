"""Names that differ by case alone are one user, where this server keeps the statuses."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from fingertrio.backends.memory import MemoryBackend
from fingertrio.service import FingerService, ServicePolicy
from fingertrio.testing import FakeBackend, FakeReader
from tests.helpers import ANYONE


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_a_question_finds_the_user_whatever_its_case():
    async with FingerService.open(MemoryBackend({"Ada": "Weaving", "zo\u00eb": "Out"})) as service:
        for name in ("Ada", "ada", "ADA"):
            info = await service.get_user(name)
            assert info is not None
            assert (info.user, info.status) == ("Ada", "Weaving")
        info = await service.get_user("ZO\u00cb")
        assert info is not None
        assert info.user == "zo\u00eb"
        assert await service.get_user("adam") is None


async def test_a_change_is_seen_under_every_spelling():
    async with FingerService.open(MemoryBackend({"ada": "Weaving"})) as service:
        answer = await service.ask_user("ADA")
        await service.set_user("ada", "Out", writer=ANYONE)
        assert answer.expires < trio.current_time()
        for name in ("ada", "ADA"):
            info = await service.get_user(name)
            assert info is not None
            assert info.status == "Out"


async def test_a_user_who_comes_later_is_found_under_every_spelling():
    backend = MemoryBackend({})
    async with FingerService.open(backend) as service:
        unknown = [await service.ask_user(name) for name in ("Ada", "ada", "ADA")]
        assert [answer.value for answer in unknown] == [None] * 3
        await backend.set_user("ada", "Weaving")  # by another program
        await settled()
        assert all(answer.expires < trio.current_time() for answer in unknown)
        for name in ("Ada", "ada", "ADA"):
            assert (await service.get_user(name)) is not None


async def test_a_new_name_that_differs_by_case_alone_is_refused_with_the_existing_spelling():
    async with FingerService.open(MemoryBackend({"ada": "Weaving"})) as service:
        with pytest.raises(ValueError, match="this user is spelled ada"):
            await service.set_user("Ada", "Hacked", writer=ANYONE)
        assert await service.get_users() == ("ada",)
        await service.set_user("adam", "here", writer=ANYONE)


async def test_what_a_store_has_already_stays_readable():
    async with FingerService.open(MemoryBackend({"ada": "one", "Ada": "two"})) as service:
        for name, status in (("ada", "one"), ("Ada", "two")):
            info = await service.get_user(name)
            assert info is not None
            assert info.status == status
        await service.set_user("Ada", "three", writer=ANYONE)


async def test_names_of_the_system_stay_as_the_system_has_them():
    async with FingerService.open(FakeReader({"ada": "Weaving"})) as service:
        assert await service.get_user("Ada") is None


async def test_unknown_names_are_bounded_and_answered_from_memory():
    backend = FakeBackend({"ada": "Weaving"})
    async with FingerService.open(backend, ServicePolicy(cache_size=10)) as service:
        for number in range(100):
            assert await service.get_user(f"User{number}") is None
        assert len(service._users._unknown) == 10
        assert len(service._users._variants) == 10
        asked = backend.calls["get_user"]
        assert await service.get_user("User99") is None
        assert backend.calls["get_user"] == asked
        assert backend.calls["get_users"] == 1
