"""The newest statuses of several layers: merged, and of each user what the first layer that knows the user says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.backend import Backend, BackendError, ListsRecent, Recency, SetsDetails, UserInfo
from fingertrio.backends.layers.open_layer import OpenLayer
from fingertrio.backends.layers.stack import LayeredBackend, stack_layers
from fingertrio.backends.memory import MemoryBackend
from fingertrio.testing import FakeBackend, FakeReader

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def over(*backends: Backend, skip_after: float | None = None) -> LayeredBackend:
    return stack_layers([OpenLayer(f"layer {number}", each, skip_after) for number, each in enumerate(backends, 1)])


async def recent(backend: Backend, limit: int = 100, before: Recency | None = None) -> list[str]:
    assert isinstance(backend, ListsRecent)
    return [f"{info.user} {info.status}" for info in await backend.get_recent(limit, before)]


def at(day: int, users: dict[str, str]) -> MemoryBackend:
    """A backend whose users have set their statuses on a day, or with status "" cleared them."""
    backend = MemoryBackend({})
    for user, status in users.items():
        backend._lasting[user] = UserInfo(user, status, since=MOMENT + timedelta(day))
        backend._place(user)
    return backend


async def test_layers_are_merged_and_the_upper_one_answers():
    upper, lower = at(1, {"ada": "up", "cleared": ""}), at(2, {"ada": "down", "bob": "down", "cleared": "down"})
    assert await recent(over(upper, lower)) == ["bob down", "ada up"]
    assert await recent(over(lower, upper)) == ["ada down", "bob down", "cleared down"]


async def test_a_cleared_status_that_falls_through_is_listed_where_the_one_below_belongs():
    upper, lower = at(1, {"ada": "up", "cleared": ""}), at(2, {"ada": "down", "bob": "down", "cleared": "down"})
    layers = [OpenLayer("upper", upper, falls_through=True), OpenLayer("lower", lower)]
    whole = stack_layers(layers)
    assert await recent(whole) == ["bob down", "cleared down", "ada up"]
    assert await recent(whole, 2) == ["bob down", "cleared down"]
    lower._lasting["ada"] = UserInfo("ada", "down", name="Ada Lovelace", since=MOMENT + timedelta(2))
    assert isinstance(whole, ListsRecent)
    assert [info.name for info in await whole.get_recent(3)] == [None, None, "Ada Lovelace"]


async def test_a_layer_that_lists_nobody_answers_all_the_same():
    assert await recent(over(FakeReader({"bob": "busy"}), at(1, {"ada": "x", "bob": "x"}))) == ["ada x"]


async def test_many_users_behind_an_upper_layer_do_not_end_the_list():
    hidden = {f"user{number}": "x" for number in range(20)}
    whole = over(FakeReader(hidden), at(2, hidden), at(1, {"zed": "last"}))
    assert await recent(whole, 2) == ["zed last"]


_users = st.dictionaries(st.sampled_from(["ada", "bob", "cy", "dee"]), st.integers(0, 3))


@given(st.lists(_users, min_size=1, max_size=3), st.integers(1, 3))
def test_pages_are_exact_whatever_the_layers_have(layers: list[dict[str, int]], limit: int):
    backends = []
    for layer in layers:
        backend = MemoryBackend({})
        for user, day in layer.items():
            backend._lasting[user] = UserInfo(user, "x" if day else "", since=MOMENT + timedelta(day))
            backend._place(user)
        backends.append(backend)
    whole = over(*backends)

    async def main() -> None:
        assert isinstance(whole, ListsRecent)
        answers = [await whole.get_user(user) for user in ("ada", "bob", "cy", "dee")]
        right = sorted((info for info in answers if info is not None and info.status), key=Recency.of)
        found: list[UserInfo] = []
        while True:
            page = await whole.get_recent(limit, Recency.of(found[-1]) if found else None)
            found += page
            if len(page) < limit:
                break
        assert found == right

    trio.run(main)


async def test_a_layer_that_is_skipped_is_missing_and_others_are_not():
    failing = FakeBackend({"ada": "x"})
    failing.failure = BackendError("Gone fishing")
    whole = over(at(1, {"bob": "x"}), failing, skip_after=1.0)
    assert await recent(whole) == ["bob x"]
    failing.failure = None
    assert await recent(whole) == ["bob x", "ada x"]


async def test_a_layer_that_may_not_be_skipped_fails_the_page():
    failing = FakeBackend({"ada": "x"})
    failing.failure = BackendError("Gone fishing")
    with pytest.raises(BackendError, match="fishing"):
        await recent(over(at(1, {"bob": "x"}), failing))


class Names(FakeReader):
    async def get_users(self) -> Sequence[str]:
        return list(self.users)


async def test_only_if_every_layer_that_lists_can_list_by_time():
    assert isinstance(over(FakeReader({}), MemoryBackend({})), ListsRecent)
    assert not isinstance(over(Names({}), MemoryBackend({})), ListsRecent)
    assert not isinstance(over(FakeReader({})), ListsRecent)


async def test_details_go_where_statuses_go_and_not_where_another_layer_answers():
    upper, lower = MemoryBackend({"ada": "x"}), MemoryBackend({"bob": "x"})
    whole = over(upper, lower)
    assert isinstance(whole, SetsDetails)
    info = await whole.set_details("ada", "Ada", {"a": "b"})
    assert info is not None
    assert info.name == "Ada"
    with pytest.raises(BackendError, match="comes from a source"):
        await whole.set_details("bob", "Bob", {})
    assert not isinstance(over(FakeReader({})), SetsDetails)
