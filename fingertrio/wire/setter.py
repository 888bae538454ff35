r"""The setter's protocol: two lines, then the end of input.

    request ::= name eol status eol       eol ::= CRLF | LF
    answer  ::= "OK" CRLF | "ERROR " reason CRLF

Nothing is set before the end of input has been seen: only then is it sure that the peer meant these two lines and no
more, and that the second one is whole. A connection that breaks therefore sets nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fingertrio.wire import ProtocolError, TooLongError

# A login name has at most 64 characters of at most four bytes; the rest is room to say which limit was passed.
NAME_LINE_LIMIT = 512
# What the service takes for a status (16 KiB).
STATUS_LINE_LIMIT = 16 * 1024

# Bytes after which a request is refused without waiting for its end.
REQUEST_LIMIT = NAME_LINE_LIMIT + STATUS_LINE_LIMIT + 4

OK = b"OK\r\n"

# What ends a line somewhere else: a status that holds one would be two lines by the time it is shown.
_LINE_END = re.compile("[\r\n\x85]")


@dataclass(frozen=True, slots=True)
class SetRequest:
    """One status for one user, as it was written; whether it can be taken is the service's decision."""

    user: str
    status: str


def parse_request(data: bytes) -> SetRequest:
    """Read all that a peer sent until its end of input.

    Raises:
        ProtocolError: it is anything else than two whole lines of UTF-8, with the reason.
    """
    lines = data.split(b"\n")
    rest = lines.pop()
    if len(lines) > 2 or (len(lines) == 2 and rest):
        raise ProtocolError("more than two lines")
    if rest:
        raise ProtocolError("the last line has no end")
    if len(lines) < 2:
        raise ProtocolError("two lines were expected: a user name and a status")
    name, status = (line.removesuffix(b"\r") for line in lines)
    if len(name) > NAME_LINE_LIMIT or len(status) > STATUS_LINE_LIMIT:
        raise TooLongError("line too long")
    try:
        request = SetRequest(name.decode(), status.decode())
    except UnicodeDecodeError:
        raise ProtocolError("not UTF-8") from None
    if _LINE_END.search(request.user + request.status):
        raise ProtocolError("a line end within a line")
    return request


def encode_request(user: str, status: str) -> bytes:
    """The request that sets `status`.

    Raises:
        ValueError: one of them cannot be one line.
    """
    if _LINE_END.search(user + status):
        raise ValueError("the setter takes one line for the name and one for the status")
    return f"{user}\r\n{status}\r\n".encode()


def encode_error(reason: str) -> bytes:
    """The answer that refuses; `reason` is one clean line."""
    return f"ERROR {reason}\r\n".encode()
