"""Change feeds of bounded size: what a slow reader still gets, and that no writer waits for it."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.backend import Change
from fingertrio.changes import FEED_LIMIT, ChangeFeed, ChangeHub


async def drain(feed: ChangeFeed) -> set[str | None]:
    """Whom everything that waits is about."""
    users = set()
    while feed._waiting:
        users.add((await anext(feed)).user)
    return users


async def test_a_reader_hears_what_is_emitted_while_it_listens():
    hub = ChangeHub()
    hub.emit(Change("before"))
    async with hub.changes() as feed:
        hub.emit(Change("moshez"))
        hub.emit(Change(None))
        assert await anext(feed) == Change(None)
        hub.emit(Change("alice"))
        assert await anext(feed) == Change("alice")
    hub.emit(Change("after"))
    assert not feed._waiting
    assert not hub._feeds


async def test_changes_come_in_the_order_of_their_first_mention():
    feed = ChangeFeed()
    for user in ("a", "b", "a", "c"):
        feed.put(Change(user))
    assert [(await anext(feed)).user for _ in range(3)] == ["a", "b", "c"]


async def test_many_changes_of_one_user_are_one_to_a_late_reader():
    feed = ChangeFeed()
    for _ in range(10_000):
        feed.put(Change("moshez"))
    assert await anext(feed) == Change("moshez")
    feed.put(Change("moshez"))  # a change after the read is reported again
    assert await anext(feed) == Change("moshez")


async def test_a_reader_that_never_reads_costs_a_bounded_amount():
    feed = ChangeFeed()
    for number in range(10 * FEED_LIMIT):
        feed.put(Change(f"user{number}"))
        assert len(feed._waiting) <= FEED_LIMIT
    assert None in feed._waiting, "what was left out must be covered by a change of every user"


async def test_what_was_left_out_is_covered_until_it_was_read():
    feed = ChangeFeed()
    for number in range(FEED_LIMIT + 1):
        feed.put(Change(f"user{number}"))
    feed.put(Change("one more"))
    assert await anext(feed) == Change(None)
    feed.put(Change("moshez"))
    assert await anext(feed) == Change("moshez")


async def test_a_user_who_waits_already_fits_into_a_full_feed():
    feed = ChangeFeed()
    for number in range(FEED_LIMIT):
        feed.put(Change(f"user{number}"))
    feed.put(Change("user7"))
    assert await anext(feed) == Change("user0")


async def test_more_users_than_a_feed_holds_are_told_as_anybody():
    hub = ChangeHub()
    async with hub.changes() as feed:
        hub.emit_all([f"user{number}" for number in range(FEED_LIMIT + 1)])
        assert await anext(feed) == Change(None)
        assert not feed._waiting


async def test_every_reader_has_a_feed_of_its_own():
    hub = ChangeHub()
    async with hub.changes() as one, hub.changes() as other:
        hub.emit_all(["a", "b"])
        assert [await anext(one), await anext(one)] == [Change("a"), Change("b")]
        assert [await anext(other), await anext(other)] == [Change("a"), Change("b")]


async def test_a_waiting_reader_is_woken(autojump_clock: trio.testing.MockClock):
    hub = ChangeHub()
    heard: list[Change] = []

    async def listen(*, task_status: trio.TaskStatus[None]) -> None:
        async with hub.changes() as feed:
            task_status.started()
            while True:
                heard.append(await anext(feed))

    async with trio.open_nursery() as nursery:
        await nursery.start(listen)
        for user in ("a", "b", "a"):
            await trio.testing.wait_all_tasks_blocked()
            hub.emit(Change(user))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert heard == [Change("a"), Change("b"), Change("a")]
    assert not hub._feeds, "a cancelled reader is forgotten"


async def test_a_read_that_is_cancelled_loses_nothing():
    feed = ChangeFeed()
    with trio.CancelScope() as scope:
        scope.cancel()
        feed.put(Change("moshez"))
        await anext(feed)
    assert scope.cancelled_caught
    assert await anext(feed) == Change("moshez")


async def test_a_read_that_was_cancelled_while_waiting_loses_nothing(autojump_clock: trio.testing.MockClock):
    feed = ChangeFeed()
    with trio.move_on_after(1) as scope:
        await anext(feed)
    assert scope.cancelled_caught
    feed.put(Change("moshez"))
    assert await anext(feed) == Change("moshez")


async def test_a_reader_in_a_loop_lets_others_run():
    feed = ChangeFeed()
    for number in range(FEED_LIMIT):
        feed.put(Change(f"user{number}"))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(FEED_LIMIT):
            await anext(feed)
        assert turns >= FEED_LIMIT // 64
        nursery.cancel_scope.cancel()


async def test_a_reader_in_a_loop_can_be_cancelled_at_every_name():
    feed = ChangeFeed()
    for name in "abc":
        feed.put(Change(name))
    for _ in range(2):
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(feed)
        assert scope.cancelled_caught
    assert [(await anext(feed)).user for _ in range(3)] == ["a", "b", "c"]


async def test_a_feed_ends_with_its_context_however_that_ends():
    hub = ChangeHub()
    with pytest.raises(ValueError, match="inside"):
        async with hub.changes():
            raise ValueError("inside")
    assert not hub._feeds


@given(st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh"), st.just("read"))))
async def test_whoever_changed_is_told_of_or_covered(steps: list[str | None]):
    """Each time the feed is read to its end, it has named every user that changed, or all users."""
    feed = ChangeFeed()
    changed: set[str | None] = set()
    for step in [*steps, "read"]:
        if step == "read":
            told = await drain(feed)
            assert changed <= told or None in told
            changed = set()
        else:
            feed.put(Change(step))
            changed.add(step)
