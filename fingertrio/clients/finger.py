"""A finger client: one query, one answer (RFC 1288 section 2.1).

It gives back bytes as they came. They are a stranger's: before a person, a log or another program sees them they go
through `answer_text`, which is section 3.3's filter.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

import trio

from fingertrio.clients.dial import AddressRule, RemoteError, Resolver, connect, resolve
from fingertrio.wire.finger import Query, encode_query
from fingertrio.wire.text import clean

FINGER_PORT = 79
# Bytes of one answer: some thirty screens of text, and little enough to hold for every connection.
ANSWER_LIMIT = 64 * 1024
# Seconds for all of it: the name, the connection and the answer.
TIMEOUT = 10.0

# How finger servers say that there is no such user; the protocol has no mark for it. Each is the whole answer.
UNKNOWN_PATTERNS = (
    r"(finger: )?(\S+: )?(sorry, )?no such user\.?",  # fingertrio, Debian, BSD, the tutorial
    r"(unknown user|user not found)\.?",
    r"login name: \S+\s+in real life: \?\?\?",  # System V and SunOS
)
# And that it cannot or will not tell.
FAILED_PATTERNS = (
    r"internal error in server",  # fingertrio, the tutorial
    r"finger (online user list|forwarding service) denied(: .*)?",  # RFC 1288 section 3.2
)
# Longer than any of these sentences with a name of 64 letters in it. It also keeps patterns, of which somebody may have
# written a slow one, away from text that a stranger chose at length.
_VERDICT_LIMIT = 200  # characters


class DeadlineError(RemoteError):
    """The whole answer was not there in time."""


class TooLargeError(RemoteError):
    """The answer is longer than the limit; `received` is as much of it as the limit allows."""


class BrokenOffError(RemoteError):
    """The connection was reset. Careless servers do that after a whole answer; nobody can tell from here."""


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
    """What `host` answers to `query`: everything it sent before it closed the connection.

    Args:
        query: what to ask. Its `hosts` are for `host` to forward to; see `Query.forward`.
        host: a name, or an address as text.
        port: where it listens.
        timeout: seconds for everything, resolving included.
        limit: bytes of the answer.
        allow: may this address be asked? `clients.dial.is_public` is such a rule. By default any may.
        resolve: finds the addresses of `host`.

    Raises:
        ValueError: the query cannot be said in this protocol; nobody was asked.
        RemoteError: one of `HostNotFoundError`, `AddressRefusedError`, `UnreachableError` (nobody was asked), or
            `DeadlineError`, `TooLargeError`, `BrokenOffError` (`received` has what came).
    """
    line = encode_query(query)
    received = bytearray()
    try:
        with trio.fail_after(timeout):
            async with await connect(host, port, allow=allow, resolve=resolve) as stream:
                await _converse(stream, line, received, limit)
    except trio.TooSlowError:
        raise DeadlineError(f"{host}: no answer within {timeout:g} seconds", bytes(received)) from None
    except trio.BrokenResourceError as error:
        raise BrokenOffError(f"{host}: the connection broke", bytes(received)) from error
    if len(received) > limit:
        raise TooLargeError(f"{host}: the answer is longer than {limit} bytes", bytes(received[:limit]))
    return bytes(received)


async def _converse(stream: trio.abc.Stream, line: bytes, received: bytearray, limit: int) -> None:
    """Send `line`, read to the end or past the limit.

    One write, since some servers read once. No half-close after it: the protocol knows none, the line end has said that
    the query is complete, and servers behind inetd or a TCP wrapper take the end of input for a client that left.
    """
    try:
        await stream.send_all(line)
    except trio.BrokenResourceError:
        # A server that is too busy says so and closes without reading. What it said can still be read.
        if not (data := await stream.receive_some()):
            raise
        received += data
    while len(received) <= limit and (data := await stream.receive_some()):
        received += data


def answer_text(answer: bytes) -> str:
    """`answer` as text with LF for its line ends, fit for a terminal (section 3.3; letters of all languages stay).

    UTF-8, and where it is not, Latin-1, which servers older than UTF-8 meant by their eighth bit (2.2). An answer that
    was cut within a character loses that character.
    """
    try:
        return clean(codecs.getincrementaldecoder("utf-8")().decode(answer))
    except UnicodeDecodeError:
        return clean(answer.decode("latin-1"))


def is_verdict(text: str, patterns: Iterable[str] = UNKNOWN_PATTERNS) -> bool:
    """Whether `text` is one line that is wholly one of `patterns`, whatever the case: by default, "no such user".

    Only a whole answer counts: a plan may well speak of "no such user".
    """
    line = text.strip()
    return len(line) <= _VERDICT_LIMIT and any(re.fullmatch(pattern, line, re.IGNORECASE) for pattern in patterns)
