"""Sends on a connection without waiting, where that is possible: most of a send that could wait is a task's wake-up.

A sender takes bytes whole or not at all. What the kernel had no room for is its *rest*, which leaves before anything
else: as long as there is one, the sender takes nothing more, and a task must await `finish`. Only one task at a time
may send on a connection, by whatever means, so its owner asks a sender only when no other send is under way.

An HTTP/2 stream has no sender: its windows and frames belong to the connection's task.
"""

from __future__ import annotations

import os
from typing import Protocol

import trio

from fingertrio.http.tls import TlsStream, encrypt, is_quiet, put_back, send_buffer
from fingertrio.http.upgrade import ByteStream


class Sender(Protocol):
    """Sends without waiting."""

    @property
    def has_rest(self) -> bool:
        """Whether `finish` has something to send."""
        ...

    def send(self, data: bytes) -> bool:
        """Take all of `data`, or nothing (False). Raises OSError if the connection has failed."""
        ...

    async def finish(self) -> None:
        """Send the rest. Raises what `send_all` of the stream raises."""
        ...


def sender_of(stream: ByteStream) -> Sender | None:
    """The sender of a connection; None: it has none."""
    if isinstance(stream, trio.SocketStream):
        return PlainSender(stream)
    if isinstance(stream, trio.SSLStream) and isinstance(stream.transport_stream, trio.SocketStream):
        return TLSSender(stream)
    return None


class PlainSender:
    """Over TCP or a unix socket."""

    __slots__ = ("_rest", "_stream")

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._rest: memoryview | None = None

    @property
    def has_rest(self) -> bool:
        return self._rest is not None

    def send(self, data: bytes) -> bool:
        if self._rest is not None:
            return False
        try:
            sent = os.write(self._stream.socket.fileno(), data)
        except BlockingIOError:
            return False
        if sent < len(data):
            self._rest = memoryview(data)[sent:]  # no copy: many connections may share the data
        return True

    async def finish(self) -> None:
        if (rest := self._rest) is not None:
            await self._stream.send_all(rest)
            self._rest = None


class TLSSender:
    """Over TLS: encrypts into the stream's own buffer, and sends what is there.

    What the kernel does not take goes back into that buffer, from where the stream sends it before anything else.
    """

    __slots__ = ("_socket", "_stream", "has_rest")

    def __init__(self, stream: TlsStream) -> None:
        self._stream = stream
        self._socket = stream.transport_stream.socket
        self.has_rest = False

    def send(self, data: bytes) -> bool:
        if self.has_rest or not is_quiet(self._stream):
            return False
        sealed = encrypt(self._stream, data)
        try:
            sent = os.write(self._socket.fileno(), sealed)
        except BlockingIOError:
            sent = 0
        if sent < len(sealed):
            put_back(self._stream, memoryview(sealed)[sent:])
            self.has_rest = True
        return True

    async def finish(self) -> None:
        if self.has_rest:
            await send_buffer(self._stream)
            self.has_rest = False
