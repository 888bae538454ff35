"""Everything here that relies on private parts of coredis (and of anyio below it), with the reasons.

tests/backends/redis/test_internals.py fails with a message that names the part when an upgrade changes one of them.

**Late imports.** coredis and anyio import some modules at first use. By then the process may have dropped its
privileges and lost read access to them, so `preload` imports them early.

**Logging.** coredis logs every error that it also raises, a cancelled handshake even with its traceback. link.py logs
what is raised, once, so coredis's own logger is silenced.

**Cancellation in a cluster.** A session to a single server has its connections before the first request. In a cluster
a request can need a new connection: after a slot has moved, or a replica has taken over. Each node has a limited number
of places, and coredis 6.9 makes two mistakes when the task that opens a connection, or waits for a place, is cancelled:

- The place is returned after an error, but not after a cancellation. When all are lost, the node cannot be reached.
- The event of the cancelled waiter stays in the queue, so the next free place wakes it and no one else.

`ClusterPool` repairs both at once, without shielding the caller. Remove it when coredis does this itself.
"""

from __future__ import annotations

import logging
from importlib import import_module

import trio
from coredis.cluster._node import ClusterNodeLocation
from coredis.connection import ClusterConnection, TCPLocation
from coredis.pool import ClusterConnectionPool

_LATE_IMPORTS = ("anyio._backends._trio", "coredis.patterns.pipeline")


def preload() -> None:
    """Import what coredis and anyio would import at first use."""
    for module in _LATE_IMPORTS:
        import_module(module)


def silence_logger() -> None:
    """Keep coredis from logging errors that it raises as well."""
    logging.getLogger("coredis").setLevel(logging.CRITICAL)


class ClusterPool(ClusterConnectionPool):
    """The connection pool that connect.py passes to `RedisCluster`."""

    async def _get_connection_by_node(self, node: ClusterNodeLocation) -> ClusterConnection:
        try:
            return await super()._get_connection_by_node(node)
        except trio.Cancelled:
            # Wake all waiters: those that find no free place wait again.
            places = self._node_pool(TCPLocation(node.host, node.port))
            waiting = places._getters  # noqa: SLF001 -- coredis has no public way to wake them
            while waiting:
                waiting.popleft().set()
            raise

    async def _make_node_connection(self, node: ClusterNodeLocation) -> ClusterConnection:
        try:
            return await super()._make_node_connection(node)
        except trio.Cancelled:
            self._node_pool(TCPLocation(node.host, node.port)).append_nowait(None)
            raise
