"""The service manager: sockets that it passes, and what it wants to be told (sd_listen_fds(3), sd_notify(3)).

Written by hand: the protocol is three environment variables and one datagram. Without a service manager every method
does nothing, so nobody has to ask whether there is one.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

import trio

_FIRST_PASSED = 3  # SD_LISTEN_FDS_START


class PassedSocketError(Exception):
    """A passed socket is not what a door can serve; the message names it."""


def take_passed_sockets(environ: MutableMapping[str, str] = os.environ) -> dict[str, list[socket.socket]]:
    """The sockets that the service manager has bound for us, by name (FileDescriptorName= in the .socket unit).

    The variables are removed, so that no child takes the sockets for its own.

    Raises:
        PassedSocketError: one of them is not a listening stream socket.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdigit():
        return {}
    passed: dict[str, list[socket.socket]] = {}
    for number in range(int(count)):
        name = names[number] if number < len(names) and names[number] else "unknown"
        sock = socket.socket(fileno=_FIRST_PASSED + number)
        os.set_inheritable(sock.fileno(), False)
        if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise PassedSocketError(
                f'the socket "{name}" that the service manager passed is no listening stream socket'
            )
        sock.setblocking(False)
        passed.setdefault(name, []).append(sock)
    return passed


class ServiceManager:
    """Tells the service manager how we are: READY, RELOADING, STOPPING, STATUS, and that the event loop turns."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog = int(microseconds) / 1e6 if microseconds.isdigit() and mine and self._address else 0.0

    def ready(self, status: str) -> None:
        """All doors are open."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` says when that is over (Type=notify-reload)."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Nothing new is taken any more."""
        self._tell("STOPPING=1", "STATUS=stopping")

    async def feed_watchdog(self) -> None:
        """Say for ever that the event loop turns, twice as often as is asked for (WatchdogSec=)."""
        if not self._watchdog:
            await trio.sleep_forever()
        while True:
            self._tell("WATCHDOG=1")
            await trio.sleep(self._watchdog / 2)

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # a manager that does not read must not stop us
            sock.sendto("\n".join(lines).encode(), self._address)
