"""Setting a status through another fingertrio's setter door."""

from __future__ import annotations

import os

import trio

from fingertrio.clients.dial import connect
from fingertrio.wire.setter import OK, encode_request
from fingertrio.wire.text import clean_line

ANSWER_LIMIT = 4096  # one line; more is no setter


class SetterError(Exception):
    """The status was not set, or we cannot know; the message says which, in one line fit for a terminal."""


async def set_status(
    user: str, status: str, *, host: str = "", port: int = 0, path: str | os.PathLike[str] = "", timeout: float = 10.0
) -> None:
    """Set `user`'s status at `host` and `port`, or at the unix socket `path`, and return when it is set.

    Raises:
        ValueError: the name or the status cannot be sent.
        SetterError: it was refused, or no answer came within `timeout` seconds.
        OSError: nobody listens at the unix socket.
        RemoteError: nobody listens at the host and port; see `clients.dial.connect`.
    """
    request = encode_request(user, status)
    try:
        with trio.fail_after(timeout):
            stream = await trio.open_unix_socket(path) if path else await connect(host, port)
            async with stream:
                await stream.send_all(request)
                await stream.send_eof()
                answer = await _read_answer(stream)
    except trio.TooSlowError:
        raise SetterError("no answer in time; the status may or may not have been set") from None
    except trio.BrokenResourceError:
        raise SetterError("the connection broke; the status may or may not have been set") from None
    if answer == OK:
        return
    if not answer.endswith(b"\n"):
        raise SetterError("no whole answer came; the status may or may not have been set")
    line = clean_line(answer.decode("utf-8", "replace"))
    if not line.startswith("ERROR "):
        raise SetterError(f"no setter answers there, but something that says: {line[:60]}")
    raise SetterError(line.removeprefix("ERROR "))


async def _read_answer(stream: trio.SocketStream) -> bytes:
    answer = bytearray()
    while len(answer) <= ANSWER_LIMIT and (chunk := await stream.receive_some(ANSWER_LIMIT)):
        answer += chunk
    return bytes(answer)
