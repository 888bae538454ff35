r"""The setter protocol: two lines, then the end of input.

    request ::= name eol status eol       eol ::= CRLF | LF
    answer  ::= "OK" CRLF | "ERROR " reason CRLF

Nothing is set before the end of input: until then, the second line may be incomplete and a third may follow. A
connection that breaks before its end of input therefore sets nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fingertrio.wire import ProtocolError, TooLongError

# A login name has at most 64 characters of at most four bytes. The rest is room, so that the service can report the
# exact limit of a name that is too long.
NAME_LINE_LIMIT = 512
# The service's limit for a status (16 KiB).
STATUS_LINE_LIMIT = 16 * 1024

# Bytes after which a request is rejected without waiting for its end.
REQUEST_LIMIT = NAME_LINE_LIMIT + STATUS_LINE_LIMIT + 4

OK = b"OK\r\n"

# Line ends of other programs: a status with one of these would show as two lines.
_LINE_END = re.compile("[\r\n\x85]")


@dataclass(frozen=True, slots=True)
class SetRequest:
    """One status for one user, as received; the service decides whether it is valid."""

    user: str
    status: str


def parse_request(data: bytes) -> SetRequest:
    """Parse everything the peer sent until its end of input.

    Raises:
        ProtocolError: the data is not exactly two complete lines of UTF-8; the message is the reason.
    """
    lines = data.split(b"\n")
    rest = lines.pop()
    if len(lines) > 2 or (len(lines) == 2 and rest):
        raise ProtocolError("more than two lines")
    if rest:
        raise ProtocolError("the last line is incomplete: it has no line end")
    if len(lines) < 2:
        raise ProtocolError("expected two lines: a user name and a status")
    name, status = (line.removesuffix(b"\r") for line in lines)
    if len(name) > NAME_LINE_LIMIT or len(status) > STATUS_LINE_LIMIT:
        raise TooLongError("line too long")
    try:
        request = SetRequest(name.decode(), status.decode())
    except UnicodeDecodeError:
        raise ProtocolError("not UTF-8") from None
    if _LINE_END.search(request.user + request.status):
        raise ProtocolError("line end inside a line")
    return request


def encode_request(user: str, status: str) -> bytes:
    """The request that sets `status`.

    Raises:
        ValueError: the name or the status holds a line end.
    """
    if _LINE_END.search(user + status):
        raise ValueError("the name and the status must each be one line")
    return f"{user}\r\n{status}\r\n".encode()


def encode_error(reason: str) -> bytes:
    """The answer to a rejected request; `reason` is one clean line."""
    return f"ERROR {reason}\r\n".encode()
