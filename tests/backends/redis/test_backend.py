"""The backend over a real Redis that stays where it is; see test_link.py for when it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf
from statistics import median

import pytest
import trio

from fingertrio.backend import BackendError, Change, UserInfo
from fingertrio.backends.redis import RedisBackend, RedisOptions, open_redis
from fingertrio.backends.redis.keys import Keys
from fingertrio.service import FingerService
from fingertrio.testing import CLAUSES, Clause, check_backend
from fingertrio.testing.redis_server import RedisServer
from tests.backends.redis.kit import CONTRACT_DEADLINE, until
from tests.helpers import ANYONE

SOON = timedelta(seconds=0.6)  # a busy machine may take half of that until the status is set


@asynccontextmanager
async def nodes(options: RedisOptions, count: int) -> AsyncIterator[Sequence[RedisBackend]]:
    """Several backends over one store, as several machines have them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_redis(options)) for _ in range(count)]


async def status_of(backend: RedisBackend, user: str) -> str | None:
    info = await backend.get_user(user)
    return None if info is None else info.status


async def next_change(feed: AsyncIterator[Change]) -> str | None:
    with trio.fail_after(5):
        return (await anext(feed)).user


@pytest.mark.parametrize("clause", CLAUSES, ids=str)
async def test_the_contract_holds(clause: Clause, options: RedisOptions) -> None:
    few = options.model_copy(update={"shards": 3})  # a list takes two requests a shard, and is cancelled at each step
    async with open_redis(few) as other:
        assert await check_backend(
            lambda: open_redis(few), alter=other.set_user, clauses=[clause], seconds=CONTRACT_DEADLINE
        )


# --- several nodes ----------------------------------------------------------------------------------------------------


async def test_what_one_node_sets_every_node_answers(options: RedisOptions) -> None:
    async with nodes(options, 3) as backends:
        for number, setter in enumerate(backends):
            await setter.set_user("moshez", f"Status {number}")
            assert [await status_of(backend, "moshez") for backend in backends] == [f"Status {number}"] * 3
            assert [await backend.get_users() for backend in backends] == [["moshez"]] * 3


async def test_a_change_is_seen_at_the_other_nodes_within_a_tenth_of_a_second(options: RedisOptions) -> None:
    """From the set at one node to the answer that was kept at another being no more than a memory: the median of 60."""
    delays: list[float] = []
    async with AsyncExitStack() as stack:
        backends = await stack.enter_async_context(nodes(options, 3))
        services = [await stack.enter_async_context(FingerService.open(backend)) for backend in backends]
        feeds = [await stack.enter_async_context(service.changes()) for service in services[1:]]
        for number in range(30):
            for service in services:
                await service.get_user("moshez")
            set_at = trio.current_time()
            await services[0].set_user("moshez", f"Status {number}", writer=ANYONE)
            for service, feed in zip(services[1:], feeds, strict=True):
                assert await next_change(feed) == "moshez"
                delays.append(trio.current_time() - set_at)
                info = await service.get_user("moshez")
                assert info is not None
                assert info.status == f"Status {number}"
    assert median(delays) < 0.1


async def test_an_answer_stays_in_memory_until_another_node_changes_it(options: RedisOptions) -> None:
    async with nodes(options, 2) as (backend, other), FingerService.open(backend) as service:
        async with service.changes() as feed:
            await other.set_user("moshez", "Happy and well")
            await other.set_user("alice", "In the garden")
            assert {await next_change(feed), await next_change(feed)} == {"moshez", "alice"}
            moshez, alice = await service.ask_user("moshez"), await service.ask_user("alice")
            assert (moshez.expires, alice.expires) == (inf, inf)
            await other.set_user("moshez", "Gone")
            assert await next_change(feed) == "moshez"
            assert moshez.expires < trio.current_time()
            assert service.peek("moshez") is None
            assert service.peek("alice") is alice


async def test_a_copy_is_an_answer_at_once_while_changes_are_followed(options: RedisOptions) -> None:
    async with nodes(options, 2) as (backend, other):
        await other.set_user("moshez", "Happy and well")
        await backend.get_user("moshez")
        with pytest.raises(LookupError):  # nothing says that the changes up to now have been heard
            backend.get_user_now("moshez")
        async with backend.changes() as feed:
            await backend.get_user("moshez")
            info = backend.get_user_now("moshez")
            assert info is not None
            assert info.status == "Happy and well"
            with pytest.raises(LookupError):
                backend.get_user_now("alice")
            await other.set_user("moshez", "Gone")
            assert (await anext(feed)).user == "moshez"
            with pytest.raises(LookupError):
                backend.get_user_now("moshez")


async def test_two_nodes_that_set_at_once_leave_one_latest_and_both_in_history(options: RedisOptions) -> None:
    rounds = 200
    async with nodes(options, 2) as backends:
        for number in range(rounds):
            async with trio.open_nursery() as nursery:
                for name, backend in zip("ab", backends, strict=True):
                    nursery.start_soon(backend.set_user, "moshez", f"{name}{number}")
            answers = {await status_of(backend, "moshez") for backend in backends}
            assert len(answers) == 1
        history = await backends[0].get_history("moshez", 2 * rounds + 1)
    statuses = [info.status for info in history]
    assert statuses[0] in answers
    assert Counter(statuses) == Counter(f"{name}{number}" for name in "ab" for number in range(rounds))
    times = [info.since for info in history]
    assert all(newer > older for newer, older in pairwise(times) if newer and older)


async def test_an_expiry_is_a_change_at_every_node_and_uncovers_the_lasting_status(options: RedisOptions) -> None:
    async with nodes(options, 3) as backends, AsyncExitStack() as stack:
        await backends[0].set_user("moshez", "Happy and well")
        await backends[0].set_user("moshez", "Back soon", until=datetime.now(UTC) + SOON)
        await backends[1].set_user("bob", "Passing by", until=datetime.now(UTC) + SOON)
        feeds = [await stack.enter_async_context(backend.changes()) for backend in backends]
        for backend, feed in zip(backends, feeds, strict=True):
            assert {await next_change(feed), await next_change(feed)} == {"moshez", "bob"}
            assert await status_of(backend, "moshez") == "Happy and well"
            assert await status_of(backend, "bob") is None
            assert await backend.get_users() == ["moshez"]
        await backends[0].set_user("zoe", "Last")
        assert [await next_change(feed) for feed in feeds] == ["zoe"] * 3


async def test_a_status_that_ended_while_no_node_ran_is_ended_by_the_next_node(
    options: RedisOptions, shared: RedisServer
) -> None:
    async with open_redis(options) as backend:
        await backend.set_user("bob", "Passing by", until=datetime.now(UTC) + SOON)
    await trio.sleep(SOON.total_seconds() + 0.05)
    async with open_redis(options) as backend:
        assert await status_of(backend, "bob") is None
        assert await backend.get_users() == []
        await until(lambda: shared.command("ZCARD", key(options, "bob", "passing")) == b":0")


def key(options: RedisOptions, user: str, what: str) -> str:
    """The name of a key in the shard of `user`."""
    keys = Keys(options.prefix, options.shards)
    return keys.of_shard(keys.shard(user), what).decode()


# --- history ---------------------------------------------------------------------------------------------------------


async def history_of(backend: RedisBackend, user: str, limit: int = 100, before: datetime | None = None) -> list[str]:
    return [info.status for info in await backend.get_history(user, limit, before)]


async def test_a_lasting_status_ends_the_passing_one_for_good(options: RedisOptions) -> None:
    async with open_redis(options) as backend:
        await backend.set_user("moshez", "Back soon", until=datetime.now(UTC) + SOON)
        await backend.set_user("moshez", "Back")
        async with backend.changes() as feed:
            assert await status_of(backend, "moshez") == "Back"
            with trio.move_on_after(SOON.total_seconds() + 0.1) as silence:
                await anext(feed)
            assert silence.cancelled_caught


async def test_a_passing_status_takes_the_place_of_another(options: RedisOptions) -> None:
    async with open_redis(options) as backend:
        await backend.set_user("moshez", "Happy and well")
        await backend.set_user("moshez", "Away for long", until=datetime.now(UTC) + timedelta(hours=1))
        async with backend.changes() as feed:
            await backend.set_user("moshez", "Away for short", until=datetime.now(UTC) + SOON)
            assert await next_change(feed) == "moshez"
            assert await status_of(backend, "moshez") == "Away for short"
            assert await next_change(feed) == "moshez"
        assert await status_of(backend, "moshez") == "Happy and well"


async def test_an_until_that_has_passed_is_refused_and_nothing_is_stored(options: RedisOptions) -> None:
    async with open_redis(options) as backend:
        with pytest.raises(BackendError, match="has passed"):
            await backend.set_user("moshez", "Gone", until=datetime.now(UTC) - SOON)
        assert await backend.get_users() == []
        assert await history_of(backend, "moshez") == []


async def test_history_tells_when_each_status_ended(options: RedisOptions) -> None:
    """As the sqlite backend tells it: what was overtaken ended then; what holds, or will again, has no end."""
    late = datetime.now(UTC) + timedelta(hours=1)
    async with open_redis(options) as backend:
        one = await backend.set_user("moshez", "one")
        passing = await backend.set_user("moshez", "passing", until=late)
        two = await backend.set_user("moshez", "two")
        first = await backend.set_user("moshez", "first", until=late)
        second = await backend.set_user("moshez", "second", until=late)
        history = await backend.get_history("moshez", 10)
        assert [(info.status, info.since, info.until) for info in history] == [
            ("second", second.since, late),
            ("first", first.since, second.since),
            ("two", two.since, None),
            ("passing", passing.since, two.since),
            ("one", one.since, two.since),
        ]
        assert await backend.get_history("moshez", 10, before=two.since) == history[3:]
        assert await backend.get_history("moshez", 1, before=second.since) == history[1:2]
        assert await backend.get_history("moshez", 0) == []


async def test_history_is_as_long_as_configured_and_what_lasts_is_always_in_it(options: RedisOptions) -> None:
    late = datetime.now(UTC) + timedelta(hours=1)
    async with open_redis(options.model_copy(update={"history": 3})) as backend:
        await backend.set_user("moshez", "lasting")
        for number in range(5):
            await backend.set_user("moshez", f"passing {number}", until=late)
        assert await history_of(backend, "moshez") == ["passing 4", "passing 3", "passing 2", "lasting"]
        assert await history_of(backend, "moshez", 2) == ["passing 4", "passing 3"]


async def test_long_histories_are_told_whole(options: RedisOptions) -> None:
    async with open_redis(options) as backend:
        for number in range(250):
            await backend.set_user("moshez", f"{number}")
        assert await history_of(backend, "moshez", 1000) == [f"{number}" for number in reversed(range(250))]
        page = await backend.get_history("moshez", 120)
        assert await history_of(backend, "moshez", 3, before=page[-1].since) == ["129", "128", "127"]


async def test_what_is_older_than_some_days_is_forgotten_but_not_what_holds(options: RedisOptions) -> None:
    moment = 0.3 / 86400  # days
    async with open_redis(options) as keeps, open_redis(options.model_copy(update={"history_days": moment})) as forgets:
        await keeps.set_user("moshez", "old")
        await keeps.set_user("moshez", "lasting")
        await trio.sleep(0.35)
        assert await history_of(forgets, "moshez") == ["lasting"]
        assert await history_of(keeps, "moshez") == ["lasting", "old"]
        await forgets.set_user("moshez", "new", until=datetime.now(UTC) + timedelta(hours=1))
        assert await history_of(keeps, "moshez") == ["new", "lasting"]
        await trio.sleep(0.35)  # longer than anything of it is kept: Redis itself lets it go
        assert await status_of(forgets, "moshez") == "new"


async def test_full_name_and_details_show_once_there_is_a_status(options: RedisOptions) -> None:
    details = {"project": "fingertrio", "a link": "https://example.net/"}
    async with nodes(options, 2) as (backend, other), other.changes() as feed:
        await backend.set_details("moshez", "Moshe Zadka", details)
        assert await next_change(feed) == "moshez"
        assert await other.get_user("moshez") is None
        assert await other.get_users() == []
        info = await backend.set_user("moshez", "Happy and well")
        assert info == UserInfo("moshez", "Happy and well", "Moshe Zadka", info.since, None, details)
        assert await other.get_user("moshez") == info
        await backend.set_details("moshez", None, {})
        assert await other.get_user("moshez") == UserInfo("moshez", "Happy and well", None, info.since)


# --- what is in Redis -------------------------------------------------------------------------------------------------


async def test_prefixes_keep_stores_apart(options: RedisOptions) -> None:
    async with open_redis(options) as ours, open_redis(options.model_copy(update={"prefix": "others"})) as others:
        await ours.set_user("moshez", "Happy and well")
        assert await others.get_user("moshez") is None
        assert "moshez" not in await others.get_users()


async def test_the_first_node_decides_the_number_of_shards(options: RedisOptions) -> None:
    async with open_redis(options) as first, open_redis(options.model_copy(update={"shards": 3})) as second:
        async with second.changes() as feed:
            for number in range(20):
                await first.set_user(f"user{number}", "Happy and well")
            heard = {await next_change(feed) for _ in range(20)}
        assert heard == set(await second.get_users()) == {f"user{number}" for number in range(20)}


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        (("HSET", "version", "2", "shards", "16"), "layout version 2"),
        (("HSET", "something", "else"), "not written by fingertrio"),
    ],
)
async def test_an_unknown_layout_is_refused(
    options: RedisOptions, shared: RedisServer, layout: tuple[str, ...], reason: str
) -> None:
    command, *fields = layout
    shared.command(command, f"{{{options.prefix}:0}}:layout", *fields)
    with pytest.raises(ExceptionGroup) as caught:
        async with open_redis(options):
            raise AssertionError("it opened")
    assert caught.group_contains(ValueError, match=reason)


async def test_malformed_data_fails_for_that_user_only(options: RedisOptions, shared: RedisServer) -> None:
    async with open_redis(options) as backend:
        await backend.set_user("alice", "In the garden")
        shared.command("HSET", key(options, "bob", "user:bob"), "lasting", "nonsense")
        with pytest.raises(BackendError):
            await backend.get_user("bob")
        assert await status_of(backend, "alice") == "In the garden"


async def test_scripts_that_redis_has_forgotten_are_loaded_again(options: RedisOptions, shared: RedisServer) -> None:
    async with open_redis(options) as backend:
        await backend.set_user("moshez", "one")
        shared.command("SCRIPT", "FLUSH")
        await backend.set_user("moshez", "two")
        assert await status_of(backend, "moshez") == "two"


async def test_a_redis_that_takes_no_writes_is_still_read(
    options: RedisOptions, shared: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_redis(options) as backend, backend.changes() as feed:
        await backend.set_user("moshez", "Happy and well")
        await backend.set_user("alice", "Back soon", until=datetime.now(UTC) + SOON)
        assert [await next_change(feed), await next_change(feed)] == ["moshez", "alice"]
        shared.command("CONFIG", "SET", "min-replicas-to-write", "1")
        try:
            with pytest.raises(BackendError) as caught:
                await backend.set_user("moshez", "Too much")
            assert "replicas" in str(caught.value.__cause__)
            await until(lambda: bool(caplog.records))
            assert await status_of(backend, "alice") is None
            assert await status_of(backend, "moshez") == "Happy and well"
            assert backend.stale_since() is None
        finally:
            shared.command("CONFIG", "SET", "min-replicas-to-write", "0")
        assert await next_change(feed) == "alice"
        await backend.set_user("moshez", "In the garden")
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "Redis refuses to end statuses that are due"
    ]
