"""Hosts that queries may be forwarded to, as written in the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network


@dataclass(frozen=True, slots=True)
class ForwardTarget:
    """One entry of the list: a host name or a network of addresses, and the port if it is not 79."""

    host: str = ""
    network: IPv4Network | IPv6Network | None = None
    port: int | None = None


def parse_target(text: str) -> ForwardTarget:
    """Parse "tilde.town", "tilde.town:7979", "10.1.2.3", "10.0.0.0/8" or "[::1]:7979".

    Raises:
        ValueError: the text is none of these.
    """
    host, port = text, None
    head, colon, tail = text.rpartition(":")
    if colon and tail.isascii() and tail.isdigit() and (":" not in head or head.endswith("]")):
        host, port = head, int(tail)
    host = host.removeprefix("[").removesuffix("]").rstrip(".").lower()
    if not host or (port is not None and not 0 < port < 65536) or any(char.isspace() or char == "@" for char in host):
        raise ValueError(
            f'"{text}" is not a host: expected "tilde.town", "tilde.town:7979", "10.1.2.3" or "10.0.0.0/8"'
        )
    try:
        return ForwardTarget(network=ip_network(host), port=port)
    except ValueError:
        if "/" in host or ":" in host:
            raise ValueError(f'"{text}" is not an address and not a network') from None
    return ForwardTarget(host=host, port=port)
