"""Where things are in Redis: the names of the keys, and which of them share a hash slot. Pure.

Users are divided into shards by a hash of their names. All keys of a shard have the same hash tag, `{prefix:shard}`,
so they are in one slot of a cluster, and one script can set a status, list its user and tell of the change:

    {fingertrio:7}:user:moshez      hash    lasting, passing: the statuses; last: the latest `since`; name; details
    {fingertrio:7}:history:moshez   list    every status, newest first
    {fingertrio:7}:users            set     who has a status that lasts
    {fingertrio:7}:passing          zset    who has one that passes, by its `until`
    {fingertrio:7}:count            string  how many changes there were
    {fingertrio:7}:changes          stream  the latest of them, numbered by that count
    {fingertrio:0}:layout           hash    version, and shards: how many there are, as decided by who came first

A single server is laid out like a cluster, so that it can become one.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

LAYOUT_VERSION = 1


def layout_key(prefix: str) -> bytes:
    """The one key whose place depends on nothing that has to be read first."""
    return f"{{{prefix}:0}}:layout".encode()


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys under one prefix, with users divided into `shards`."""

    prefix: str
    shards: int

    def shard(self, user: str) -> int:
        """Where `user` belongs: the same on every machine, which Python's own hash is not."""
        return crc32(user.encode()) % self.shards

    def user(self, user: str) -> bytes:
        """The hash with the statuses that hold."""
        return self.of_shard(self.shard(user), f"user:{user}")

    def history(self, user: str) -> bytes:
        """The list with all statuses."""
        return self.of_shard(self.shard(user), f"history:{user}")

    def of_shard(self, shard: int, what: str) -> bytes:
        """One of the keys that a shard has once: "users", "passing", "count" or "changes"."""
        return f"{{{self.prefix}:{shard}}}:{what}".encode()
