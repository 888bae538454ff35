"""What an operator wants of one webhook, as the front end needs it. Made from the configuration by `door`."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from fingertrio.clients.dial import Address, is_public
from fingertrio.wire.http_url import HTTPURL
from fingertrio.wire.irc_masks import matches
from fingertrio.wire.webhook import SigningSecret

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """One receiver; docs/reference/configuration.md has the meaning of each key.

    Attributes:
        secrets: the current one first.
        users: patterns of the users whose changes are sent.
        allow: networks that are allowed although they are not public.
        ssl_context: the trusted certificates; None: the URL is http.
    """

    name: str
    url: HTTPURL
    secrets: tuple[SigningSecret, ...]
    users: tuple[str, ...] = ("*",)
    timeout: float = 15.0
    allow: Sequence[Network] = ()
    ssl_context: ssl.SSLContext | None = None

    @property
    def place(self) -> str:
        """The receiver for people: without the path, in which some receivers have a secret."""
        return f"{'https' if self.url.tls else 'http'}://{self.url.host_header}"

    def wants(self, user: str) -> bool:
        """Whether changes of `user` are sent."""
        return any(matches(pattern, user) for pattern in self.users)

    def allows(self, address: Address) -> bool:
        """Whether the connection may go to `address`: a public one, or one that the operator allowed.

        Without encryption only this machine is allowed. An IPv4 address within an IPv6 address counts as both.
        """
        plain = _embedded(address)
        if not self.url.tls:
            return plain.is_loopback
        return is_public(address) or any(
            each in network for network in self.allow for each in (address, plain) if each.version == network.version
        )


def _embedded(address: Address) -> Address:
    """The IPv4 address of a mapped one (::ffff:0:0/96); others as they are."""
    mapped = address.ipv4_mapped if address.version == 6 else None
    return address if mapped is None else ip_address(mapped)
