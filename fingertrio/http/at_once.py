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

    What the kernel does not take goes back into that buffer, from where the stream sends it before anything else. There
    is no public way to do this, so the private attributes of `trio.SSLStream` are used here, and nowhere else.
    """

    __slots__ = ("_socket", "_stream", "has_rest")

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._socket = stream.transport_stream.socket
        self.has_rest = False

    def send(self, data: bytes) -> bool:
        stream = self._stream
        if self.has_rest or not is_quiet(stream):
            return False
        stream._ssl_object.write(data)  # noqa: SLF001 -- see above; the buffer takes everything
        sealed = stream._outgoing.read()  # noqa: SLF001
        try:
            sent = os.write(self._socket.fileno(), sealed)
        except BlockingIOError:
            sent = 0
        if sent < len(sealed):
            stream._outgoing.write(memoryview(sealed)[sent:])  # noqa: SLF001
            self.has_rest = True
        return True

    async def finish(self) -> None:
        if self.has_rest:
            await self._stream._retry(lambda: None)  # noqa: SLF001 -- does nothing, and sends what is in the buffer
            self.has_rest = False


def is_quiet(stream: trio.SSLStream[trio.SocketStream]) -> bool:
    """Whether nothing that was encrypted earlier is on its way, or waits to be sent."""
    return not (
        stream._inner_send_lock.locked()  # noqa: SLF001
        or stream._outgoing.pending  # noqa: SLF001
        or stream._delayed_outgoing is not None  # noqa: SLF001 -- session tickets, until the first ordinary send
    )
