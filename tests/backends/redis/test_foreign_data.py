"""Data of another program under our keys: an error for the user concerned, or skipped, and never an outage."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trio

from fingertrio.backend import BackendError, Change
from fingertrio.backends.redis import RedisBackend, RedisOptions, open_redis
from fingertrio.backends.redis.keys import Keys, layout_key
from fingertrio.testing.redis_server import RedisServer
from tests.backends.redis.kit import RECOVERY, until

HOUR = timedelta(hours=1)
DEEP = "[" * 100_000
LARGE = "x" * 20_000_000


class Foreign:
    """Another program, which writes under our keys."""

    def __init__(self, server: RedisServer, options: RedisOptions) -> None:
        self.command = server.command
        self.info = server.info
        self.keys = Keys(options.prefix, options.shards)

    def key(self, what: str, user: str = "bob") -> str:
        """The key "user", "history", or one of the shard of `user`."""
        name = f"{what}:{user}" if what in ("user", "history") else what
        return self.keys.of_shard(self.keys.shard(user), name).decode()

    def neighbour(self, user: str = "bob") -> str:
        """Another user of the same shard."""
        shard = self.keys.shard(user)
        return next(name for name in map(str, range(1000)) if self.keys.shard(name) == shard)


@pytest.fixture
def foreign(shared: RedisServer, options: RedisOptions) -> Foreign:
    return Foreign(shared, options)


@asynccontextmanager
async def unbroken(options: RedisOptions) -> AsyncIterator[RedisBackend]:
    """A backend whose one session must last to the end."""
    async with open_redis(options) as backend:
        session = backend._link._session
        assert session is not None
        yield backend
        assert backend._link._session is session, session.failure


async def refused(backend: RedisBackend, user: str) -> str:
    """Why `user` cannot be read."""
    with pytest.raises(BackendError) as caught:
        await backend.get_user(user)
    assert caught.value.public_message == "Internal error in server"
    return str(caught.value.__cause__)


# --- one user ---------------------------------------------------------------------------------------------------------


async def test_deeply_nested_details_do_not_end_the_session(options: RedisOptions, foreign: Foreign) -> None:
    """The parser raises RecursionError, which is a RuntimeError, and coredis raises those for lost connections."""
    async with unbroken(options) as backend:
        await backend.set_user("bob", "Happy and well")
        foreign.command("HSET", foreign.key("user"), "details", DEEP)
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(backend.set_user, "alice", f"Status {number}")
                assert foreign.key("user") in await refused(backend, "bob")
        assert backend.stale_since() is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (("lasting", "nonsense"), "not a status"),
        (("lasting", "17 - x", "passing", "17 later x"), "not a status"),
        (("lasting", f"{10**300} - x"), "not a status"),  # too large for a datetime
        (("lasting", "17 - x", "details", "[]"), "details that are not an object"),
        (("lasting", "17 - x", "details", '{"a": "\\ud800"}'), "lone surrogates"),
    ],
)
async def test_a_malformed_user_fails_alone_with_the_key_in_the_log(
    options: RedisOptions, foreign: Foreign, fields: tuple[str, ...], reason: str
) -> None:
    async with unbroken(options) as backend:
        foreign.command("HSET", foreign.key("user"), *fields)
        cause = await refused(backend, "bob")
        assert foreign.key("user") in cause
        assert reason in cause
        await backend.set_user("alice", "In the garden")
        info = await backend.set_user("bob", "Back again")
        assert info.status == "Back again"


async def test_a_key_of_another_type_fails_alone(options: RedisOptions, foreign: Foreign) -> None:
    async with unbroken(options) as backend:
        foreign.command("SET", foreign.key("user"), "text")
        assert f"{foreign.key('user')}: it is not of the type" in await refused(backend, "bob")
        with pytest.raises(BackendError, match="nothing was set"):
            await backend.set_user("bob", "Happy and well")
        await backend.set_user("alice", "In the garden")


@pytest.mark.parametrize("field", ["lasting", "details"])
async def test_a_value_of_20_megabytes_is_refused_and_never_transferred(
    options: RedisOptions, foreign: Foreign, field: str
) -> None:
    def sent() -> int:
        match = re.search(r"total_net_output_bytes:(\d+)", foreign.info("stats"))
        assert match is not None
        return int(match[1])

    async with unbroken(options) as backend:
        await backend.set_user("bob", "Happy and well")
        foreign.command("HSET", foreign.key("user"), field, f"17 - {LARGE}")
        before = sent()
        assert f"{foreign.key('user')}: it has 200" in await refused(backend, "bob")
        await backend.set_user("bob", "Back again")
        assert sent() - before < 100_000
    foreign.command("DEL", foreign.key("user"))


async def test_a_profile_that_could_not_be_read_again_is_refused(options: RedisOptions) -> None:
    async with unbroken(options) as backend:
        with pytest.raises(BackendError, match="longer than"):
            await backend.set_details("bob", None, {"project": "x" * 40_000})
        await backend.set_details("bob", "x" * 100, {"project": "x" * 32_000})
        await backend.set_user("bob", "y" * 16_384)
        await backend.set_user("bob", "z" * 16_384, until=datetime.now(UTC) + HOUR)
        info = await backend.get_user("bob")
        assert info is not None
        assert len(info.details["project"]) == 32_000


async def test_an_unreadable_profile_does_not_stop_a_set(options: RedisOptions, foreign: Foreign) -> None:
    async with unbroken(options) as backend:
        foreign.command("HSET", foreign.key("user"), "details", DEEP, "last", "1e300")
        info = await backend.set_user("bob", "Happy and well")
        assert (info.status, info.details) == ("Happy and well", {})
        later = await backend.set_user("bob", "Back soon", until=datetime.now(UTC) + HOUR)
        assert info.since is not None
        assert later.since is not None
        assert info.since < later.since < datetime.now(UTC) + HOUR


async def test_history_skips_what_is_no_status(options: RedisOptions, foreign: Foreign) -> None:
    async with unbroken(options.model_copy(update={"history_days": 1.0})) as backend:
        await backend.set_user("bob", "one")
        for junk in ("nonsense", "17", f"{10**300} - x", "17 later x", "17 - " + "x" * 20_000, "99 - two"):
            foreign.command("LPUSH", foreign.key("history"), junk)
        foreign.command("RPUSH", foreign.key("history"), "nonsense")
        foreign.command(
            "EVAL", "redis.call('LPUSH', KEYS[1], '17 - ' .. string.char(255))", "1", foreign.key("history")
        )
        assert [info.status for info in await backend.get_history("bob", 10)] == ["one"]
        await backend.set_user("bob", "three")
        assert [info.status for info in await backend.get_history("bob", 10)] == ["three", "one"]


# --- the keys of a shard ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["history", "users", "passing"])
async def test_a_set_is_refused_whole_if_one_of_its_keys_has_another_type(
    options: RedisOptions, foreign: Foreign, what: str
) -> None:
    """Redis does not undo what a script wrote before it failed, so it must not begin."""
    async with unbroken(options) as backend:
        foreign.command("SET", foreign.key(what), "text")
        with pytest.raises(BackendError, match="nothing was set") as caught:
            await backend.set_user("bob", "Happy and well")
        assert f"{foreign.key(what)}: it is a string" in str(caught.value.__cause__)
        assert await backend.get_user("bob") is None
        assert foreign.command("EXISTS", foreign.key("user"), foreign.key("count"), foreign.key("changes")) == b":0"


@pytest.mark.parametrize(
    ("what", "junk", "reason"),
    [
        ("count", ("SET", "many"), "it is not a whole number"),
        ("count", ("SET", str(2**63 - 1)), "it is not a whole number"),
        ("count", ("RPUSH", "x"), "it is a list"),
        ("changes", ("SET", "x"), "it is a string"),
    ],
)
async def test_changes_that_cannot_be_followed_are_an_outage_that_names_the_key(
    options: RedisOptions,
    foreign: Foreign,
    caplog: pytest.LogCaptureFixture,
    what: str,
    junk: tuple[str, str],
    reason: str,
) -> None:
    command, value = junk
    async with open_redis(options) as backend:
        await backend.set_user("bob", "Happy and well")
        await backend.get_user("bob")
        foreign.command("DEL", foreign.key(what))
        foreign.command(command, foreign.key(what), value)
        await until(lambda: backend.stale_since() is not None)
        await until(lambda: f"{foreign.key(what)}: {reason}" in caplog.text)
        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match=reason), flatten_subgroups=True):
            async with open_redis(options):
                pytest.fail("opened")
        foreign.command("DEL", foreign.key(what))
        await until(lambda: backend.stale_since() is None)
        await backend.set_user("bob", "Back again")


@pytest.mark.parametrize(
    "entry",
    [
        ("foo", "bar"),
        ("n", "999999", "u", "bob", "l", "1", "s", "-", "t", "-"),
        ("n", "x", "u", "bob", "l", "1", "s", "-", "t", "-"),
        ("n", "3", "u", "bob", "l", "1", "s", str(10**300), "t", "-"),
    ],
)
async def test_a_junk_change_is_skipped_and_all_answers_are_dropped(
    options: RedisOptions, foreign: Foreign, caplog: pytest.LogCaptureFixture, entry: tuple[str, ...]
) -> None:
    async with unbroken(options) as backend, backend.changes() as feed:
        await backend.set_user("bob", "one")
        assert await anext(feed) == Change("bob")
        foreign.command("XADD", foreign.key("changes"), "*", *entry)
        with trio.fail_after(RECOVERY):
            assert await anext(feed) == Change(None)
        await backend.set_user("bob", "two")
        assert await anext(feed) == Change("bob")
        async with unbroken(options) as other:  # a node that starts with the junk at the end of the stream
            foreign.command("XADD", foreign.key("changes"), "*", *entry)
            await other.set_user("alice", "In the garden")
    if entry[0] == "foo":
        assert foreign.key("changes") in caplog.text


async def test_used_up_ids_of_a_change_stream_lose_no_change(options: RedisOptions, foreign: Foreign) -> None:
    """Redis cannot add an entry after the last possible id, so the stream is deleted, and its readers start over."""
    impatient = options.model_copy(update={"heartbeat": 0.1, "timeout": 1.0})
    async with open_redis(impatient) as backend, open_redis(impatient) as other, other.changes() as feed:
        foreign.command("XADD", foreign.key("changes"), f"{2**64 - 1}-{2**64 - 1}", "foo", "bar")
        with trio.fail_after(RECOVERY):
            assert await anext(feed) == Change(None)
            await backend.set_user("bob", "Happy and well")
            assert await anext(feed) == Change(None)
            await backend.set_user("bob", "Back again")
            assert await anext(feed) == Change("bob")


async def test_junk_among_the_temporary_statuses_is_removed_and_ends_nothing_else(
    options: RedisOptions, foreign: Foreign
) -> None:
    neighbour = foreign.neighbour()
    async with unbroken(options) as backend:
        await backend.set_user("bob", "Until later", until=datetime.now(UTC) + HOUR)
        passing = foreign.key("passing")
        foreign.command("SET", foreign.key("user", "x"), "not a hash")
        for score, member in (
            ("0", "bob"),
            ("-inf", "nobody"),
            ("0", "alice"),
            ("0", "x"),
            ("inf", "never"),
            ("0", DEEP),
        ):
            foreign.command("ZADD", passing, score, member)
        foreign.command("EVAL", "redis.call('ZADD', KEYS[1], 0, string.char(255))", "1", passing)
        await backend.set_user(neighbour, "Passing by", until=datetime.now(UTC) + timedelta(seconds=0.1))
        await until(lambda: foreign.command("ZCARD", passing) == b":2")  # bob, at his time again, and "never"
        info = await backend.get_user("bob")
        assert info is not None
        assert info.status == "Until later"
        assert await backend.get_user(neighbour) is None
        assert float(foreign.command("ZSCORE", passing, "bob") == b"$1") == 0


# --- the layout -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("HSET", "version", "1", "shards", "1000000000"), "has 1000000000 shards; expected 1 to 1024"),
        (("HSET", "version", "1", "shards", "0"), "has 0 shards; expected 1 to 1024"),
        (("HSET", "version", "1"), "was not written by fingertrio"),
        (("SET", "text"), "it is a string, fingertrio expects a hash"),
    ],
)
async def test_a_layout_that_makes_no_sense_is_refused_at_the_start(
    options: RedisOptions, foreign: Foreign, command: tuple[str, ...], reason: str
) -> None:
    name, *rest = command
    foreign.command(name, layout_key(options.prefix).decode(), *rest)
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match=reason), flatten_subgroups=True):
        async with open_redis(options):
            pytest.fail("opened")
