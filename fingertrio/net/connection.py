"""An accepted connection, as a front end's handler gets it."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

import trio


class Connection:
    """An accepted connection. The server closes it when the handler returns (`net.linger`).

    Attributes:
        socket: the owner of the descriptor; replaced when `stream` is first used.
        peer: the address as text; empty for a unix socket.
        data: bytes already received.
        accepted: Trio's time at which the connection was accepted.
        kept: a `Keeper` has it: it stays open when the handler returns.
    """

    __slots__ = ("_stream", "accepted", "data", "kept", "peer", "socket")

    def __init__(self, sock: socket.SocketType, peer: str, data: bytes, accepted: float) -> None:
        self.socket = sock
        self._stream: trio.SocketStream | None = None
        self.peer = peer
        self.data = data
        self.accepted = accepted
        self.kept = False

    @property
    def stream(self) -> trio.SocketStream:
        """The connection as a Trio stream, created at first use: many answers do not need it."""
        if self._stream is None:
            bare = self.socket
            self.socket = sock = socket.socket(bare.family, bare.type, bare.proto, fileno=bare.detach())
            self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        return self._stream

    def forget_stream(self) -> None:
        """Free the stream; the connection stays open. The holder of the stream must no longer use it."""
        self._stream = None

    async def send(self, data: bytes, deadline: float) -> bool:
        """Send `data` within `deadline` seconds; False: the peer does not read, and the connection was reset.

        There is no checkpoint if the kernel takes everything at once.

        Raises:
            trio.BrokenResourceError: the peer is gone.
        """
        try:
            data = data[self.socket.send(data, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            pass
        except OSError as error:
            raise trio.BrokenResourceError from error
        if data:
            with trio.move_on_after(deadline) as scope:
                await self.stream.send_all(data)
            if scope.cancelled_caught:
                abort(self.socket)
                return False
        return True


def abort(sock: socket.SocketType) -> None:
    """Abort with RST: a truncated answer must not look complete, and the kernel must not keep the rest."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
