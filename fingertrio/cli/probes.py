"""Asks one door of a server whether it answers: the questions of `fingertrio healthcheck`. Standard library only.

A health check runs every few seconds for as long as a container lives, so it has to start quickly: plain blocking
sockets, and of HTTP only what these answers need. Requests are HTTP/1.0, so the answer ends with its connection and is
never chunked (RFC 9112 section 7.1). Redirects are not followed: a redirect is not the answer.

No function here has a time limit of its own besides that of each step: the caller limits the whole.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import Any

from fingertrio.wire.text import clean_line

_STEP = 30.0  # seconds for one step of the network; the caller's limit is shorter
_SIZE_LIMIT = 64 * 1024  # bytes of an answer
_SHOWN = 200  # characters of an answer in a message
_CLOSED = "the connection was closed without an answer"

# Asked for where only a user can be asked for. Also what the service asks its backend for (`FingerService.probe`).
NAME = "readiness-probe"

# The protocol has no status codes: an error is a sentence. These are of the server, its limits, and the sqlite backend.
_FAILURES = ("Internal error in server", "Too many queries", "The database ", "The log of the database ")


# PROXY protocol, version 2, section 2.2: LOCAL, a connection of the proxy's own. What proxies send to check health.
_LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


class UnhealthyError(Exception):
    """The server does not answer as it should. The message is one line."""


class NoAnswerError(UnhealthyError):
    """The server closed the connection without an answer in its protocol."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask.

    Attributes:
        host, port: of TCP.
        path: of a Unix socket instead.
        tls: whether clients speak TLS.
        verified: whether the certificate must be valid for `host`. Not on this machine: certificates name the public
            host, and nothing secret is sent.
        proxied: whether connections begin with a header of the PROXY protocol.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False
    verified: bool = False
    proxied: bool = False

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def as_client_or_proxy(ask: Callable[[Place], str], place: Place) -> str:
    """What `ask` returns of `place`; if there is no answer, once more as a proxy of this machine.

    A door with `proxy_protocol = true` drops what comes from a trusted proxy without a header. Only the configuration
    says whether an address is one, so it is tried.
    """
    try:
        return ask(place)
    except (NoAnswerError, OSError) as error:
        if isinstance(error, ConnectionRefusedError | FileNotFoundError | PermissionError | TimeoutError):
            raise
        try:
            return ask(replace(place, proxied=True))
        except (UnhealthyError, OSError):
            raise error from None


def ask_admin(place: Place, path: str) -> str:
    """Ask the admin door for /readyz or /healthz; the answer in a few words.

    Raises:
        UnhealthyError: it says no, or something else than fingertrio answers.
        OSError: there was no answer.
    """
    status, body = _get(place, path)
    if path.endswith("/healthz"):
        _expect(status == 200, f"HTTP status {status}")
        return "alive"
    document = _json(body)
    if not isinstance(document, dict) or not isinstance(document.get("ready"), bool):
        raise UnhealthyError(f"the answer is not that of [admin] (HTTP status {status})")
    degraded = document.get("degraded")
    problems = "; ".join(map(_problem, degraded)) if isinstance(degraded, list) else ""
    _expect(document["ready"] and status == 200, f"not ready: {problems or f'HTTP status {status}'}")
    return f"ready, but degraded: {problems}" if problems else "ready"


def ask_pages(place: Place, base: str, *, live: bool) -> str:
    """Ask the web front end for a user who need not exist, so that the backend is asked too; `live`: for a fixed text.

    Args:
        place: where it is.
        base: the path below which it is, without a slash at its end.
        live: whether an answer without the backend is enough.

    Raises:
        UnhealthyError, OSError: as `ask_admin`.
    """
    status, body = _get(place, f"{base}/robots.txt" if live else f"{base}/api/users/{NAME}")
    if live:
        _expect(status == 200, f"HTTP status {status}")
        return "alive"
    document = _json(body)
    if not isinstance(document, dict):
        raise UnhealthyError(f"the answer is not that of a fingertrio (HTTP status {status})")
    _expect(status in {200, 404}, f"not ready: {document.get('detail') or f'HTTP status {status}'}")
    return "ready"


def ask_finger(place: Place, *, live: bool) -> str:
    """Query a user who need not exist. Any answer but an error is one; `live`: an error, too.

    Raises:
        UnhealthyError, OSError: as `ask_admin`.
    """
    with closing(_connect(place)) as sock:
        sock.sendall(f"{NAME}\r\n".encode())
        answer = clean_line(_received(sock).decode("utf-8", "replace"))
    if not answer:
        raise NoAnswerError(_CLOSED)
    _expect(live or not answer.startswith(_FAILURES), f"not ready: {answer}")
    return "alive" if live else "ready"


def ask_setter(place: Place) -> str:
    """Send a setter an empty request, which it rejects: it answers, which does not show that it can set.

    Raises:
        UnhealthyError, OSError: as `ask_admin`.
    """
    with closing(_connect(place)) as sock:  # with TLS, the handshake is the answer
        if not place.tls:
            sock.shutdown(socket.SHUT_WR)
            if not _received(sock):
                raise NoAnswerError(_CLOSED)
    return "alive"


def _problem(found: object) -> str:
    if not isinstance(found, dict):
        return "?"
    return clean_line(f"{found.get('what')}: {found.get('reason')}")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise UnhealthyError(clean_line(otherwise)[:_SHOWN])


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _get(place: Place, path: str) -> tuple[int, bytes]:
    """Status and body of a GET. A door on a Unix socket does not say whether it speaks TLS, so it is tried."""
    request = f"GET {path} HTTP/1.0\r\nHost: {'localhost' if place.path else place}\r\nConnection: close\r\n\r\n"
    with closing(_connect(place)) as sock:
        sock.sendall(request.encode())
        answer = _received(sock)
    if place.path and not place.tls and not answer.startswith(b"HTTP/"):
        return _get(replace(place, tls=True), path)
    head, separator, body = answer.partition(b"\r\n\r\n")
    version, _, rest = head.partition(b" ")
    if not separator or not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise NoAnswerError("what answers there is not a web server")
    status = int(rest[:3])
    _expect(not 300 <= status < 400, f"it answers with a redirect (HTTP status {status})")
    return status, body


def _connect(place: Place) -> socket.socket:
    if place.path:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(_STEP)
            sock.connect(place.path)
        except OSError:
            sock.close()
            raise
    else:
        sock = socket.create_connection((place.host, place.port), _STEP)
    if place.proxied:
        sock.sendall(_LOCAL)
    if not place.tls:
        return sock
    import ssl  # noqa: PLC0415 -- takes a third of the time of a check without it

    if place.verified:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(sock, server_hostname=place.host or None)
    except OSError:
        sock.close()
        raise


def _received(sock: socket.socket) -> bytes:
    """Everything until the end, or as much as there may be."""
    received = b""
    with suppress(ConnectionResetError):  # after the answer
        while len(received) < _SIZE_LIMIT and (chunk := sock.recv(_SIZE_LIMIT)):
            received += chunk
    return received
