"""From a target to connected clients of coredis, for as long as all goes well.

Nothing is mended here: after the first failure of any connection everything is left and made anew (link.py). That is
on purpose, for what coredis 6.9 does by itself cannot be relied upon: a pool loses a place for each connection that
breaks while a blocking command holds it, or that is being made while its maker is cancelled, and hangs when none is
left; a subscription comes back once; a retried write may have been carried out before. So there are no retries, and no
pool outlives a failure. A cancelled call is no failure: where it could cost a place, in a cluster, pool.py mends that.

There are two clients. One asks: whoever calls shares its connection, where replies come in the order of the questions.
The other follows the changes, and its connections are blocked nearly all the time.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any

from coredis import Redis, RedisCluster, Sentinel
from coredis.client import Client
from coredis.connection import TCPLocation
from coredis.retry import NoRetryPolicy

from fingertrio.backends.redis.options import RedisOptions
from fingertrio.backends.redis.pool import ClusterPool
from fingertrio.backends.redis.target import Target

# What coredis and anyio import when they are first used, by when privileges are dropped and it may be out of reach.
for _late in ("anyio._backends._trio", "coredis.patterns.pipeline"):
    import_module(_late)

# It logs what it also raises, even a cancelled handshake as an error with its traceback. What it raises is told once.
logging.getLogger("coredis").setLevel(logging.CRITICAL)

# Connections for questions. One is enough, as long as it is there; the others are for those who come while it is made.
_ASKING = 8

# In a cluster each shard is followed on a connection of its own, and one node may have them all (options.py: 1024).
_FOLLOWING = {"server": 1, "sentinel": 1, "cluster": 1024}


def tls_context(options: RedisOptions) -> ssl.SSLContext | None:
    """What a connection is secured with, if it is: verified always, the host's name included.

    Raises:
        OSError: a file cannot be read, or holds no certificate.
    """
    if not options.target.tls:
        return None
    context = ssl.create_default_context(cafile=options.ca_file)
    if options.cert_file is not None:
        context.load_cert_chain(options.cert_file, options.key_file)
    return context


@asynccontextmanager
async def connect(
    target: Target, *, timeout: float, tls: ssl.SSLContext | None
) -> AsyncIterator[tuple[Client[bytes], Client[bytes]]]:
    """A client that asks and one that follows. A server is connected to when it is first asked, a cluster at once.

    Args:
        target: where.
        timeout: seconds for each connection to be made.
        tls: how it is secured.
    """
    async with AsyncExitStack() as stack:
        made = []
        for connections in (_ASKING, _FOLLOWING[target.kind]):
            parameters: dict[str, Any] = {
                "connect_timeout": timeout,
                "max_connections": connections,
                "ssl_context": tls,
                "username": target.username,
                "password": target.password,
            }
            made.append(await _enter(stack, target, timeout, parameters))
        yield made[0], made[1]


async def _enter(stack: AsyncExitStack, target: Target, timeout: float, parameters: dict[str, Any]) -> Client[bytes]:
    locations = [TCPLocation(host, port) for host, port in target.hosts]
    retry = NoRetryPolicy()
    if target.kind == "cluster":
        return await stack.enter_async_context(
            RedisCluster(
                startup_nodes=locations,
                connection_pool_cls=ClusterPool,
                max_connections_per_node=True,
                pool_timeout=timeout,
                verify_version=False,
                retry_policy=retry,
                **parameters,
            )
        )
    if target.kind == "sentinel":
        sentinels = {"connect_timeout": timeout, "stream_timeout": timeout, "ssl_context": parameters["ssl_context"]}
        sentinel = await stack.enter_async_context(
            Sentinel(locations, sentinel_kwargs=sentinels, retry_policy=retry, **parameters, timeout=timeout)
        )
        return await stack.enter_async_context(sentinel.primary_for(target.service, db=target.db))
    host, port = target.hosts[0] if target.hosts else (None, None)
    return await stack.enter_async_context(
        Redis(
            host,
            port,
            target.db,
            unix_socket_path=target.path or None,
            pool_timeout=timeout,
            verify_version=False,
            retry_policy=retry,
            **parameters,
        )
    )
