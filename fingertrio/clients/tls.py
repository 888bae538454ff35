"""TLS over a connection to another server, with its certificate verified against the name."""

from __future__ import annotations

import ssl

import trio

from fingertrio.clients.dial import RemoteError


class TLSError(RemoteError):
    """The server is not trusted, or does not speak TLS."""


async def start_tls(stream: trio.abc.Stream, host: str, context: ssl.SSLContext) -> trio.SSLStream[trio.abc.Stream]:
    """`stream`, encrypted. If this raises, `stream` is closed.

    Raises:
        TLSError: the certificate is not trusted, or not for `host`, or the server does not speak TLS.
    """
    secured = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await secured.do_handshake()
    except BaseException as error:
        await trio.aclose_forcefully(stream)
        if not isinstance(error, trio.BrokenResourceError):
            raise
        reason = getattr(error.__cause__, "verify_message", "") or "the server does not speak TLS"
        raise TLSError(f"{host}: {reason}") from error
    return secured
