"""Users that cannot be read: marked in the list, and never the reason why it fails."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
import trio
from trio.testing import MockClock

from fingertrio.backend import BackendError, UserInfo
from fingertrio.frontends.finger.answers import FingerAnswers, FingerPolicy
from fingertrio.frontends.finger.text import NO_USERS, UNREADABLE, render_list
from fingertrio.service import FingerService, ServicePolicy

UNCACHED = ServicePolicy(cache_ttl=0.0)


class Unreliable:
    """A backend that fails for some users, hangs for others, and counts its calls."""

    def __init__(self, users: list[str], *, failing: Iterable[str] = (), hanging: Iterable[str] = ()) -> None:
        self.users = users
        self.failing = set(failing)
        self.hanging = set(hanging)
        self.calls = 0

    async def get_user(self, user: str) -> UserInfo | None:
        self.calls += 1
        await trio.lowlevel.checkpoint()
        if user in self.hanging:
            await trio.sleep_forever()
        if user in self.failing:
            raise BackendError("The disk is on fire")
        if user not in self.users:
            return None
        return UserInfo(user, f"status of {user}", name="Ann" if user == "ann" else None)

    async def get_users(self) -> list[str]:
        return self.users


async def ask(service: FingerService, line: bytes = b"", policy: FingerPolicy | None = None) -> list[str]:
    rendered = await FingerAnswers(service, policy or FingerPolicy()).fetch(line)
    return rendered.payload.decode().splitlines()


async def test_the_list_shows_the_others_and_marks_the_user_who_cannot_be_read() -> None:
    async with FingerService.open(Unreliable(["ann", "bob", "cy"], failing={"bob"}), UNCACHED) as service:
        assert await ask(service) == [
            "Login  Name  Status",
            "ann    Ann   status of ann",
            f"bob          {UNREADABLE}",
            "cy           status of cy",
        ]


async def test_the_list_fails_if_no_user_can_be_read() -> None:
    users = [f"user{number}" for number in range(200)]
    backend = Unreliable(users, failing=set(users))
    async with FingerService.open(backend, UNCACHED) as service:
        assert await ask(service) == ["The disk is on fire"]
        assert backend.calls < 50, "a failed backend is not asked for every user"


async def test_an_empty_list_is_not_a_failure() -> None:
    async with FingerService.open(Unreliable([]), UNCACHED) as service:
        assert await ask(service) == [NO_USERS]


async def test_users_that_hang_cost_the_list_one_deadline(autojump_clock: MockClock) -> None:
    users = [f"user{number}" for number in range(40)]
    async with FingerService.open(Unreliable(users, hanging=set(users[:5])), UNCACHED) as service:
        began = trio.current_time()
        lines = await ask(service)
        assert trio.current_time() - began == pytest.approx(5)
        assert sum(UNREADABLE in line for line in lines) == 5
        assert sum("status of" in line for line in lines) == 35


async def test_the_list_has_a_deadline(autojump_clock: MockClock) -> None:
    users = [f"user{number}" for number in range(100)]
    async with FingerService.open(Unreliable(users, hanging=set(users[1:])), UNCACHED) as service:
        began = trio.current_time()
        lines = await ask(service)
        assert trio.current_time() - began == pytest.approx(10)
        assert sum(UNREADABLE in line for line in lines) == 99
    async with FingerService.open(Unreliable(users, hanging=set(users)), UNCACHED) as service:
        assert await ask(service) == ["Internal error in server"]


async def test_a_user_who_could_not_be_read_is_tried_again_soon_but_not_with_each_query(
    autojump_clock: MockClock,
) -> None:
    backend = Unreliable(["ann", "bob"], failing={"bob"})
    async with FingerService.open(backend, ServicePolicy(cache_ttl=1000.0)) as service:
        answers = FingerAnswers(service, FingerPolicy())
        for _ in range(10):
            assert UNREADABLE.encode() in (await answers.fetch(b"")).payload
        assert backend.calls == 2
        backend.failing = set()
        await trio.sleep(2.5)
        assert b"status of bob" in (await answers.fetch(b"")).payload


async def test_an_ambiguous_name_shows_the_users_who_can_be_read() -> None:
    backend = Unreliable(["anna", "annb", "bob"], failing={"annb", "bob"})
    async with FingerService.open(backend, UNCACHED) as service:
        lines = await ask(service, b"an", FingerPolicy(ambiguous=True))
        assert "status of anna" in lines
        assert lines[-1] == f"Login: annb {UNREADABLE}"
        assert await ask(service, b"x", FingerPolicy(ambiguous=True)) == ["No such user"]


def test_the_mark_is_shown_even_if_statuses_are_hidden() -> None:
    ann = UserInfo("ann", "secret", since=datetime(2026, 1, 1, tzinfo=UTC))
    lines = render_list([ann, "bob"], facts=frozenset()).decode().splitlines()
    assert lines == ["Login", "ann", f"bob    {UNREADABLE}"]
