"""A client of the setter protocol: sets a status on a fingertrio server."""

from __future__ import annotations

import os
import ssl

import trio

from fingertrio.clients.dial import connect
from fingertrio.clients.setter_blocking import (
    ANSWER_LIMIT,
    SetterError,
    check_answer,
    handshake_failed,
    no_answer,
    was_reset,
)
from fingertrio.wire.setter import encode_request

__all__ = ["ANSWER_LIMIT", "SetterError", "set_status"]


async def set_status(
    user: str,
    status: str,
    *,
    until: str | None = None,
    token: str | None = None,
    host: str = "",
    port: int = 0,
    path: str | os.PathLike[str] = "",
    tls: ssl.SSLContext | None = None,
    timeout: float = 10.0,
) -> None:
    """Set `user`'s status at `host` and `port`, or at the unix socket `path`. Returns when the server has set it.

    Args:
        user: whose status.
        status: lines separated by LF; empty: take the present one back.
        until: when it ends, in the words of `wire.when`.
        token: the proof, where one is needed.
        host: of the setter.
        port: of the setter.
        path: of its unix socket, instead of host and port.
        tls: speak TLS, and check that the server's certificate is for `host`.
        timeout: seconds for everything.

    Raises:
        ValueError: the name or the status cannot be sent.
        SetterError: the server rejected the request, or no answer came within `timeout` seconds.
        OSError: connecting to the unix socket failed.
        RemoteError: connecting to the host and port failed; see `clients.dial.connect`.
    """
    request = encode_request(user, status, until=until, token=token, ends=tls is not None)
    try:
        with trio.fail_after(timeout):
            stream = await trio.open_unix_socket(path) if path else await connect(host, port)
            async with stream:
                answer = await (_ask(stream, request) if tls is None else _ask_secured(stream, tls, host, request))
    except trio.TooSlowError:
        raise no_answer(timeout) from None
    except trio.BrokenResourceError:
        raise was_reset() from None
    check_answer(answer)


async def _ask(stream: trio.SocketStream, request: bytes) -> bytes:
    await stream.send_all(request)
    await stream.send_eof()
    return await _read_answer(stream)


async def _ask_secured(stream: trio.SocketStream, tls: ssl.SSLContext, host: str, request: bytes) -> bytes:
    secured = trio.SSLStream(stream, tls, server_hostname=host)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        raise handshake_failed(error.__cause__) from error
    async with secured:
        await secured.send_all(request)
        return await _read_answer(secured)


async def _read_answer(stream: trio.abc.ReceiveStream) -> bytes:
    answer = bytearray()
    while len(answer) <= ANSWER_LIMIT and (chunk := await stream.receive_some(ANSWER_LIMIT)):
        answer += chunk
    return bytes(answer)
