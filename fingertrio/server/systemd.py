"""The service manager: sockets that it passes, and notifications to it (sd_listen_fds(3), sd_notify(3)).

Written by hand: the protocol is three environment variables and one datagram. Without a service manager every method
does nothing, so callers need not check.
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
    """A door cannot serve a passed socket; the message names the socket."""


def take_passed_sockets(environ: MutableMapping[str, str] = os.environ) -> dict[str, list[socket.socket]]:
    """The sockets that the service manager has bound, by name (FileDescriptorName= in the .socket unit).

    The variables are removed, so that no child process uses them.

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
                f'the socket "{name}" that the service manager passed is not a listening stream socket'
            )
        sock.setblocking(False)
        passed.setdefault(name, []).append(sock)
    return passed


class ServiceManager:
    """Notifies the service manager: READY, RELOADING, STOPPING, STATUS, and WATCHDOG while the event loop runs."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog = int(microseconds) / 1e6 if microseconds.isdigit() and is_ours and self._address else 0.0

    def ready(self, status: str) -> None:
        """All doors are open."""
        self._notify("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """The configuration is being reloaded; `ready` reports the end of it (Type=notify-reload)."""
        self._notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """No new clients are accepted."""
        self._notify("STOPPING=1", "STATUS=stopping")

    async def feed_watchdog(self) -> None:
        """Report that the event loop runs, twice in each WatchdogSec=, until cancelled."""
        if not self._watchdog:
            await trio.sleep_forever()
        while True:
            self._notify("WATCHDOG=1")
            await trio.sleep(self._watchdog / 2)

    def _notify(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # a service manager that does not read must not block the program
            sock.sendto("\n".join(lines).encode(), self._address)
