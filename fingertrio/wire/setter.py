r"""The setter protocol: a name and a status, then the end of input or an `end:` line.

    request ::= [ "AUTH" SP token eol ] name eol status eol *( "more:" text eol ) [ "until:" when eol ] [ "end:" eol ]
    answer  ::= "OK" CRLF | "ERROR " reason CRLF
    eol     ::= CRLF | LF

The two lines in the middle are the whole protocol of Twisted's tutorial. An empty status takes the present one back;
each `more:` adds a line to the status; `until:` ends it by itself (`wire.when` has the grammar). One space after the
colon is not part of the text. A name has no space, so an AUTH line cannot be one.

Nothing is set before the end of input: until then, the last line may be incomplete and another may follow. A connection
that breaks before its end of input therefore sets nothing. `end:` is for clients that cannot end their input and still
read the answer: those of TLS, and many a netcat. The two lines come first, so a status can be "end:".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fingertrio.wire import PROXY_HEADER, PROXY_REFUSAL, ProtocolError, TooLongError

# A login name has at most 64 characters of at most four bytes. The rest is room, so that the service can report the
# exact limit of a name that is too long. Tokens and times are shorter.
NAME_LINE_LIMIT = 512
# The service's limit for a status (16 KiB).
STATUS_LINE_LIMIT = 16 * 1024

# Bytes after which a request is rejected without waiting for its end: the longest status, as 500 lines, and the rest.
REQUEST_LIMIT = 3 * NAME_LINE_LIMIT + STATUS_LINE_LIMIT + 500 * len(b"more: \r\n")

OK = b"OK\r\n"

# Line ends of other programs: a status with one of these would show as two lines.
_LINE_END = re.compile("[\r\n\x85]")

_AUTH = b"AUTH "
_MORE = "more:"
_UNTIL = "until:"
_END = "end:"
_ENDS = (b"\nend:\r\n", b"\nend:\n")


@dataclass(frozen=True, slots=True)
class SetRequest:
    """One status for one user, as received; the service decides whether it is valid.

    Attributes:
        user: the login name.
        status: lines separated by LF; empty: take the present one back.
        until: when it ends, in the words of `wire.when`; None: no end.
        token: the proof, if there was an AUTH line. Not in `repr`.
    """

    user: str
    status: str
    until: str | None = None
    token: str | None = field(default=None, repr=False)


def is_whole(data: bytes) -> bool:
    """Whether `data` ends with an `end:` line, so that nothing more is to be waited for."""
    return data.endswith(_ENDS) and data.count(b"\n") > (3 if data.startswith(_AUTH) else 2)


def parse_request(data: bytes) -> SetRequest:
    """Parse everything the peer sent until its end of input.

    Raises:
        ProtocolError: the data is not in the grammar, or not UTF-8; the message is the reason.
    """
    if data.startswith((PROXY_HEADER, b"PROXY ")):  # a name has no space
        raise ProtocolError(PROXY_REFUSAL)
    lines = data.split(b"\n")
    if lines.pop():
        raise ProtocolError("the last line is incomplete: it has no line end")
    lines = [line.removesuffix(b"\r") for line in lines]
    token = _text(lines.pop(0)[len(_AUTH) :], NAME_LINE_LIMIT) if lines and lines[0].startswith(_AUTH) else None
    if len(lines) < 2:
        raise ProtocolError("expected two lines: a user name and a status")
    user, status, *rest = (
        _text(line, STATUS_LINE_LIMIT if number else NAME_LINE_LIMIT) for number, line in enumerate(lines)
    )
    if rest and rest[-1] == _END:
        rest.pop()
    until = None
    if rest and rest[-1].startswith(_UNTIL):
        until = rest.pop().removeprefix(_UNTIL).strip()
    if not all(line.startswith(_MORE) for line in rest):
        raise ProtocolError("more than two lines; further ones start with more:, until: or end:")
    status = "\n".join([status, *(line.removeprefix(_MORE).removeprefix(" ") for line in rest)])
    return SetRequest(user, status, until, token)


def _text(line: bytes, limit: int) -> str:
    if len(line) > limit:
        raise TooLongError("line too long")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise ProtocolError("not UTF-8") from None
    if _LINE_END.search(text):
        raise ProtocolError("line end inside a line")
    return text


def encode_request(
    user: str, status: str, *, until: str | None = None, token: str | None = None, ends: bool = False
) -> bytes:
    """The request that sets `status`, or with an empty one takes the present status back; `ends` adds the `end:` line.

    Raises:
        ValueError: a part holds a line end that it cannot have, or the name would be taken for a proof.
    """
    first, *more = status.split("\n")
    lines = [user, first, *(f"{_MORE} {line}" for line in more)]
    if token is not None:
        lines.insert(0, f"{_AUTH.decode()}{token}")
    if until is not None:
        lines.append(f"{_UNTIL} {until}")
    if ends:
        lines.append(_END)
    if user.startswith(_AUTH.decode()):
        raise ValueError("a user name has no space")
    if any(_LINE_END.search(line) for line in lines):
        raise ValueError("the name, the time and each line of the status must each be one line")
    return "".join(f"{line}\r\n" for line in lines).encode()


def encode_error(reason: str) -> bytes:
    """The answer to a rejected request; `reason` is one clean line."""
    return f"ERROR {reason}\r\n".encode()
