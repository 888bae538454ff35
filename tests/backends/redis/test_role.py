"""A server that becomes a replica is noticed: reads are stale, a set is refused for certain."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
import trio
from trio.testing import MockClock

from fingertrio.backend import BackendError, Change
from fingertrio.backends.redis import RedisOptions, open_redis
from fingertrio.backends.redis.role import DemotedError, RoleCheck
from fingertrio.testing.redis_server import RedisServer
from tests.backends.redis.kit import RECOVERY, set_when_possible, until


class FakeServer:
    def __init__(self, *, replica: bool) -> None:
        self.replica = replica

    async def is_replica(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self.replica


async def test_answers_are_stale_since_the_server_was_last_seen_as_the_primary(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fingertrio")
    server, role = FakeServer(replica=False), RoleCheck("Redis", "server")
    before = datetime.now(UTC)
    await role.check(server)
    after = datetime.now(UTC)
    server.replica = True
    with trio.move_on_after(10):
        await role.watch(server, wait=1)
    since = role.replica_since
    assert since is not None
    assert before <= since <= after
    server.replica = False
    await role.check(server)
    assert not role.replica_since
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "Redis is a replica",
        "Redis is a primary again; statuses can be set",
    ]


async def test_a_replica_at_the_start_is_stale_since_then() -> None:
    role = RoleCheck("Redis", "server")
    await role.check(FakeServer(replica=True))
    assert role.replica_since is not None


async def test_behind_sentinels_a_replica_is_left_for_its_successor() -> None:
    role = RoleCheck("Redis", "sentinel")
    with pytest.raises(DemotedError):
        await role.check(FakeServer(replica=True))
    assert role.replica_since is None


async def test_a_cluster_is_not_asked() -> None:
    """There a demoted node refers every request to its successor."""
    role = RoleCheck("Redis", "cluster")
    await role.check(FakeServer(replica=True))
    assert role.replica_since is None


async def test_a_demoted_server_is_read_as_stale_and_refuses_sets_for_certain(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    options = RedisOptions(url=server.url, heartbeat=0.1)
    async with open_redis(options) as backend:
        await backend.set_user("moshez", "Happy and well")
        assert backend.stale_since() is None
        server.command("REPLICAOF", "127.0.0.1", "1")
        await until(lambda: backend.stale_since() is not None)
        await until(lambda: backend._link._session is not None)
        session = backend._link._session
        for _ in range(5):
            with pytest.raises(BackendError, match="nothing was set"):
                await backend.set_user("moshez", "Gone")
            info = await backend.get_user("moshez")
            assert info is not None
            assert info.status == "Happy and well"
        assert backend._link._session is session, "a refused set must not cut off the others"
        assert "is a replica: no status can be set" in caplog.text
        async with open_redis(options) as starting:
            assert starting.stale_since() is not None
        server.command("REPLICAOF", "NO", "ONE")
        await until(lambda: backend.stale_since() is None)
        await set_when_possible(backend, "moshez", "Back again")
        with trio.fail_after(RECOVERY):
            async with backend.changes() as feed:
                await backend.set_user("alice", "In the garden")
                assert await anext(feed) == Change("alice")


async def test_a_replica_without_its_primary_that_refuses_reads_is_unavailable(server: RedisServer) -> None:
    """With `replica-serve-stale-data no` it answers MASTERDOWN, and the copies here are as good as any."""
    async with open_redis(RedisOptions(url=server.url, heartbeat=0.1)) as backend:
        await backend.set_user("moshez", "Happy and well")
        await backend.get_user("moshez")
        server.command("CONFIG", "SET", "replica-serve-stale-data", "no")
        server.command("REPLICAOF", "127.0.0.1", "1")
        await until(lambda: backend._link._session is None)
        info = await backend.get_user("moshez")
        assert info is not None
        assert backend.stale_since() is not None
        with pytest.raises(BackendError):
            await backend.set_user("moshez", "Gone")
        server.command("REPLICAOF", "NO", "ONE")
        await until(lambda: backend.stale_since() is None)
