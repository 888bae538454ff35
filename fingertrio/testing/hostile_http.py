"""Hostile beginnings of connections, for tests of anything that speaks HTTP.

`UPGRADES` ended the whole server of stock Hypercorn 0.18. Each of them must be answered as if it had not asked for an
upgrade, or refused; the next client must be served. `OPENINGS` are requests that two servers could read differently.
"""

from __future__ import annotations

from collections.abc import Mapping


def _upgrade(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"GET /moshez HTTP/1.1", b"Host: test", *lines, b"", b""]) + body


_WEBSOCKET = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
)

UPGRADES: Mapping[str, bytes] = {
    "websocket": _upgrade(*_WEBSOCKET),
    "websocket, then a stray byte": _upgrade(*_WEBSOCKET, body=b"\x81"),
    "websocket with a body": _upgrade(*_WEBSOCKET, b"Content-Length: 5", body=b"hello"),
    "websocket with a chunked body": _upgrade(*_WEBSOCKET, b"Transfer-Encoding: chunked", body=b"1\r\nx\r\n0\r\n\r\n"),
    "0xFF in Connection": _upgrade(*_WEBSOCKET, b"Connection: Upgrade, \xff"),
    "0xFF in Sec-WebSocket-Extensions": _upgrade(*_WEBSOCKET, b"Sec-WebSocket-Extensions: \xff"),
    "0xFF in Sec-WebSocket-Protocol": _upgrade(*_WEBSOCKET, b"Sec-WebSocket-Protocol: \xff"),
    "permessage-deflate": _upgrade(*_WEBSOCKET, b"Sec-WebSocket-Extensions: permessage-deflate"),
    "h2c with badly padded settings": _upgrade(b"Upgrade: h2c", b"Connection: Upgrade", b"HTTP2-Settings: AAA"),
    "h2c": _upgrade(b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAAQCAAAA"),
}


def _ambiguous(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /RPC2 HTTP/1.1", b"Host: test", *lines, b"", b""]) + body


_SMUGGLED = b"GET /shawn HTTP/1.1\r\nHost: test\r\n\r\n"

OPENINGS: Mapping[str, bytes] = {
    **UPGRADES,
    "two lengths": _ambiguous(b"Content-Length: 0", b"Content-Length: 5", body=b"hello"),
    "a list of lengths": _ambiguous(b"Content-Length: 5, 5", body=b"hello"),
    "a length in octal": _ambiguous(b"Content-Length: 010", body=b"hellohello"),
    "a signed length": _ambiguous(b"Content-Length: +5", body=b"hello"),
    "a length that is negative": _ambiguous(b"Content-Length: -1"),
    "a length beyond all integers": _ambiguous(b"Content-Length: 99999999999999999999"),
    "length and chunks": _ambiguous(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + _SMUGGLED),
    "chunks behind a space": _ambiguous(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "chunks behind a tab": _ambiguous(b"Transfer-Encoding:\tchunked", body=b"0\r\n\r\n"),
    "chunks in a folded line": _ambiguous(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"),
    "chunks that are not the last coding": _ambiguous(b"Transfer-Encoding: chunked, identity"),
    "a length of GET": _SMUGGLED.replace(b"\r\n\r\n", b"\r\nContent-Length: 37\r\n\r\n") + _SMUGGLED,
    "LF alone": _SMUGGLED.replace(b"\r\n", b"\n"),
    "CR alone in a value": _SMUGGLED.replace(b": test", b": test\rX: y"),
    "NUL in a value": _SMUGGLED.replace(b": test", b": te\x00st"),
    "two hosts": _SMUGGLED.replace(b"Host: test", b"Host: test\r\nHost: other"),
    "no host": b"GET /shawn HTTP/1.1\r\n\r\n",
    "another host in the target": _SMUGGLED.replace(b"/shawn", b"http://other/shawn"),
    "an empty line first": b"\r\n" + _SMUGGLED,
    "a space first": b" " + _SMUGGLED,
    "an end of a line in the target": _SMUGGLED.replace(b"/shawn", b"/sh\r\nawn"),
    "a request in a header": _SMUGGLED.replace(b"Host: test", b"Host: test\r\nX: " + _SMUGGLED),
    "HTTP/0.9": b"GET /shawn\r\n",
    "HTTP/2 with prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
