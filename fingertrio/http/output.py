"""Sending on one connection: each slice within a deadline, and all of them soon once the door is cancelled."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress

import trio

from fingertrio.http.tls import TlsStream
from fingertrio.http.traffic import Traffic

Stream = trio.SocketStream | TlsStream

# Bytes sent under one deadline.
_SLICE = 65536

# Parts of an answer that are joined to one send; larger ones would be copied for nothing.
_JOIN = 16384

# Seconds in which a client must take one slice: 2 kB/s, slower than any modem.
_SEND_DEADLINE = 30.0

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class Output:
    """The sending side of a connection.

    Args:
        traffic: of the door.
        sock: the socket of the connection.
        lose: called when nothing more can be sent.

    Attributes:
        lost: nothing more can be sent, or will be received.
    """

    def __init__(self, traffic: Traffic, sock: socket.SocketType, lose: Callable[[], None]) -> None:
        self._traffic = traffic
        self._socket = sock
        self._lock = trio.Lock()
        self._lose = lose
        self.lost = False

    def lose(self) -> None:
        """Send nothing more."""
        self.lost = True
        self._lose()

    def reset(self, stream: trio.SocketStream) -> None:
        """Send nothing more, and make closing a reset: a truncated answer must not look complete."""
        with suppress(OSError):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.lose()

    def report(self, reason: str) -> None:
        """Count a refusal, unless the client is gone."""
        if not self.lost:
            self._traffic.observer.refused(self._traffic.door, reason)

    async def send(self, stream: Stream, *parts: bytes | memoryview) -> None:
        """Send the parts one after the other, without anything between them. Drops them once the client is gone."""
        if sum(map(len, parts)) <= _JOIN:
            joined = b"".join(parts)
            if isinstance(stream, trio.SocketStream):
                joined = self._send_now(joined)
            if not joined:
                return
            parts = (joined,)
        traffic = self._traffic
        with traffic.shielded() as scope:
            async with self._lock:
                for data in parts:
                    for start in range(0, len(data), _SLICE):
                        if self.lost:
                            return
                        traffic.limit(scope, _SEND_DEADLINE)
                        try:
                            await stream.send_all(memoryview(data)[start : start + _SLICE])
                        except GONE:
                            self.lose()
        if scope.cancelled_caught:
            self.report("slow_reader")
            self.lose()

    def _send_now(self, data: bytes) -> bytes:
        """What is left of a small answer after the kernel took what it can take now, nearly always all of it.

        Without this, each answer costs a cancel scope, a lock and a checkpoint.
        """
        if not data or self.lost or self._lock.locked():
            return data
        try:
            return data[self._socket.send(data, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return data
        except OSError:
            self.lose()
            return b""
