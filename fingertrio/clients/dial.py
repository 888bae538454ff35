"""Opens a TCP connection to another server, at an address that a rule has allowed.

The name is resolved once, the rule checks each address, and the connection goes to one of the checked addresses. The
owner of the name cannot return one address to the check and another to the connection (DNS rebinding). IPv6 and IPv4
race, as RFC 8305 proposes. This module knows no protocol; the caller sets the deadline.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias, cast

import trio

Address: TypeAlias = IPv4Address | IPv6Address
AddressRule: TypeAlias = Callable[[Address], bool]
SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[SocketAddress]]]

# Seconds before the next address is tried in parallel: the value that RFC 8305 recommends.
HEAD_START = 0.25

# The owner of a name chooses its addresses and may list hundreds. A few attempts must not become a scan of a network.
MOST_ATTEMPTS = 6

# The resolver of the C library blocks for up to half a minute when no name server answers, and cannot be interrupted.
# It has a thread limit of its own, so that it cannot starve other users of threads.
_RESOLVER_THREADS = 10
_resolver_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("resolver_limiter")

# Not public: IANA's special-purpose registries, and multicast. Listed here because `ipaddress.is_global` changes
# between minor releases of Python.
_NOT_PUBLIC_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network; 0.0.0.0 reaches this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared between a provider and its customers; Alibaba's metadata service
            "127.0.0.0/8",
            "168.63.129.16/32",  # in a public block, but Azure's host agent
            "169.254.0.0/16",  # link-local; the metadata service of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation, like 198.51.100.0/24 and 203.0.113.0/24
            "192.88.99.0/24",  # 6to4 relays, deprecated
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved; broadcast
        ),
    )
)
# For IPv6, one block is allocated to the public, except these parts.
_PUBLIC_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, which contains an IPv4 address, benchmarks, ORCHID
            "2001:db8::/32",  # documentation, like 3fff::/20
            "2002::/16",  # 6to4, which contains an IPv4 address
            "3fff::/20",
        ),
    )
)
# Blocks whose last 32 bits are the IPv4 address of the connection: mapped addresses, and NAT64 (RFC 6052).
_IPV4_IN_V6 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))


class RemoteError(Exception):
    """The request to another server failed, or its answer is incomplete. The message is one line, for people.

    Attributes:
        received: the part of the answer that arrived. If you show it, say that it is incomplete.
    """

    def __init__(self, message: str, received: bytes = b"") -> None:
        super().__init__(message)
        self.received = received


class HostNotFoundError(RemoteError):
    """The host name has no address, or is not a host name."""


class AddressRefusedError(RemoteError):
    """The rule allows none of the host's addresses."""


class UnreachableError(RemoteError):
    """No address accepts the connection."""


def is_public(address: Address) -> bool:
    """Whether `address` belongs to the public internet: not to this host, its networks, its cloud or a multicast group.

    A rule for `connect`. For an IPv4 address inside an IPv6 address (mapped, NAT64), the IPv4 address decides. This
    function cannot recognise public addresses of this host, or a network's own NAT64 prefix: the operator must list
    these.
    """
    if isinstance(address, IPv6Address):
        if not any(address in block for block in _IPV4_IN_V6):
            return address in _PUBLIC_V6 and not any(address in block for block in _NOT_PUBLIC_V6)
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    return not any(address in block for block in _NOT_PUBLIC_V4)


async def resolve(host: str, port: int) -> list[SocketAddress]:
    """Every address of `host`, in the system's order of preference. For an address as text, no thread is needed.

    Raises:
        HostNotFoundError: there is none.
    """
    if not 0 < port < 65536:  # the C library would use it modulo 65536
        raise ValueError(f"{port} is not a port; expected 1 to 65535")
    try:
        return _getaddrinfo(host, port, socket.AI_NUMERICHOST)
    except HostNotFoundError:
        pass
    try:
        limiter = _resolver_limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(_RESOLVER_THREADS)
        _resolver_limiter.set(limiter)
    return await trio.to_thread.run_sync(_getaddrinfo, host, port, 0, abandon_on_cancel=True, limiter=limiter)


def _getaddrinfo(host: str, port: int, flags: int) -> list[SocketAddress]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except OSError as error:
        raise HostNotFoundError(f"{host}: {error.strerror}") from error
    except UnicodeError as error:  # a label that is empty, too long, or has unassigned characters
        raise HostNotFoundError(f"{host}: not a host name") from error
    # typeshed adds a third shape of address, tuple[int, bytes], for a Python built without IPv6.
    return [cast("SocketAddress", address) for *_, address in found]


async def connect(
    host: str, port: int, *, allow: AddressRule | None = None, resolve: Resolver = resolve
) -> trio.SocketStream:
    """A connection to `host`. The caller closes it.

    Args:
        host: a name, or an address as text.
        port: 1 to 65535.
        allow: returns whether connecting to an address is allowed. By default every address is.
        resolve: finds the addresses; for tests, and for programs with a resolver of their own.

    Raises:
        HostNotFoundError: `host` has no address, or is not a host name.
        AddressRefusedError: `allow` rejects every address.
        UnreachableError: no address accepts the connection.
    """
    addresses = list(dict.fromkeys(await resolve(host, port)))
    if not addresses:
        raise HostNotFoundError(f"{host}: no address")
    if allow is not None:
        addresses = [address for address in addresses if allow(ip_address(address[0]))]
        if not addresses:
            raise AddressRefusedError(f"{host}: connecting to this address is not allowed")
    failures: list[OSError] = []
    stream = await _race(_alternate_families(addresses)[:MOST_ATTEMPTS], failures)
    if stream is None:
        reason = os.strerror(failures[0].errno or 0)
        raise UnreachableError(f"{host}: {reason}") from ExceptionGroup("every attempt failed", failures)
    return stream


def _alternate_families(addresses: list[SocketAddress]) -> list[SocketAddress]:
    """The first stays first, then IPv6 and IPv4 alternate: if one family does not work, it costs one head start."""
    first = [address for address in addresses if len(address) == len(addresses[0])]
    other = [address for address in addresses if len(address) != len(addresses[0])]
    alternating: list[SocketAddress] = []
    while first or other:
        alternating += first[:1] + other[:1]
        del first[:1], other[:1]
    return alternating


async def _race(addresses: list[SocketAddress], failures: list[OSError]) -> trio.SocketStream | None:
    """The first connection that succeeds. An attempt starts when the previous one failed or had its head start."""
    winner: trio.SocketStream | None = None

    async def attempt(address: SocketAddress, failed: trio.Event) -> None:
        nonlocal winner
        sock = trio.socket.socket(socket.AF_INET if len(address) == 2 else socket.AF_INET6, socket.SOCK_STREAM)
        try:
            await sock.connect(address)
            if winner is None:
                winner = trio.SocketStream(sock)
                nursery.cancel_scope.cancel()
        except OSError as error:
            failures.append(error)
            failed.set()
        finally:
            if winner is None or winner.socket is not sock:
                sock.close()

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(HEAD_START):
                    await failed.wait()
    except BaseException:  # cancelled by the caller at the moment of success
        if winner is not None:
            winner.socket.close()
        raise
    return winner
