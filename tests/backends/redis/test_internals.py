"""The private parts of coredis that we rely on are still there, and cancellation in a cluster loses no connection."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator

import coredis
import pytest
import trio
import trio.testing
from coredis._concurrency import Queue
from coredis.cluster._node import ClusterNodeLocation
from coredis.exceptions import RedisError
from coredis.pool import ClusterConnectionPool

from fingertrio.backends.redis.connect import connect
from fingertrio.backends.redis.internals import ClusterPool
from fingertrio.backends.redis.target import parse_target
from fingertrio.testing.redis_server import RedisServer, free_port, redis_installed, redis_over_tcp

INTERNALS = "fingertrio/backends/redis/internals.py"

# Seconds: the timeout of the pool, which no test reaches, and the longest that a test may wait.
TIMEOUT, SOON = 30.0, 5.0


@pytest.fixture(scope="module")
def node() -> Iterator[RedisServer]:
    """A cluster of one node. It reports its slots at once; these tests do not need it to answer requests for keys."""
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


@pytest.mark.parametrize(
    ("owner", "part", "parameters"),
    [
        (ClusterConnectionPool, "_get_connection_by_node", ["self", "node"]),
        (ClusterConnectionPool, "_make_node_connection", ["self", "node"]),
        (ClusterConnectionPool, "_node_pool", ["self", "location"]),
        (Queue, "append_nowait", ["self", "item"]),
    ],
)
def test_the_private_methods_of_coredis_are_as_expected(owner: type, part: str, parameters: list[str]) -> None:
    """These fail first, with a clear message, when an upgrade of coredis changes what internals.py overrides."""
    advice = f"coredis {coredis.__version__}: {owner.__name__}.{part} has changed; see {INTERNALS}"
    method = getattr(owner, part, None)
    assert method is not None, advice
    assert list(inspect.signature(method).parameters) == parameters, advice


def test_the_private_queue_of_waiters_is_as_expected() -> None:
    """`ClusterPool` wakes the waiters itself."""
    waiters = getattr(Queue[object](1), "_getters", None)
    advice = f"coredis {coredis.__version__}: Queue._getters has changed; see {INTERNALS}"
    assert isinstance(waiters, deque), advice


def test_the_logger_of_coredis_has_its_expected_name() -> None:
    assert importlib.import_module("coredis.connection._base").logger.name == "coredis", f"see {INTERNALS}"


def test_nothing_of_coredis_and_anyio_is_imported_late(node: RedisServer) -> None:
    """In a new process: privileges may be dropped between opening and the first request."""
    program = f"""
import sys, trio
from fingertrio.backends.redis import RedisOptions, open_redis

async def main():
    before = set(sys.modules)
    async with open_redis(RedisOptions(url="unix://{node.socket_path}")) as backend:
        try:
            await backend.set_user("moshez", "Happy and well")
        except Exception:
            pass
    print(*sorted(name for name in set(sys.modules) - before if name.startswith(("coredis", "anyio"))))

trio.run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [], "imported at first use; add these to _LATE_IMPORTS in internals.py"


@pytest.mark.parametrize("steps", range(1, 8))
async def test_a_cancelled_opening_of_a_connection_loses_no_place(pool: ClusterPool, steps: int) -> None:
    async def ask() -> None:
        try:
            pool.release(await pool.get_connection(the_node(pool)))
        except RedisError:  # how coredis reports a cancelled handshake
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


async def test_a_cancelled_wait_for_a_place_leaves_the_next_place_to_others(pool: ClusterPool) -> None:
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
