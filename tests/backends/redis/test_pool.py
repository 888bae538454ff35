"""Callers that are cancelled while a connection to a node of a cluster is made, or waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import trio
import trio.testing
from coredis.cluster._node import ClusterNodeLocation
from coredis.exceptions import RedisError

from fingertrio.backends.redis.connect import connect
from fingertrio.backends.redis.pool import ClusterPool
from fingertrio.backends.redis.target import parse_target
from fingertrio.testing.redis_server import RedisServer, free_port, redis_installed, redis_over_tcp

# Seconds that a connection is waited for, which no test does; and that nothing here may take.
TIMEOUT, SOON = 30.0, 5.0


@pytest.fixture(scope="module")
def node() -> Iterator[RedisServer]:
    """A cluster of one node. It tells its slots at once; that it answers no questions of keys yet is no matter here."""
    if not redis_installed():
        pytest.skip("needs redis-server (Debian package redis-server)")
    with redis_over_tcp("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        assert server.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == b"+OK"
        yield server


@pytest.fixture
async def pool(node: RedisServer) -> AsyncIterator[ClusterPool]:
    target = parse_target(f"redis+cluster://127.0.0.1:{node.port}")
    async with connect(target, timeout=TIMEOUT, tls=None) as (asking, _following):
        assert isinstance(asking.connection_pool, ClusterPool)
        yield asking.connection_pool


def the_node(pool: ClusterPool) -> ClusterNodeLocation:
    (node,) = pool.cluster_layout.nodes
    return node


@pytest.mark.parametrize("steps", range(1, 8))
async def test_who_is_cancelled_while_a_connection_is_made_costs_no_place(pool: ClusterPool, steps: int) -> None:
    async def ask() -> None:
        try:
            pool.release(await pool.get_connection(the_node(pool)))
        except RedisError:  # as which coredis tells of a cancelled handshake
            await trio.lowlevel.checkpoint_if_cancelled()

    for _ in range(2 * pool.max_connections):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    with trio.fail_after(SOON):
        taken = [await pool.get_connection(the_node(pool)) for _ in range(pool.max_connections)]
    assert len(set(taken)) == pool.max_connections
    for connection in taken:
        pool.release(connection)


async def test_who_is_cancelled_waiting_for_a_place_leaves_the_next_one_to_others(pool: ClusterPool) -> None:
    taken = [await pool.get_connection(the_node(pool)) for _ in range(pool.max_connections)]
    with trio.fail_after(SOON):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.get_connection, the_node(pool))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.get_connection, the_node(pool))
            await trio.testing.wait_all_tasks_blocked()
            pool.release(taken.pop())
