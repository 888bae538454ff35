"""A TCP connection to another server, made to an address that was looked at first.

A name is resolved once, each address it has is shown to a rule, and the connection goes to exactly one of those that
passed: whoever owns the name cannot answer one thing to the question and another to the connection (DNS rebinding).
IPv6 and IPv4 race, as RFC 8305 proposes. Knows no protocol; the deadline is the caller's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

import trio

Address: TypeAlias = IPv4Address | IPv6Address
AddressRule: TypeAlias = Callable[[Address], bool]
SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[SocketAddress]]]

# Seconds an attempt has for itself before the next address is tried beside it: RFC 8305's recommendation.
HEAD_START = 0.25

# A name may have hundreds of addresses, and whoever owns it decides which; we knock on a few doors, not on a network's.
MOST_ATTEMPTS = 6

# The resolver of the C library blocks, for half a minute where no name server answers, and cannot be interrupted. Its
# threads are counted apart, so that they starve nobody but each other.
_RESOLVER_THREADS = 10
_resolver_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("resolver_limiter")

# What no finger server of the public internet has: IANA's special-purpose registries, and multicast. Spelled out, since
# what `ipaddress` calls global changes between minor releases of Python.
_NOT_PUBLIC_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network; 0.0.0.0 reaches this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared between a provider and its customers; Alibaba's metadata service
            "127.0.0.0/8",
            "168.63.129.16/32",  # looks public, is Azure's host agent
            "169.254.0.0/16",  # link-local; the metadata service of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation, as 198.51.100.0/24 and 203.0.113.0/24
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
# Here the other way round: one block is handed out to the public, and these parts of it are special.
_PUBLIC_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, which hides an IPv4 address, benchmarks, ORCHID
            "2001:db8::/32",  # documentation, as 3fff::/20
            "2002::/16",  # 6to4, which hides an IPv4 address
            "3fff::/20",
        ),
    )
)
# Blocks whose last 32 bits are the IPv4 address that is really reached: mapped ones, and NAT64 (RFC 6052).
_IPV4_IN_V6 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))


class RemoteError(Exception):
    """Another server could not be asked, or did not answer whole. The message is one line, for people.

    Attributes:
        received: what had arrived by then; who shows it should say that it is not all.
    """

    def __init__(self, message: str, received: bytes = b"") -> None:
        super().__init__(message)
        self.received = received


class HostNotFoundError(RemoteError):
    """The name has no address, or is no name."""


class AddressRefusedError(RemoteError):
    """The name has addresses, and the rule lets none of them pass."""


class UnreachableError(RemoteError):
    """Nobody accepts the connection."""


def is_public(address: Address) -> bool:
    """Whether `address` belongs to the public internet: not to this host, its networks, its cloud or a multicast group.

    A rule for `connect`. An IPv4 address inside an IPv6 one (mapped, NAT64) is judged as what it is. It cannot know
    that a public address is this host's own, nor a network's own prefix for NAT64: those are for an operator to list.
    """
    if isinstance(address, IPv6Address):
        if not any(address in block for block in _IPV4_IN_V6):
            return address in _PUBLIC_V6 and not any(address in block for block in _NOT_PUBLIC_V6)
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    return not any(address in block for block in _NOT_PUBLIC_V4)


async def resolve(host: str, port: int) -> list[SocketAddress]:
    """Every address of `host`, the system's favourite first. An address as text is its own answer and costs no thread.

    Raises:
        HostNotFoundError: there is none.
    """
    if not 0 < port < 65536:  # the C library would take it modulo 65536
        raise ValueError(f"{port} is no port")
    try:
        return _ask_library(host, port, socket.AI_NUMERICHOST)
    except HostNotFoundError:
        pass
    try:
        limiter = _resolver_limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(_RESOLVER_THREADS)
        _resolver_limiter.set(limiter)
    return await trio.to_thread.run_sync(_ask_library, host, port, 0, abandon_on_cancel=True, limiter=limiter)


def _ask_library(host: str, port: int, flags: int) -> list[SocketAddress]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except OSError as error:
        raise HostNotFoundError(f"{host}: {error.strerror}") from error
    except UnicodeError as error:  # no host name: a label that is empty, too long, or of unassigned characters
        raise HostNotFoundError(f"{host}: not a host name") from error
    # The library's third shape of an address is that of a Python built without IPv6.
    return [address for *_, address in found]  # type: ignore[misc]


async def connect(
    host: str, port: int, *, allow: AddressRule | None = None, resolve: Resolver = resolve
) -> trio.SocketStream:
    """A connection to `host`, which the caller closes.

    Args:
        host: a name, or an address as text.
        port: 1 to 65535.
        allow: may this address be connected to? By default any may.
        resolve: finds the addresses; for tests, and for programs that know better than the system's resolver.

    Raises:
        HostNotFoundError, AddressRefusedError, UnreachableError: as they say.
    """
    addresses = list(dict.fromkeys(await resolve(host, port)))
    if not addresses:
        raise HostNotFoundError(f"{host}: no address")
    if allow is not None:
        addresses = [address for address in addresses if allow(ip_address(address[0]))]
        if not addresses:
            raise AddressRefusedError(f"{host}: its address may not be asked from here")
    failures: list[OSError] = []
    stream = await _race(_by_turns(addresses)[:MOST_ATTEMPTS], failures)
    if stream is None:
        reason = os.strerror(failures[0].errno or 0)
        raise UnreachableError(f"{host}: {reason}") from ExceptionGroup("every attempt failed", failures)
    return stream


def _by_turns(addresses: list[SocketAddress]) -> list[SocketAddress]:
    """The first stays first, then the families alternate: one that is broken here costs one head start, not many."""
    first = [address for address in addresses if len(address) == len(addresses[0])]
    other = [address for address in addresses if len(address) != len(addresses[0])]
    turns: list[SocketAddress] = []
    while first or other:
        turns += first[:1] + other[:1]
        del first[:1], other[:1]
    return turns


async def _race(addresses: list[SocketAddress], failures: list[OSError]) -> trio.SocketStream | None:
    """The first connection that comes about; each attempt starts when the one before failed or had its head start."""
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
    except BaseException:  # cancelled from outside in the very moment of success
        if winner is not None:
            winner.socket.close()
        raise
    return winner
