"""Plain requests: the HTTP/1.1 requests that the express lane understands, by a grammar far stricter than HTTP's.

    request = ("GET" / "HEAD" / "POST") SP target SP "HTTP/1.1" CRLF 1*40(name ":" *SP value CRLF) CRLF [body]
    target  = "/" and visible ASCII, without "#"; at most 1,000 bytes
    name    = token                                        (RFC 9110 section 5.6.2)
    value   = printable ASCII                              (no obs-text, no tab, no folded line)

A request is plain if every recipient must understand it in the same way (request smuggling). So each field occurs once,
there is one valid Host, and a body has a Content-Length in short decimal form. A field that changes how the request is
answered or the connection used, in a way that the lane does not know, makes the request not plain. All other requests
are h11's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fingertrio.http.request import is_host

if TYPE_CHECKING:
    from fingertrio.http.replay import Kept

# Bytes of a head. Browsers send one or two kilobytes.
HEAD_LIMIT = 2048

# Fields of a head. Browsers behind proxies send some thirty. Each takes 100 bytes of memory more than on the wire.
_FIELDS_LIMIT = 40

# Bytes of a body: an XML-RPC call with a name.
BODY_LIMIT = 1024

_HEAD = re.compile(
    rb"(GET|HEAD|POST) (/[\x21\x22\x24-\x7e]{0,999}) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: *(?:[\x21-\x7e][\x20-\x7e]*)?\r\n)+)\r\n"
)
_FIELD = re.compile(rb"([^:]+): *([^\r]*)\r\n")
_LENGTH = re.compile(rb"[1-9][0-9]{0,3}")
_ENTITY_TAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e]*"')  # RFC 9110 section 8.8.3, one only

# Whose answer is for one client only, is a part, or is none: RFC 9110, 9112 and 6265.
_NOT_PLAIN = frozenset(
    b"authorization content-encoding cookie cookie2 expect http2-settings if-match if-range if-unmodified-since "
    b"keep-alive proxy-authorization proxy-connection range te trailer transfer-encoding upgrade".split()
)

# What a proxy reports about the client. Only the application knows which proxies it believes.
_FORWARDING = (b"x-forwarded-", b"x-real-ip", b"forwarded", b"x-client")


class PlainRequest:
    """A plain request. Shared by all clients that send the same bytes.

    Attributes:
        method, target, host: as sent.
        fields: the header fields by lower-case name.
        forwarding: those of them that a proxy may have written about the client.
        condition: the condition under which the client wants the body (RFC 9110 section 13.1), if it is a simple one.
        body: as far as it has arrived.
        size: bytes of the whole request.
        close: whether the client wants the connection closed.
        kept: the response that answered this request last.
    """

    __slots__ = ("body", "close", "condition", "fields", "forwarding", "host", "kept", "method", "size", "target")

    def __init__(
        self, method: bytes, target: bytes, fields: dict[bytes, bytes], condition: bytes, body: bytes, size: int
    ) -> None:
        self.method = method
        self.target = target
        self.host = fields[b"host"]
        self.fields: Mapping[bytes, bytes] = fields
        self.forwarding = {name: value for name, value in fields.items() if name.startswith(_FORWARDING)}
        self.condition = condition
        self.body = body
        self.size = size
        self.close = fields.get(b"connection", b"").lower() == b"close"
        self.kept: Kept | None = None


def read_plain(data: bytes, end: int) -> PlainRequest | None:
    """The request at the beginning of `data`, whose head ends at `end`; None: it is not plain.

    If its body is not complete, its `size` exceeds the length of `data`.
    """
    match = _HEAD.fullmatch(data, 0, end)
    if match is None:
        return None
    method, target, lines = match.groups()
    found = _FIELD.findall(lines)
    fields = {name.lower(): value.rstrip(b" ") for name, value in found}
    if not len(fields) == len(found) <= _FIELDS_LIMIT:
        return None
    if not _NOT_PLAIN.isdisjoint(fields) or not is_host(fields.get(b"host", b"?")):
        return None
    if fields.get(b"connection", b"keep-alive").lower() not in {b"keep-alive", b"close"}:
        return None
    length = _body_length(method, fields)
    condition = _condition(method, fields)
    if length is None or condition is None:
        return None
    return PlainRequest(method, target, fields, condition, data[end : end + length], end + length)


def _body_length(method: bytes, fields: Mapping[bytes, bytes]) -> int | None:
    """Bytes of the body; None: not plain."""
    text = fields.get(b"content-length")
    if method != b"POST":
        return 0 if text is None else None
    # A browser sends Origin with a POST: whether it may is the application's question.
    if text is None or not _LENGTH.fullmatch(text) or b"origin" in fields:
        return None
    length = int(text)
    return length if length <= BODY_LIMIT else None


def _condition(method: bytes, fields: Mapping[bytes, bytes]) -> bytes | None:
    """The entity-tag or the date that the client has; empty: it has none; None: not plain."""
    tag, date = fields.get(b"if-none-match"), fields.get(b"if-modified-since")
    if tag is None and date is None:
        return b""
    if method == b"POST":
        return None
    if tag is None:
        return date
    # If both are there, the date is ignored (RFC 9110 section 13.1.3).
    return tag if _ENTITY_TAG.fullmatch(tag) else None
