"""Notices that the server is a replica, as after a failover that made another server the primary.

A replica serves reads and refuses writes. What it serves may be out of date, without a limit if it lost its primary. A
cluster needs no such check: there a demoted node names its successor itself.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Literal, Protocol

import trio

_log = logging.getLogger(__name__)


class DemotedError(Exception):
    """The server that the sentinels report is a replica; they will soon report its successor."""


class HasRole(Protocol):
    """The part of `RedisStore` that is used here."""

    async def is_replica(self) -> bool: ...


class RoleCheck:
    """The role of the server, as far as it is known.

    Args:
        name: for log messages.
        kind: that of the target.

    Attributes:
        replica_since: since when it may be a replica: when it was last seen as a primary, or first seen at all. None:
            it is a primary.
    """

    def __init__(self, name: str, kind: Literal["server", "sentinel", "cluster"]) -> None:
        self._name = name
        self._kind = kind
        self._primary_at: datetime | None = None
        self.replica_since: datetime | None = None

    async def check(self, store: HasRole) -> None:
        """Ask the server. Raises DemotedError if a new connection can reach the primary."""
        if self._kind == "cluster":
            return
        replica = await store.is_replica()
        if replica and self._kind == "sentinel":
            raise DemotedError("the server that the sentinels report is a replica")
        if not replica:
            if self.replica_since is not None:
                _log.info("%s is a primary again; statuses can be set", self._name)
            self._primary_at, self.replica_since = datetime.now(UTC), None
        elif self.replica_since is None:
            self.replica_since = self._primary_at or datetime.now(UTC)
            _log.warning(
                "%s is a replica: no status can be set, and answers may be stale; `url` must name the primary, or the "
                "sentinels",
                self._name,
            )

    async def watch(self, store: HasRole, *, wait: float) -> None:
        """Check every `wait` seconds; never returns. A silent server is noticed by the heartbeat."""
        while True:
            await trio.sleep(wait)
            await self.check(store)
