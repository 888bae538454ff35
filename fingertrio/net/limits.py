"""Limits: open connections, in total and per address, and requests per address."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence
from math import inf

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def limit_key(peer: str) -> str:
    """The key under which a peer is counted: an IPv4 address, or the /64 of an IPv6 address (one subscriber's share).

    A dual-stack socket shows IPv4 peers as ::ffff:192.0.2.1. They count by their IPv4 address: all of them share one
    /64.
    """
    if ":" not in peer:
        return peer
    try:
        address = ipaddress.IPv6Address(peer.partition("%")[0])
    except ValueError:
        return peer
    return str(address.ipv4_mapped or address.packed[:8].hex())


class ConnectionCaps:
    """Counts open connections.

    Args:
        total: the most connections at once.
        per_address: the most of one address (IPv6: one /64). Unix sockets count for the total only.
    """

    def __init__(self, *, total: int, per_address: int) -> None:
        self.total = total
        self.per_address = per_address
        self._open = 0
        self._by_key: Counter[str] = Counter()

    def admit(self, peer: str, *, beyond: bool = False) -> str | None:
        """Count a connection of `peer` and return None, or return the limit that refuses it, as a metrics label.

        Args:
            peer: the address.
            beyond: admit it beyond the limits, in place of a connection that is about to be released.
        """
        if self._open >= self.total and not beyond:
            return "connections"
        key = limit_key(peer)
        if key and self._by_key[key] >= self.per_address and not beyond:
            return "connections_per_address"
        self._open += 1
        self._by_key[key] += 1
        return None

    def release(self, peer: str) -> None:
        """Count one admitted connection of `peer` less."""
        key = limit_key(peer)
        self._open -= 1
        self._by_key[key] -= 1
        if not self._by_key[key]:
            del self._by_key[key]


class _Bucket:
    """The tokens of one address at the time `filled`."""

    __slots__ = ("filled", "tokens")

    def __init__(self, tokens: float, filled: float) -> None:
        self.tokens = tokens
        self.filled = filled


class _Generation:
    """Buckets by limit key, and by address as text, so that an address is not parsed for every query."""

    __slots__ = ("by_key", "by_peer")

    def __init__(self) -> None:
        self.by_key: dict[str, _Bucket] = {}
        self.by_peer: dict[str, _Bucket] = {}


class RateLimiter:
    """A token bucket for each address (IPv6: each /64).

    Args:
        rate: requests a second, sustained.
        burst: requests at once after a pause.
        exempt: networks without a limit.
        size: the most addresses remembered. Beyond that, those quiet longest start with a full bucket.
    """

    def __init__(self, *, rate: float, burst: float, exempt: Sequence[Network] = (), size: int = 65_536) -> None:
        self._rate = rate
        self._burst = burst
        self._exempt = exempt
        # Two generations: a request moves its address to the younger one. When that is full, it becomes the older one,
        # and the older one is dropped. A search for the quietest addresses would block the program for 100 ms.
        self._size = size // 2
        self._young = _Generation()
        self._old = _Generation()

    def adjust(self, *, rate: float, burst: float, exempt: Sequence[Network]) -> None:
        """Apply new limits from now on. Every address starts with a full bucket."""
        self._rate, self._burst, self._exempt = rate, burst, exempt
        self._young, self._old = _Generation(), _Generation()

    def allow(self, peer: str, now: float) -> bool:
        """Take one token of `peer`; False: none is left. Unix sockets (an empty `peer`) have no limit."""
        bucket = self._young.by_peer.get(peer)
        if bucket is None:
            bucket = self._bucket_of(peer, now)
        tokens = bucket.tokens + (now - bucket.filled) * self._rate
        if tokens > self._burst and tokens != inf:
            tokens = self._burst
        bucket.filled = now
        if tokens < 1.0:
            bucket.tokens = tokens
            return False
        bucket.tokens = tokens - 1.0
        return True

    def wait(self, peer: str, now: float) -> float:
        """Seconds until `peer` is allowed again."""
        bucket = self._find(peer)
        if bucket is None:
            return 0.0
        return max(0.0, (1.0 - bucket.tokens) / self._rate - (now - bucket.filled))

    def _find(self, peer: str) -> _Bucket | None:
        for generation in (self._young, self._old):
            if (bucket := generation.by_peer.get(peer)) is not None:
                return bucket
        if not peer or self._is_exempt(peer):
            return None
        key = limit_key(peer)
        return self._young.by_key.get(key) or self._old.by_key.get(key)

    def _bucket_of(self, peer: str, now: float) -> _Bucket:
        """Move the bucket of `peer` to the younger generation, or create it there, and return it."""
        if len(self._young.by_peer) >= self._size:
            self._old, self._young = self._young, _Generation()
        if not peer or self._is_exempt(peer):
            bucket = _Bucket(inf, now)  # stays infinite, whatever is taken from it
        else:
            key = limit_key(peer)
            bucket = self._young.by_key.get(key) or self._old.by_key.get(key) or _Bucket(self._burst, now)
            self._young.by_key[key] = bucket
        self._young.by_peer[peer] = bucket
        return bucket

    def _is_exempt(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address):
            address = address.ipv4_mapped or address
        return any(address in network for network in self._exempt)
