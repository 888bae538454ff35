"""Key names in Redis, and which keys share a hash slot. Pure.

Users are divided into shards by a hash of their names. All keys of a shard have the same hash tag, `{prefix:shard}`,
so a cluster keeps them in one slot, and one script can set a status, update the list and publish the change:

    {fingertrio:7}:user:moshez      hash    lasting, passing: the statuses; last: the latest `since`; name; details
    {fingertrio:7}:history:moshez   list    all statuses, newest first
    {fingertrio:7}:users            set     users with a status without end
    {fingertrio:7}:passing          zset    users with a temporary status, by its `until`
    {fingertrio:7}:recent           zset    users with a status, by minus its `since`; "" by minus the count of changes
    {fingertrio:7}:count            string  the number of changes so far
    {fingertrio:7}:changes          stream  the latest changes, numbered by that count
    {fingertrio:0}:tokens           string  the tokens of all servers, one JSON document
    {fingertrio:0}:layout           hash    version, and shards: how many, as the first node decided

A single server has the same layout as a cluster, so that it can become one.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

LAYOUT_VERSION = 1
SHARDS_LIMIT = 1024


def layout_key(prefix: str) -> bytes:
    """The key whose name must not depend on the layout, because it describes the layout."""
    return f"{{{prefix}:0}}:layout".encode()


def tokens_key(prefix: str) -> bytes:
    """The document with the tokens (`fingertrio.accounts`)."""
    return f"{{{prefix}:0}}:tokens".encode()


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys under one prefix, with users divided into `shards`."""

    prefix: str
    shards: int

    def shard(self, user: str) -> int:
        """The shard of `user`, equal on every machine; Python's own hash differs for each process."""
        return crc32(user.encode()) % self.shards

    def user(self, user: str) -> bytes:
        """The hash with the user's current statuses."""
        return self.of_shard(self.shard(user), f"user:{user}")

    def history(self, user: str) -> bytes:
        """The list of the user's statuses."""
        return self.of_shard(self.shard(user), f"history:{user}")

    def of_shard(self, shard: int, what: str) -> bytes:
        """A key that exists once for each shard: "users", "passing", "recent", "count" or "changes"."""
        return f"{{{self.prefix}:{shard}}}:{what}".encode()
