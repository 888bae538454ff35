"""A finger client: one query, one answer (RFC 1288 section 2.1).

`finger` returns the received bytes unchanged. They are untrusted: pass them through `answer_text`, the filter of
section 3.3, before showing or logging them or passing them to another program.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import trio

from fingertrio.clients.dial import AddressRule, RemoteError, Resolver, connect, resolve
from fingertrio.wire.finger import Query, encode_query
from fingertrio.wire.text import clean, decode

FINGER_PORT = 79
# Bytes of one answer: about thirty screens of text, and small enough to hold for every connection.
ANSWER_LIMIT = 64 * 1024
# Seconds for everything: resolving, connecting and reading the answer.
TIMEOUT = 10.0

# How finger servers report an unknown user; the protocol has no code for it. Each pattern matches a whole answer.
UNKNOWN_PATTERNS = (
    r"(finger: )?(\S+: )?(sorry, )?no such user\.?",  # fingertrio, Debian, BSD, the tutorial
    r"(unknown user|user not found)\.?",
    r"login name: \S+\s+in real life: \?\?\?",  # System V and SunOS
)
# The same for a failure or a refusal.
FAILED_PATTERNS = (
    r"internal error in server",  # fingertrio, the tutorial
    r"finger (online user list|forwarding service) denied(: .*)?",  # RFC 1288 section 3.2
)
# Longer than any of these sentences with a name of 64 letters in it. The limit also bounds the time of a slow pattern
# in the configuration, because the remote server chooses the text.
_VERDICT_LIMIT = 200  # characters


class DeadlineError(RemoteError):
    """The answer was not complete within the timeout."""


class TooLargeError(RemoteError):
    """The answer is longer than the limit; `received` is the answer cut at the limit."""


class BrokenOffError(RemoteError):
    """The connection was reset. Some servers do that after a complete answer; the client cannot tell."""


async def finger(
    query: Query,
    host: str,
    port: int = FINGER_PORT,
    *,
    timeout: float = TIMEOUT,
    limit: int = ANSWER_LIMIT,
    allow: AddressRule | None = None,
    resolve: Resolver = resolve,
) -> bytes:
    """The answer of `host` to `query`: everything that the server sends before it closes the connection.

    Args:
        query: the query to send. The server forwards it to `query.hosts`; see `Query.forward`.
        host: a name, or an address as text.
        port: the server's port.
        timeout: seconds for everything, including resolving.
        limit: bytes of the answer.
        allow: returns whether connecting to an address is allowed, such as `clients.dial.is_public`. By default every
            address is.
        resolve: finds the addresses of `host`.

    Raises:
        ValueError: the query cannot be expressed in this protocol; nothing was sent.
        RemoteError: `HostNotFoundError`, `AddressRefusedError` or `UnreachableError` (nothing was sent), or
            `DeadlineError`, `TooLargeError` or `BrokenOffError` (`received` has the part that arrived).
    """
    line = encode_query(query)
    received = bytearray()
    try:
        with trio.fail_after(timeout):
            async with await connect(host, port, allow=allow, resolve=resolve) as stream:
                await _exchange(stream, line, received, limit)
    except trio.TooSlowError:
        raise DeadlineError(f"{host}: no answer within {timeout:g} seconds", bytes(received)) from None
    except trio.BrokenResourceError as error:
        raise BrokenOffError(f"{host}: the connection was reset", bytes(received)) from error
    if len(received) > limit:
        raise TooLargeError(f"{host}: the answer is longer than {limit} bytes", bytes(received[:limit]))
    return bytes(received)


async def _exchange(stream: trio.abc.Stream, line: bytes, received: bytearray, limit: int) -> None:
    """Send `line`, then read to the end or past the limit.

    One write, because some servers read only once. No half-close: the protocol does not use it, the line end completes
    the query, and servers behind inetd or a TCP wrapper treat the end of input as a client that disconnected.
    """
    try:
        await stream.send_all(line)
    except trio.BrokenResourceError:
        # A busy server answers and closes without reading the query. Its answer can still be read.
        if not (data := await stream.receive_some()):
            raise
        received += data
    while len(received) <= limit and (data := await stream.receive_some()):
        received += data


def answer_text(answer: bytes) -> str:
    """`answer` as text with LF for line ends, safe for a terminal (section 3.3; letters of all languages stay).

    The encoding is detected by `wire.text.decode`; servers older than UTF-8 send 8-bit characters (2.2). An answer that
    was cut within a character loses that character.
    """
    return clean(decode(answer, cut=True))


def is_verdict(text: str, patterns: Iterable[str] = UNKNOWN_PATTERNS) -> bool:
    """Whether `text` is one line and one of `patterns` matches all of it, ignoring case. By default: "no such user".

    Only a whole answer counts, because a plan may contain the words "no such user".
    """
    line = text.strip()
    return len(line) <= _VERDICT_LIMIT and any(re.fullmatch(pattern, line, re.IGNORECASE) for pattern in patterns)
