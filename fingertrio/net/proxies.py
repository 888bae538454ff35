"""Trusted proxies: which they are, and for which client one of them connects (the PROXY protocol).

A door that is configured for the protocol expects the header from every trusted proxy, and from no other address:
nothing is guessed, and a client cannot give itself another address. docs/decisions/0027-who-sends-the-proxy-header.md
compares this with other servers.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address

import trio

from fingertrio.net.address import Network, parse_ip, plain_network
from fingertrio.wire.proxy import HEADER_LIMIT, ProxyHeader, ProxyHeaderError, read_header

UNIX = "unix"  # in a list of trusted proxies: every client of a Unix socket

# Seconds for the header. Proxies send it with the connection; a lost packet is sent again after one and three seconds.
HEADER_DEADLINE = 10.0

# Addresses whose answer is kept: reading one takes 3 us, and proxies come again and again. About 400 kB.
_KNOWN = 4096

_DONT_WAIT = int(socket.MSG_DONTWAIT)
_LOOK = _DONT_WAIT | int(socket.MSG_PEEK)


class TrustedProxies:
    """The proxies whose reports about their clients are believed.

    Args:
        entries: networks; and `UNIX` if proxies connect by a Unix socket.
    """

    def __init__(self, entries: Collection[Network | str] = ()) -> None:
        self._networks = [plain_network(entry) for entry in entries if not isinstance(entry, str)]
        self._known = {"": UNIX in entries}

    def includes(self, peer: str) -> bool:
        """Whether `peer` is a trusted proxy: an address, or "" for a client of a Unix socket."""
        known = self._known.get(peer)
        if known is None:
            if len(self._known) > _KNOWN:
                self._known = {"": self._known[""]}
            address = parse_ip(peer) if self._networks else None
            known = self._known[peer] = address is not None and self.include_address(address)
        return known

    def include_address(self, address: IPv4Address | IPv6Address) -> bool:
        """The same for a parsed address."""
        return any(address in network for network in self._networks)


def take_header(sock: socket.SocketType, taken: bytearray) -> ProxyHeader | None:
    """Take the header from a connection, and nothing that follows it: TLS or the front end reads on from there.

    Args:
        sock: non-blocking or not; this never waits.
        taken: what earlier calls have taken. This call adds to it.

    Returns:
        The header; None: the rest has not arrived yet.

    Raises:
        EOFError: the proxy has sent nothing, and closed the connection, as a health check may.
        ProxyHeaderError: it has sent something else.
        OSError: the connection is broken.
    """
    try:
        seen = sock.recv(HEADER_LIMIT - len(taken), _LOOK)
    except BlockingIOError:
        return None
    if not seen:
        if not taken:
            raise EOFError
        raise ProxyHeaderError("the connection ended within the PROXY header")
    header = read_header(bytes(taken) + seen)
    # Without the end of the header, all that is here belongs to it, and is taken: then it is possible to wait for more.
    taken += sock.recv(len(seen) if header is None else header.size - len(taken), _DONT_WAIT)
    return header


async def receive_header(sock: socket.SocketType, taken: bytearray) -> ProxyHeader:
    """The same, waiting for the rest for `HEADER_DEADLINE` seconds.

    Raises:
        trio.TooSlowError: it did not arrive in time.
        EOFError, ProxyHeaderError, OSError: see `take_header`.
    """
    with trio.fail_after(HEADER_DEADLINE):
        while True:
            await trio.lowlevel.wait_readable(sock.fileno())
            if (header := take_header(sock, taken)) is not None:
                return header
