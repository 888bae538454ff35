"""A pool of connections to a cluster that callers can be cancelled in.

To a single server a session has its connection before anybody asks, and callers make none. In a cluster they do: a
slot that was moved, or a replica that took over, leads whoever asks next to a node that nobody is connected to yet.
Each node has a number of places, taken while a connection is made. Two things go wrong in coredis 6.9 if its maker is
cancelled then, or one who waits for a place:

- the place is given back after an error, but not after a cancellation. When none is left, nobody gets to that node;
- who waited leaves his event behind, and the next place that comes free wakes that instead of one who still waits.

Both are mended here, at once and without shielding anybody: tests/backends/redis/test_pool.py fails without it. When
coredis does it by itself, this file goes, and with it the only methods of coredis that we override.
"""

from __future__ import annotations

import trio
from coredis.cluster._node import ClusterNodeLocation
from coredis.connection import ClusterConnection, TCPLocation
from coredis.pool import ClusterConnectionPool


class ClusterPool(ClusterConnectionPool):
    """Made by `RedisCluster`."""

    async def _get_connection_by_node(self, node: ClusterNodeLocation) -> ClusterConnection:
        try:
            return await super()._get_connection_by_node(node)
        except trio.Cancelled:
            # All who wait for a place are woken; those who find none wait on.
            waiting = self._node_pool(TCPLocation(node.host, node.port))._getters  # noqa: SLF001 -- nobody else can
            while waiting:
                waiting.popleft().set()
            raise

    async def _make_node_connection(self, node: ClusterNodeLocation) -> ClusterConnection:
        try:
            return await super()._make_node_connection(node)
        except trio.Cancelled:
            self._node_pool(TCPLocation(node.host, node.port)).append_nowait(None)
            raise
