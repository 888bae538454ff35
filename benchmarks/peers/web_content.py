"""What the HTTP peers serve: the same user, page and list as fingertrio's, of about the same size.

    python web_X.py USERS [CERTFILE]

USERS is how many names the list has.
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys

BACKLOG = 4096
USER = {"user": "moshez", "status": "Happy and well", "name": None, "since": None, "until": None, "details": {}}
STATUSES = {"moshez": USER}
NAMES = ["moshez", *(f"user{number:04}" for number in range(int(sys.argv[1]) - 1))]
CERTFILE = sys.argv[2] if len(sys.argv) > 2 else None

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{user}</title><link rel="stylesheet" href="./-/style.css"></head>
<body><main><h1>{user}</h1><p>{status}</p></main><footer>{filler}</footer></body></html>
"""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def user_json(user: str) -> bytes:
    return json.dumps(STATUSES[user]).encode()


def user_page(user: str) -> bytes:
    return _PAGE.format(user=user, status=STATUSES[user]["status"], filler="." * 1200).encode()


def users_json() -> bytes:
    """Rendered once, as a careful application does."""
    return json.dumps({"users": [{"user": name, "url": f"/api/users/{name}"} for name in NAMES]}).encode()


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def listen() -> socket.socket:
    """A socket that listens on a free port."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def announce(port: int) -> None:
    """Print the lines that the benchmark waits for."""
    address = f"127.0.0.1:{port}"
    print(json.dumps({"event": "listening", "door": "http", "address": address}), file=sys.stderr)
    print(json.dumps({"event": "ready"}), file=sys.stderr, flush=True)
