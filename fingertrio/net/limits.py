"""How much one address, and everybody together, may hold open."""

from __future__ import annotations

import ipaddress
from collections import Counter


def limit_key(peer: str) -> str:
    """Whom a peer's address counts for: itself, or its /64 for IPv6, since that is what one subscriber is given.

    A socket for both families, as a service manager may pass one, shows IPv4 peers as ::ffff:192.0.2.1. They count as
    what they are: their /64 is everybody.
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
        total: how many there may be at once.
        per_address: how many of them one address (IPv6: one /64) may have. Unix sockets count for the total only.
    """

    def __init__(self, *, total: int, per_address: int) -> None:
        self.total = total
        self.per_address = per_address
        self._open = 0
        self._by_key: Counter[str] = Counter()

    def admit(self, peer: str) -> str | None:
        """Count one more connection of `peer`; or say, as a word for metrics, why it may not come in."""
        if self._open >= self.total:
            return "connections"
        key = limit_key(peer)
        if key and self._by_key[key] >= self.per_address:
            return "connections_per_address"
        self._open += 1
        self._by_key[key] += 1
        return None

    def release(self, peer: str) -> None:
        """One connection of `peer`, which was admitted, has ended."""
        key = limit_key(peer)
        self._open -= 1
        self._by_key[key] -= 1
        if not self._by_key[key]:
            del self._by_key[key]
