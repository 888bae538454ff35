"""Listening sockets.

All sockets are bound before any front end starts, so that a port in use ends the program with one clear message instead
of a service with a part missing. They stay open while a front end restarts.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fingertrio.net.address import Address

# More new connections than arrive between two rounds of the accept loop. The kernel caps it at net.core.somaxconn.
BACKLOG = 4096

# Seconds for which the kernel may withhold a connection that has sent nothing. Our own deadline for a query is 10 s.
DEFER_ACCEPT = 10

# Milliseconds after which the kernel drops a peer that acknowledges nothing. Accepted sockets inherit the option.
USER_TIMEOUT = 30_000

# By error number, and whether the address is a unix socket.
_REMEDIES = {
    (errno.EADDRINUSE, False): "another program listens there already",
    (errno.EADDRINUSE, True): "another program listens there already",
    (errno.EACCES, False): (
        "not permitted: ports below 1024 need root, CAP_NET_BIND_SERVICE, or a socket passed by systemd"
    ),
    (errno.EACCES, True): "not permitted: another user owns the directory or the existing socket",
    (errno.EPERM, True): "not permitted: socket_group is not a group of the user that starts the program",
    (errno.ENOENT, True): "the directory does not exist; create it first",
    (errno.EADDRNOTAVAIL, False): "this machine does not have this address",
}


@dataclass(frozen=True, slots=True)
class SocketAccess:
    """Who may connect to a unix socket: those who may write to its file (unix(7)).

    Attributes:
        mode: of the file, whatever the umask.
        uid: its owner; -1: the process's user.
        gid: its group; -1: the process's group.
    """

    mode: int = 0o600
    uid: int = -1
    gid: int = -1


PRIVATE = SocketAccess()


class BindError(Exception):
    """Listening on an address failed. The message names the address and the cause, with a remedy where one is known."""

    def __init__(self, address: Address, error: OSError | ValueError) -> None:
        reason = str(error)
        if isinstance(error, OSError):
            # The resolver's error numbers are not those of errno; its texts are right.
            reason = _REMEDIES.get((error.errno or 0, address.path is not None)) or error.strerror or reason
        super().__init__(f"cannot listen on {address}: {reason}")
        self.address = address


def bind(address: Address, access: SocketAccess = PRIVATE) -> list[socket.socket]:
    """Listening, non-blocking sockets for one address: several if a host name has several addresses.

    Args:
        address: port 0 binds a free port; `address_of` returns it.
        access: who may connect, if it is a unix socket.

    Raises:
        BindError: listening failed. No socket stays open.
    """
    sockets: list[socket.socket] = []
    try:
        if address.path is not None:
            sockets.append(_bind_unix(os.fspath(address.path), access))
            return sockets
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, place in dict.fromkeys((entry[0], entry[4]) for entry in found):
            sockets.append(sock := socket.socket(family, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # IPv4 addresses have sockets of their own
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(place)
            sock.listen(BACKLOG)
            sock.setblocking(False)
    except (OSError, ValueError) as error:  # ValueError: not a possible host name or path
        close_all(sockets)
        raise BindError(address, error) from error
    return sockets


def tune(sock: socket.socket, *, defer_accept: bool) -> None:
    """Set the options that accepted connections inherit. `sock` may come from `bind` or from a service manager.

    Args:
        sock: the listening socket.
        defer_accept: the kernel passes on only connections that have sent data (TCP_DEFER_ACCEPT). For protocols where
            the client sends first.
    """
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)
        # Every answer is sent whole. Without this, one of several in a row waits for the acknowledgement of the last.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if defer_accept:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_ACCEPT)


def _bind_unix(path: str, access: SocketAccess) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        _bind_with(sock, path, access)
        sock.setblocking(False)
    except (OSError, ValueError):
        sock.close()
        raise
    return sock


def _bind_with(sock: socket.socket, path: str, access: SocketAccess) -> None:
    """Bind with these permissions: at no moment can others connect."""
    os.fchmod(sock.fileno(), access.mode)  # the mode of the file that `bind` makes
    umask = os.umask(0)
    try:
        sock.bind(path)
    finally:
        os.umask(umask)
    try:
        os.chown(path, access.uid, access.gid, follow_symlinks=False)
        sock.listen(BACKLOG)
    except OSError:
        Path(path).unlink()
        raise


def _remove_stale(path: str) -> None:
    """Remove the socket file of an earlier program. Refuse if a program listens, or if it is not a socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "a file with this name exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
        except BlockingIOError:  # the backlog is full: a program listens
            pass
    raise OSError(errno.EADDRINUSE, "in use")


def address_of(sock: socket.socket) -> str:
    """The address on which a socket listens, in the notation of `parse_address`."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return f"unix:{name}"


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Close listening sockets and remove the files of unix sockets."""
    for sock in sockets:
        if sock.family == socket.AF_UNIX and sock.fileno() >= 0 and (path := sock.getsockname()):
            with suppress(OSError):  # already removed, or removal is no longer permitted
                Path(path).unlink()
        sock.close()
