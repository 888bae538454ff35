from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fingertrio.backend import BackendError, Change, EmitsChanges, ListsUsers, SetsStatus, UserInfo
from fingertrio.testing import FakeBackend, FakeReader

USERS = {"moshez": "Happy and well"}


async def test_the_reader_can_only_be_asked() -> None:
    fake = FakeReader(USERS)
    assert await fake.get_user("moshez") == UserInfo("moshez", "Happy and well")
    assert await fake.get_user("alice") is None
    assert not isinstance(fake, ListsUsers)
    assert not isinstance(fake, SetsStatus)
    assert not isinstance(fake, EmitsChanges)


async def test_calls_are_counted() -> None:
    fake = FakeBackend(USERS)
    await fake.get_user("moshez")
    await fake.get_user("alice")
    await fake.get_users()
    await fake.set_user("alice", "In the garden")
    assert fake.calls == {"get_user": 2, "get_users": 1, "set_user": 1}


@pytest.mark.parametrize("failure", [BackendError("Gone fishing"), OSError("private")])
async def test_every_call_fails_as_told_until_told_otherwise(failure: Exception) -> None:
    fake = FakeBackend(USERS)
    fake.failure = failure
    for call in (fake.get_user("moshez"), fake.get_users(), fake.set_user("moshez", "In the garden")):
        with pytest.raises(type(failure)):
            await call
    fake.failure = None
    info = await fake.get_user("moshez")
    assert info is not None
    assert info.status == "Happy and well"


async def test_calls_hang_until_released() -> None:
    fake = FakeBackend(USERS)
    fake.hold()
    answers: list[UserInfo | None] = []

    async def question() -> None:
        answers.append(await fake.get_user("moshez"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(question)
        await wait_all_tasks_blocked()
        assert fake.calls["get_user"] == 1
        assert not answers
        fake.release()
    assert len(answers) == 1


async def test_calls_that_hang_can_be_cancelled() -> None:
    fake = FakeReader(USERS)
    fake.hold()
    with trio.move_on_after(0) as scope:
        await fake.get_user("moshez")
    assert scope.cancelled_caught


async def test_the_full_fake_tells_of_changes() -> None:
    fake = FakeBackend(USERS)
    async with fake.changes() as feed:
        await fake.set_user("alice", "In the garden")
        assert await anext(feed) == Change("alice")
