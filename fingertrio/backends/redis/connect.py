"""Makes connected coredis clients for a target.

Clients are never repaired. After the first failure of any connection all of them are closed and made again (link.py),
because the recovery inside coredis 6.9 is not reliable: a pool loses a place for each connection that breaks during a
blocking command, or whose opening is cancelled, and hangs when no place is left; a subscription is renewed once only; a
retried write may have been carried out before. So retries are off, and no pool outlives a failure. A cancelled call is
not a failure; where it could cost a place, in a cluster, internals.py repairs that.

There are two clients. Requests share the connection of the first, where replies arrive in the order of the requests.
The second follows the changes: its connections are blocked nearly all the time.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from coredis import Redis, RedisCluster, Sentinel
from coredis.client import Client
from coredis.connection import TCPLocation
from coredis.retry import NoRetryPolicy

from fingertrio.backends.redis.internals import ClusterPool, preload, silence_logger
from fingertrio.backends.redis.options import RedisOptions
from fingertrio.backends.redis.target import RedisTarget

preload()
silence_logger()

# Connections for requests. One is enough once it is open; the others serve requests that arrive while it is opened.
_REQUEST_CONNECTIONS = 8

# In a cluster each shard is followed on its own connection, and one node may hold them all (options.py: 1024).
_FOLLOWING_CONNECTIONS = {"server": 1, "sentinel": 1, "cluster": 1024}


def tls_context(options: RedisOptions) -> ssl.SSLContext | None:
    """The TLS settings, or None for a plain connection. The certificate and the host name are always verified.

    Raises:
        OSError: a file cannot be read, or contains no certificate.
    """
    if not options.target.tls:
        return None
    context = ssl.create_default_context(cafile=options.ca_file)
    if options.cert_file is not None:
        context.load_cert_chain(options.cert_file, options.key_file)
    return context


@asynccontextmanager
async def connect(
    target: RedisTarget, *, timeout: float, tls: ssl.SSLContext | None
) -> AsyncIterator[tuple[Client[bytes], Client[bytes]]]:
    """A client for requests and one for following changes.

    A single server is connected to at the first request, a cluster at once.

    Args:
        target: the server, sentinels or cluster.
        timeout: seconds for each connection to open.
        tls: from `tls_context`.
    """
    async with AsyncExitStack() as stack:
        clients = []
        for connections in (_REQUEST_CONNECTIONS, _FOLLOWING_CONNECTIONS[target.kind]):
            parameters: dict[str, Any] = {
                "connect_timeout": timeout,
                "max_connections": connections,
                "ssl_context": tls,
                "username": target.username,
                "password": target.password,
            }
            clients.append(await _enter(stack, target, timeout, parameters))
        yield clients[0], clients[1]


async def _enter(
    stack: AsyncExitStack, target: RedisTarget, timeout: float, parameters: dict[str, Any]
) -> Client[bytes]:
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
