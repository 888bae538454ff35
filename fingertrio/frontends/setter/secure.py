"""TLS on the setter's connections: the handshake, a hint for clients that speak plain text, and an orderly close.

Without TLS a client ends its request with the end of its input. Over TLS few clients can do that and still read the
answer, so the protocol has an `end:` line. A connection that ends without TLS's own close was cut off by somebody else:
it is an error, not the end of a request.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

import trio

from fingertrio.http.tls import unsent_alert
from fingertrio.net.connection import Connection
from fingertrio.wire import ProtocolError

Secured = trio.SSLStream[trio.SocketStream]

# RFC 8446 section 5.1: the first byte of a record with a handshake message. No user name starts with it.
_HANDSHAKE = b"\x16"

_CLOSE = 2.0  # seconds to wait for the client's own close, as `net.linger` does


class HandshakeError(Exception):
    """The handshake failed. The client has been sent the reason, in the terms of TLS."""


async def secure(connection: Connection, context: ssl.SSLContext) -> Secured:
    """The connection under TLS, after its handshake. The caller sets the deadline.

    Raises:
        ProtocolError: the client speaks plain text. The message can be sent to it as it is.
        HandshakeError: the handshake failed.
    """
    stream = connection.stream
    await trio.lowlevel.wait_readable(connection.socket)
    with suppress(OSError):  # the handshake meets it again
        if connection.socket.recv(1, socket.MSG_PEEK) not in {b"", _HANDSHAKE}:
            raise ProtocolError("this address speaks TLS only; a token that was sent in plain text must be revoked")
    secured = trio.SSLStream(stream, context, server_side=True)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(unsent_alert(secured))
        raise HandshakeError from error
    return secured


async def finish(stream: Secured, answer: bytes, deadline: float) -> None:
    """Send the answer within `deadline` seconds and close TLS. The socket stays open, for `net.linger`."""
    with suppress(trio.BrokenResourceError):  # the client is gone, or does not close TLS itself
        with trio.move_on_after(deadline):
            await stream.send_all(answer)
        with trio.move_on_after(_CLOSE):
            await stream.unwrap()
