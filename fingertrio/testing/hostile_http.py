"""Requests for an upgrade that ended the whole server of stock Hypercorn 0.18, for tests of anything that speaks HTTP.

Each of them must be answered as if it had not asked for an upgrade, or refused; the next client must be served.
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
