from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fingertrio.backend import Change
from fingertrio.feeds import FEED_LIMIT, ChangeFeed, ChangeHub


async def take(feed: ChangeFeed, count: int) -> list[str | None]:
    return [(await anext(feed)).user for _ in range(count)]


async def is_empty(feed: ChangeFeed) -> bool:
    with trio.move_on_after(0.01) as scope:
        await anext(feed)
    return scope.cancelled_caught


async def test_what_waits_is_told_once_each_oldest_first(autojump_clock: trio.testing.MockClock) -> None:
    feed = ChangeFeed()
    for user in ("moshez", "alice", "moshez"):
        feed.put(Change(user))
    assert await take(feed, 2) == ["moshez", "alice"]
    assert await is_empty(feed)


async def test_a_name_that_was_taken_can_come_again() -> None:
    feed = ChangeFeed()
    for _ in range(2):
        feed.put(Change("moshez"))
        assert await take(feed, 1) == ["moshez"]


async def test_anybody_covers_everybody(autojump_clock: trio.testing.MockClock) -> None:
    feed = ChangeFeed()
    for user in ("moshez", None, "alice"):
        feed.put(Change(user))
    assert await take(feed, 1) == [None]
    assert await is_empty(feed)


@pytest.mark.parametrize(("names", "told"), [(FEED_LIMIT, FEED_LIMIT), (FEED_LIMIT + 1, 1), (10 * FEED_LIMIT, 1)])
async def test_a_reader_who_is_late_costs_no_more_than_the_limit(
    autojump_clock: trio.testing.MockClock, names: int, told: int
) -> None:
    feed = ChangeFeed()
    for number in range(names):
        feed.put(Change(f"user{number}"))
    users = await take(feed, told)
    assert users == ([None] if told == 1 else [f"user{number}" for number in range(names)])
    assert await is_empty(feed)


async def test_a_change_of_a_name_that_waits_fits_into_a_full_feed() -> None:
    feed = ChangeFeed()
    for number in range(FEED_LIMIT):
        feed.put(Change(f"user{number}"))
    feed.put(Change("user7"))
    assert await take(feed, 1) == ["user0"]


async def test_a_reader_that_waits_is_woken() -> None:
    feed = ChangeFeed()
    heard: list[str | None] = []

    async def read() -> None:
        heard.extend(await take(feed, 2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for user in ("moshez", "alice"):
            await wait_all_tasks_blocked()
            feed.put(Change(user))
    assert heard == ["moshez", "alice"]


async def test_a_cancelled_read_loses_nothing() -> None:
    feed = ChangeFeed()
    feed.put(Change("moshez"))
    with trio.move_on_after(0) as scope:
        await anext(feed)
    assert scope.cancelled_caught
    assert await take(feed, 1) == ["moshez"]


async def test_reading_what_waits_lets_others_run() -> None:
    feed = ChangeFeed()
    feed.put(Change("moshez"))
    with trio.testing.assert_checkpoints():
        await anext(feed)


async def test_a_hub_tells_who_is_there(autojump_clock: trio.testing.MockClock) -> None:
    hub = ChangeHub()
    hub.emit(Change("nobody hears"))
    async with hub.changes() as first:
        async with hub.changes() as second:
            hub.emit_all(["moshez", "alice"])
        hub.emit(Change(None))
        assert await take(first, 1) == [None]
        assert await take(second, 2) == ["moshez", "alice"]
        assert await is_empty(second)
