"""Sockets that listen. All of them are bound before anything serves, so that a port that is taken ends the program with
one clear line instead of half a service; they stay open across the restarts of the front end that uses them.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from fingertrio.net.address import Address

# More than a burst of new connections between two turns of the accept loop; the kernel caps it at net.core.somaxconn.
BACKLOG = 4096

# Seconds that the kernel may keep a silent connection to itself before it hands it over all the same. Past our own
# deadline for a query (10 s) it would only be closed.
DEFER_ACCEPT = 10

# Milliseconds after which the kernel gives up on a peer that acknowledges nothing; inherited by accepted sockets.
USER_TIMEOUT = 30_000

# By error, and whether it is about a unix socket.
_REMEDIES = {
    (errno.EADDRINUSE, False): "another program listens there already",
    (errno.EADDRINUSE, True): "another program listens there already",
    (errno.EACCES, False): (
        "not permitted: ports below 1024 need root, CAP_NET_BIND_SERVICE, or a socket passed by systemd"
    ),
    (errno.EACCES, True): "not permitted: its directory, or a socket that is there, belongs to somebody else",
    (errno.ENOENT, True): "its directory does not exist",
    (errno.EADDRNOTAVAIL, False): "this machine has no such address",
}


class BindError(Exception):
    """An address cannot be listened at. The message names the address and, where we know one, the remedy."""

    def __init__(self, address: Address, error: OSError | ValueError) -> None:
        reason = str(error)
        if isinstance(error, OSError):
            # The error's own words, which for a host name are the resolver's: its numbers are not those of errno.
            reason = _REMEDIES.get((error.errno or 0, address.path is not None)) or error.strerror or reason
        super().__init__(f"cannot listen on {address}: {reason}")
        self.address = address


def bind(address: Address) -> list[socket.socket]:
    """Listening, non-blocking sockets for one address: one, or several where a name has several addresses.

    Args:
        address: port 0 takes a free port; `address_of` tells which.

    Raises:
        BindError: nothing is left open.
    """
    sockets: list[socket.socket] = []
    try:
        if address.path is not None:
            sockets.append(_bind_unix(os.fspath(address.path)))
            return sockets
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, place in dict.fromkeys((entry[0], entry[4]) for entry in found):
            sockets.append(sock := socket.socket(family, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # "[::]:79" means IPv6; IPv4 has an address of its own in the list
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(place)
            sock.listen(BACKLOG)
            sock.setblocking(False)
    except (OSError, ValueError) as error:  # ValueError: no host name or path could be written so
        close_all(sockets)
        raise BindError(address, error) from error
    return sockets


def tune(sock: socket.socket, *, defer_accept: bool) -> None:
    """Set what accepted connections inherit, on a listening socket of whatever origin.

    Args:
        sock: the listener.
        defer_accept: the kernel hands over only connections that have said something (TCP_DEFER_ACCEPT). For protocols
            in which the client speaks first.
    """
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
        if defer_accept:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT)


def _bind_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(path)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except (OSError, ValueError):
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """A socket file outlives its program. Remove one that nobody listens on, and nothing that is not a socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "a file that is no socket is in the way")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
        except BlockingIOError:  # its backlog is full: somebody is there
            pass
    raise OSError(errno.EADDRINUSE, "in use")


def address_of(sock: socket.socket) -> str:
    """Where a socket really listens, in the notation of `parse_address`."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return f"unix:{name}"


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Close listening sockets, and remove the files of those on the file system."""
    for sock in sockets:
        if sock.family == socket.AF_UNIX and sock.fileno() >= 0 and (path := sock.getsockname()):
            with suppress(OSError):  # somebody tidied up before us, or it is no longer ours to remove
                Path(path).unlink()
        sock.close()
