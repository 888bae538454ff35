"""Statuses shared by any number of nodes, in Redis or Valkey: a single server, sentinels, or a cluster.

    target.py     parses the URL
    options.py    the configuration options
    keys.py       key names, and which keys share a hash slot
    records.py    what is stored for a user, and the answer made from it
    changes.py    an entry of a change stream
    scripts.py    Lua scripts: the steps that must be atomic
    connect.py    makes connected coredis clients
    internals.py  everything that relies on private parts of coredis
    store.py      one method for each request to Redis
    role.py       whether the server is a primary or a replica
    link.py       the connection: dropped at its first failure, then reconnected
    follow.py     follows the change streams and detects gaps
    expiry.py     ends statuses at their `until`
    copies.py     last known answers, for use while Redis is unavailable
    backend.py    the backend contract, on top of all of these

Requires coredis: `pip install "fingertrio[redis]"`. The page for operators is docs/guide/scaling.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from fingertrio.backends.redis.backend import RedisBackend
from fingertrio.backends.redis.connect import tls_context
from fingertrio.backends.redis.options import RedisOptions

__all__ = ["RedisBackend", "RedisOptions", "open_redis"]


@asynccontextmanager
async def open_redis(options: RedisOptions) -> AsyncIterator[RedisBackend]:
    """Statuses in Redis or Valkey, shared by any number of nodes. Opens with a warning if Redis is unavailable.

    Raises:
        ValueError: Redis answered but rejected us, or its keys have a layout that this version does not know.
        OSError: a certificate or key file cannot be read.
    """
    backend = RedisBackend(options, tls_context(options))
    async with trio.open_nursery() as nursery:
        await nursery.start(backend.run)
        yield backend
        nursery.cancel_scope.cancel()
