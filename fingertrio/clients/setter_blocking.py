"""The setter's client without Trio, for a command that sets one status: Trio takes longer to import than this takes.

Also what both clients share: how an answer is judged, and the error for one that is not OK.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

from fingertrio.wire.setter import OK, encode_request
from fingertrio.wire.text import clean_line, decode

if TYPE_CHECKING:
    import ssl

ANSWER_LIMIT = 4096  # bytes; the answer is one line, so a server that sends more is not a setter


class SetterError(Exception):
    """The status was not set, or the result is unknown. The message says which, in one line safe for a terminal."""


def no_answer(timeout: float) -> SetterError:
    """For a server that does not answer in time."""
    return SetterError(f"no answer within {timeout:g} seconds; the status may or may not have been set")


def was_reset() -> SetterError:
    """For a connection that broke."""
    return SetterError("the connection was reset; the status may or may not have been set")


def handshake_failed(error: BaseException | None) -> SetterError:
    """For a TLS handshake that failed; `error` is what OpenSSL reported, if it did."""
    import ssl  # noqa: PLC0415 -- without TLS nothing needs it

    match error:
        case ssl.SSLCertVerificationError():
            reason = f"the server's certificate is not accepted: {error.verify_message.rstrip('.')}"
        case ssl.SSLError(reason=str(text)):
            reason = f"the TLS handshake failed: {text.replace('_', ' ').lower()}"
        case _:
            reason = "the server closed the connection during the TLS handshake"
    return SetterError(f"nothing was set: {reason}")


def check_answer(answer: bytes) -> None:
    """Raise SetterError unless the answer says that the status was set."""
    if answer == OK:
        return
    if not answer:
        raise SetterError("no answer: is the server a setter? The status may or may not have been set")
    if not answer.endswith(b"\n"):
        raise SetterError("the answer is incomplete; the status may or may not have been set")
    line = clean_line(decode(answer))
    if not line.startswith("ERROR "):
        raise SetterError(f"the server is not a setter; it answered: {line[:60]}")
    raise SetterError(line.removeprefix("ERROR "))


def set_status(
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
    """Set `user`'s status, as `clients.setter.set_status` does.

    Raises:
        ValueError, SetterError: as there.
        OSError: connecting failed; nothing was set.
    """
    request = encode_request(user, status, until=until, token=token, ends=tls is not None)
    deadline = time.monotonic() + timeout
    with closing(_connect(host, port, os.fspath(path), timeout)) as sock:
        try:
            answer = _ask(sock, request, deadline) if tls is None else _ask_secured(sock, tls, host, request, deadline)
        except TimeoutError:
            raise no_answer(timeout) from None
        except OSError as error:  # SSLError is one
            raise was_reset() from error
    check_answer(answer)


def _connect(host: str, port: int, path: str, timeout: float) -> socket.socket:
    if not path:
        try:
            return socket.create_connection((host, port), timeout)
        except TimeoutError:
            raise OSError(errno.ETIMEDOUT, f"no connection within {timeout:g} seconds") from None
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def _ask(sock: socket.socket, request: bytes, deadline: float) -> bytes:
    sock.settimeout(_left(deadline))
    sock.sendall(request)
    sock.shutdown(socket.SHUT_WR)
    return _read_answer(sock, deadline)


def _ask_secured(sock: socket.socket, tls: ssl.SSLContext, host: str, request: bytes, deadline: float) -> bytes:
    sock.settimeout(_left(deadline))
    try:
        secured = tls.wrap_socket(sock, server_hostname=host, suppress_ragged_eofs=False)
    except TimeoutError:
        raise SetterError("nothing was set: no TLS handshake in time; does this address speak TLS?") from None
    except OSError as error:
        raise handshake_failed(error) from error
    with secured:
        secured.sendall(request)
        return _read_answer(secured, deadline)


def _read_answer(sock: socket.socket, deadline: float) -> bytes:
    answer = b""
    while len(answer) <= ANSWER_LIMIT:
        sock.settimeout(_left(deadline))
        if not (chunk := sock.recv(ANSWER_LIMIT)):
            break
        answer += chunk
    return answer


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
