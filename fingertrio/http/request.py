"""Which requests are passed to the application, and in which form.

Requests that a proxy and a server could understand differently are refused (request smuggling): Content-Length together
with Transfer-Encoding (RFC 9112 section 6.3), Transfer-Encoding in HTTP/1.0 (6.1), a target in neither origin nor
absolute form (3.2), an invalid Host (3.2). CONNECT is refused: this is not a proxy.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

import h11

Headers = Sequence[tuple[bytes, bytes]]

# RFC 3986 sections 3.2.2 and 3.2.3. Empty is valid where the target has no authority.
_HOST = re.compile(rb"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?", re.ASCII)

# Absolute form, without the fragment that it must not have (RFC 9112 section 3.2.2).
_ABSOLUTE = re.compile(rb"https?://(?P<host>[^/?#]+)(?P<rest>[^#]*)", re.IGNORECASE)

# Fields that ask for an upgrade. What is granted of it is decided here, and the application sees the rest.
_UPGRADE = frozenset({b"upgrade", b"http2-settings"})


def is_host(value: bytes) -> bool:
    """Whether `value` may be a Host field or an :authority."""
    match = _HOST.fullmatch(value)
    if match is None:
        return False
    if (v6 := match["v6"]) is not None:
        try:
            ipaddress.IPv6Address(v6.decode())
        except ValueError:
            return False
    return True


def vet(request: h11.Request) -> h11.Request:
    """The HTTP/1 request as the application may see it: in origin form, and without fields that ask for an upgrade.

    Raises:
        h11.RemoteProtocolError: the request must be refused with the status in `error_status_hint`.
    """
    names = {name for name, _ in request.headers}
    if request.http_version not in {b"1.1", b"1.0"}:
        raise h11.RemoteProtocolError("not a version of HTTP/1", error_status_hint=505)
    if request.method == b"CONNECT":
        raise h11.RemoteProtocolError("this is not a proxy", error_status_hint=501)
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
        raise h11.RemoteProtocolError("the length of the body is ambiguous")
    target, host = _origin_form(request)
    if host is None and target == request.target and not names & _UPGRADE:
        _check_host(request.headers)
        return request
    dropped = _UPGRADE if host is None else _UPGRADE | {b"host"}
    headers = [(name, value) for name, value in request.headers if name not in dropped]
    if host is not None:  # it takes the place of the field (RFC 9112 section 3.2.2)
        headers.insert(0, (b"host", host))
    _check_host(headers)
    return h11.Request(method=request.method, target=target, headers=headers, http_version=request.http_version)


def _check_host(headers: Iterable[tuple[bytes, bytes]]) -> None:
    if not all(is_host(value) for name, value in headers if name == b"host"):
        raise h11.RemoteProtocolError("the Host is invalid")


def _origin_form(request: h11.Request) -> tuple[bytes, bytes | None]:
    """Path and query of the target; and its host, if it has one."""
    target = request.target
    if target.startswith(b"/"):
        return target, None
    if target == b"*" and request.method == b"OPTIONS":
        return b"/", None
    if (match := _ABSOLUTE.fullmatch(target)) is None:
        raise h11.RemoteProtocolError("the target is not a path")
    rest: bytes = match["rest"]
    return rest if rest.startswith(b"/") else b"/" + rest, match["host"]


def wants_websocket(request: h11.Request) -> bool:
    """Whether the request asks for an upgrade to WebSocket (RFC 9110 section 7.8)."""
    fields = {b"connection": b"", b"upgrade": b""}
    for name, value in request.headers:
        if name in fields:
            fields[name] += b"," + value.lower()
    tokens = {name: {token.strip() for token in value.split(b",")} for name, value in fields.items()}
    return request.http_version == b"1.1" and b"upgrade" in tokens[b"connection"] and b"websocket" in tokens[b"upgrade"]


def is_proper(headers: Headers) -> bool:
    """Whether an HTTP/2 request has a method and a path in ASCII. CONNECT must be extended (RFC 8441)."""
    pseudo = {name: value for name, value in headers if name.startswith(b":")}
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if not method or (method == b"CONNECT" and b":protocol" not in pseudo):
        return False
    return path.startswith(b"/") and (method + path).isascii()


def has_valid_host(headers: Headers) -> bool:
    """Whether the :authority and the Host of an HTTP/2 request are valid."""
    return all(is_host(value) for name, value in headers if name in {b":authority", b"host"})


def header_size(headers: Headers) -> int:
    """Bytes of an HTTP/2 request's header section, as it would be in HTTP/1: the same limit applies to both."""
    return sum(len(name) + len(value) + 4 for name, value in headers)
