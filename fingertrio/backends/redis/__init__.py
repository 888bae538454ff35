"""Statuses that any number of nodes share, in Redis or Valkey: one server, sentinels, or a cluster.

    target.py     which Redis a URL means
    options.py    what a configuration may say
    keys.py       where things are, and what shares a hash slot
    records.py    what is stored of a user, and what is answered from it
    scripts.py    what has to happen all at once
    connect.py    connected clients of coredis
    pool.py       what coredis's pool for clusters forgets when a caller is cancelled
    store.py      each question to Redis
    link.py       the connection: left at its first failure, and made anew
    follow.py     the changes, without a gap or knowing of it
    expiry.py     ending statuses when their time has come
    copies.py     what was last known, for when Redis is away
    backend.py    the contract, over all of these

It needs coredis: `pip install "fingertrio[redis]"`. docs/guide/scaling.md is the operator's page.
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
    """Statuses in Redis or Valkey, shared by any number of nodes. It opens, with a warning, while Redis is away, too.

    Raises:
        ValueError: Redis is there and refuses us, or what it holds is of a later version.
        OSError: a certificate or a key cannot be read.
    """
    backend = RedisBackend(options, tls_context(options))
    async with trio.open_nursery() as nursery:
        await nursery.start(backend.run)
        yield backend
        nursery.cancel_scope.cancel()
