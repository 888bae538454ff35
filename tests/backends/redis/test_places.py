"""Recent statuses over shards: in order, kept right by ends, and made anew where an earlier version has written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trio

from fingertrio.backend import BackendError, Recency, UserInfo
from fingertrio.backends.redis import RedisBackend, RedisOptions, open_redis
from fingertrio.backends.redis.copies import Copies
from fingertrio.backends.redis.keys import Keys
from fingertrio.backends.redis.records import StoredStatus, UserRecord
from fingertrio.testing.redis_server import RedisServer
from tests.backends.redis.kit import until

SOON = timedelta(seconds=0.6)


def users(infos: Sequence[UserInfo]) -> list[str]:
    return [info.user for info in infos]


def keys_of(options: RedisOptions, what: str) -> list[str]:
    keys = Keys(options.prefix, options.shards)
    return [keys.of_shard(shard, what).decode() for shard in range(options.shards)]


@asynccontextmanager
async def filled(options: RedisOptions, count: int = 40) -> AsyncIterator[tuple[RedisBackend, list[str]]]:
    """A backend and its users, the newest first, spread over the shards."""
    async with open_redis(options) as backend:
        names = [f"user{number}" for number in range(count)]
        for name in names:
            await backend.set_user(name, f"I am {name}")
        yield backend, names[::-1]


async def test_users_of_all_shards_are_in_one_order_page_by_page(options: RedisOptions) -> None:
    async with filled(options) as (backend, names):
        assert users(await backend.get_recent(100)) == names
        found: list[str] = []
        before = None
        while page := await backend.get_recent(7, before):
            found += users(page)
            before = Recency.of(page[-1])
        assert found == names
        assert await backend.get_recent(7, Recency(None, "a")) == []


async def test_places_of_an_earlier_version_are_made_at_the_first_question(
    shared: RedisServer, options: RedisOptions
) -> None:
    async with filled(options) as (backend, names):
        until_then = datetime.now(UTC) + timedelta(hours=1)
        await backend.set_user("user3", "Back soon", until=until_then)
        await backend.set_user("passer-by", "Back soon", until=until_then)
        await backend.clear_user("user4")
        shared.command("DEL", *keys_of(options, "recent"))
        right = ["passer-by", "user3", *(name for name in names if name not in {"user3", "user4"})]
        assert users(await backend.get_recent(100)) == right
        await backend.set_user("user5", "New")
        right.remove("user5")
        assert users(await backend.get_recent(100)) == ["user5", *right]


async def test_what_a_node_of_an_earlier_version_sets_is_noticed(shared: RedisServer, options: RedisOptions) -> None:
    async with filled(options) as (backend, names):
        await backend.get_recent(1)
        keys = Keys(options.prefix, options.shards)
        shard = keys.shard("user7")
        since = int(datetime.now(UTC).timestamp() * 1_000_000)
        shared.command("HSET", keys.user("user7").decode(), "lasting", f"{since} - of old", "last", str(since))
        shared.command("INCR", keys.of_shard(shard, "count").decode())
        found = await backend.get_recent(100)
        assert (found[0].user, found[0].status) == ("user7", "of old")
        assert sorted(users(found)) == sorted(names)


async def test_who_has_a_status_that_ends_goes_back(options: RedisOptions) -> None:
    async with filled(options, 5) as (backend, names):
        end = datetime.now(UTC) + SOON
        await backend.set_user("user0", "Back soon", until=end)
        await backend.set_user("passer-by", "Back soon", until=end)
        assert users(await backend.get_recent(2)) == ["passer-by", "user0"]
        ending = {"user0", "passer-by"}
        async with backend.changes() as feed:
            with trio.fail_after(10):
                while ending:
                    ending.discard((await anext(feed)).user or "")
        assert users(await backend.get_recent(100)) == names
        assert users(await backend.get_recent(1)) == ["user4"]


async def test_an_end_that_no_node_has_carried_out_is_heeded(shared: RedisServer, options: RedisOptions) -> None:
    async with filled(options, 5) as (backend, _names):
        keys = Keys(options.prefix, options.shards)
        name = keys.user("user0").decode()
        lasting = shared.command("HGET", name, "lasting")
        # As if the end were due, and no node had come to it: the expiry is not told of this.
        since = int(datetime.now(UTC).timestamp() * 1_000_000)
        shared.command("HSET", name, "passing", f"{since} {since + 1000} Back soon")
        shard = keys.shard("user0")
        shared.command("ZADD", keys.of_shard(shard, "passing").decode(), str(since + 1000), "user0")
        shared.command("ZADD", keys.of_shard(shard, "recent").decode(), str(-since), "user0")
        assert lasting
        await trio.sleep(0.01)
        assert users(await backend.get_recent(3)) == ["user4", "user3", "user2"]
        assert users(await backend.get_recent(100)) == ["user4", "user3", "user2", "user1", "user0"]


async def test_foreign_data_costs_nobody_else_the_page(shared: RedisServer, options: RedisOptions) -> None:
    async with filled(options, 12) as (backend, names):
        keys = Keys(options.prefix, options.shards)
        shared.command("DEL", keys.user("user3").decode())
        shared.command("DEL", keys.user("user4").decode())
        shared.command("SET", keys.user("user4").decode(), "a string")
        shared.command("HSET", keys.user("user5").decode(), "lasting", "junk")
        shared.command("ZADD", keys_of(options, "recent")[0], "-1", "no name \r\n")
        right = [name for name in names if name not in {"user3", "user4", "user5"}]
        assert users(await backend.get_recent(100)) == right
        assert users(await backend.get_recent(10)) == right  # the page is full: the search goes on behind the gaps


async def test_a_key_of_another_type_is_an_error_that_names_it(shared: RedisServer, options: RedisOptions) -> None:
    async with filled(options, 3) as (backend, _names):
        key = keys_of(options, "recent")[0]
        shared.command("DEL", key)
        shared.command("SET", key, "x")
        with pytest.raises(BackendError) as caught:
            await backend.get_recent(10)
        assert key in str(caught.value.__cause__)


async def test_while_redis_is_away_the_last_known_are_served(server: RedisServer) -> None:
    options = RedisOptions(url=server.url, timeout=0.5, heartbeat=0.1)
    async with filled(options, 6) as (backend, names):
        await backend.get_recent(4)
        server.kill()
        await until(lambda: backend.stale_since() is not None)
        assert users(await backend.get_recent(100)) == names[:4]
        assert users(await backend.get_recent(2)) == names[:2]
        with pytest.raises(BackendError):
            await backend.get_recent(2, Recency(datetime(2020, 1, 1, tzinfo=UTC), "a"))


def test_copies_are_in_order_and_paged() -> None:
    copies = Copies(10)
    for number, name in enumerate(["bob", "ada", "cy"]):
        lasting = StoredStatus(100 + number // 2, None, "x")
        record = UserRecord(name, lasting, StoredStatus(200, 300, "soon") if name == "cy" else None, None, {})
        with copies.reading(name) as pending:
            copies.keep(record, pending)
    assert users(copies.recent(9, None, 250)) == ["cy", "ada", "bob"]
    assert users(copies.recent(9, None, 300)) == ["cy", "ada", "bob"]
    assert users(copies.recent(1, (-100, "ada"), 300)) == ["bob"]
