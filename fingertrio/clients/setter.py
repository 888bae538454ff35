"""A client of the setter protocol: sets a status on a fingertrio server."""

from __future__ import annotations

import os

import trio

from fingertrio.clients.dial import connect
from fingertrio.wire.setter import OK, encode_request
from fingertrio.wire.text import clean_line, decode

ANSWER_LIMIT = 4096  # bytes; the answer is one line, so a server that sends more is not a setter


class SetterError(Exception):
    """The status was not set, or the result is unknown. The message says which, in one line safe for a terminal."""


async def set_status(
    user: str,
    status: str,
    *,
    until: str | None = None,
    token: str | None = None,
    host: str = "",
    port: int = 0,
    path: str | os.PathLike[str] = "",
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
        timeout: seconds for everything.

    Raises:
        ValueError: the name or the status cannot be sent.
        SetterError: the server rejected the request, or no answer came within `timeout` seconds.
        OSError: connecting to the unix socket failed.
        RemoteError: connecting to the host and port failed; see `clients.dial.connect`.
    """
    request = encode_request(user, status, until=until, token=token)
    try:
        with trio.fail_after(timeout):
            stream = await trio.open_unix_socket(path) if path else await connect(host, port)
            async with stream:
                await stream.send_all(request)
                await stream.send_eof()
                answer = await _read_answer(stream)
    except trio.TooSlowError:
        raise SetterError(f"no answer within {timeout:g} seconds; the status may or may not have been set") from None
    except trio.BrokenResourceError:
        raise SetterError("the connection was reset; the status may or may not have been set") from None
    if answer == OK:
        return
    if not answer.endswith(b"\n"):
        raise SetterError("the answer is incomplete; the status may or may not have been set")
    line = clean_line(decode(answer))
    if not line.startswith("ERROR "):
        raise SetterError(f"the server is not a setter; it answered: {line[:60]}")
    raise SetterError(line.removeprefix("ERROR "))


async def _read_answer(stream: trio.SocketStream) -> bytes:
    answer = bytearray()
    while len(answer) <= ANSWER_LIMIT and (chunk := await stream.receive_some(ANSWER_LIMIT)):
        answer += chunk
    return bytes(answer)
