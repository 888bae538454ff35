"""Limits: open connections, in total and per address, and requests per address."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Sequence
from math import inf

from fingertrio.net.address import Network, parse_ip, plain_network

__all__ = ["ConnectionCaps", "Network", "RateLimiter", "limit_key"]

# Connections beyond a limit, in place of others that are about to be released: a burst of the accept loop. A connection
# that was chosen because it was idle may live on, if its client sends a request in this moment.
_BEYOND = 64


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

    Attributes:
        is_proxy: whether the connections of this address carry requests of many clients. They count for the total
            only, and the front end counts each request under the client's address (`admit_request`).
    """

    def __init__(self, *, total: int, per_address: int) -> None:
        self.total = total
        self.per_address = per_address
        self.is_proxy: Callable[[str], bool] | None = None
        self._open = 0
        self._by_key: Counter[str] = Counter()
        self._by_proxy: Counter[str] = Counter()  # counted as a proxy; the answer of `is_proxy` may change meanwhile

    def admit(self, peer: str, *, beyond: bool = False) -> str | None:
        """Count a connection of `peer` and return None, or return the limit that refuses it, as a metrics label.

        Args:
            peer: the address.
            beyond: admit it a little beyond the limits, in place of a connection that is about to be released.
        """
        if self._open >= self.total + _BEYOND * beyond:
            return "connections"
        if (reason := self.admit_request(peer, beyond=beyond)) is not None:
            return reason
        self._open += 1
        return None

    def admit_request(self, client: str, *, beyond: bool = False) -> str | None:
        """The same for a request that a proxy forwards for `client`: the total counts the proxy's connection."""
        if self.is_proxy is not None and self.is_proxy(client):
            self._by_proxy[client] += 1
            return None
        key = limit_key(client)
        if key and self._by_key[key] >= self.per_address + _BEYOND * beyond:
            return "connections_per_address"
        self._by_key[key] += 1
        return None

    def release(self, peer: str) -> None:
        """Count one admitted connection of `peer` less."""
        self._open -= 1
        self.release_request(peer)

    def release_request(self, client: str) -> None:
        """The same for a request admitted by `admit_request`."""
        counts, key = (self._by_proxy, client) if client in self._by_proxy else (self._by_key, limit_key(client))
        counts[key] -= 1
        if not counts[key]:
            del counts[key]


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
        self._exempt = [plain_network(network) for network in exempt]
        # Two generations: a request moves its address to the younger one. When that is full, it becomes the older one,
        # and the older one is dropped. A search for the quietest addresses would block the program for 100 ms.
        self._size = size // 2
        self._young = _Generation()
        self._old = _Generation()

    def adjust(self, *, rate: float, burst: float, exempt: Sequence[Network]) -> None:
        """Apply new limits from now on. Every address starts with a full bucket."""
        self._rate, self._burst, self._exempt = rate, burst, [plain_network(network) for network in exempt]
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
        address = parse_ip(peer)
        return address is not None and any(address in network for network in self._exempt)
