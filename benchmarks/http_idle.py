"""The memory of connections that are kept and idle, after one request each.

Over TLS, most of it is OpenSSL's. How much is measured beside it: `python -m benchmarks.http_idle` prints the bytes
that one side of a connection takes in a process that has nothing else.
"""

from __future__ import annotations

import gc
import os
import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack, suppress

import trustme

from benchmarks.harness import BenchmarkError, Server
from benchmarks.http_servers import Servers
from fingertrio.testing.measure import resident_bytes

WARM_UP = 200  # connections before the measured ones
REST = 2.5  # seconds: after one of them, fingertrio's connections have no task any more

_UNVERIFIED = ssl._create_unverified_context()  # noqa: SLF001 -- the server is ours, on loopback

# What is asked, by the name of the row: from the lane; through the application, which a cookie makes sure of.
REQUESTS = {
    "hot": b"GET /api/users/moshez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "made anew": b"GET /api/users/moshez HTTP/1.1\r\nHost: localhost\r\nCookie: a=b\r\n\r\n",
}


def measure_idle(servers: Servers, kind: str, *, count: int, tls: bool) -> float:
    """Bytes of resident memory that a fresh fingertrio grows by for each of `count` connections.

    Raises:
        BenchmarkError: the server did not answer, or closed a connection.
    """
    with servers.make("fingertrio", tls=tls) as server, ExitStack() as stack:
        for _ in range(WARM_UP):
            _open(server, REQUESTS[kind], stack, tls=tls)
        time.sleep(REST)
        before = resident_bytes(server.pid)
        for _ in range(count):
            _open(server, REQUESTS[kind], stack, tls=tls)
        time.sleep(REST)
        return (resident_bytes(server.pid) - before) / count


def measure_openssl() -> float:
    """Bytes of resident memory for each of many server sides of TLS 1.3 at rest, with their two buffers."""
    command = [sys.executable, "-m", "benchmarks.http_idle"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


def _measure_openssl_here(count: int) -> float:
    authority = trustme.CA()
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(ours)
    authority.configure_trust(theirs)
    kept = [_server_side(ours, theirs) for _ in range(WARM_UP)]
    gc.collect()
    before = resident_bytes(os.getpid())
    kept += [_server_side(ours, theirs) for _ in range(count)]
    gc.collect()
    return (resident_bytes(os.getpid()) - before) / count


def _server_side(ours: ssl.SSLContext, theirs: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """The server's objects after a handshake, a request and a response; the client's are gone."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = ours.wrap_bio(to_server, to_client, server_side=True)
    client = theirs.wrap_bio(to_client, to_server, server_hostname="localhost")
    for side in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    client.write(b"x" * 200)
    server.read(200)
    server.write(b"y" * 500)
    client.read(500)
    return server, to_server, to_client


def _open(server: Server, request: bytes, stack: ExitStack, *, tls: bool) -> None:
    connection: socket.socket = socket.create_connection(("127.0.0.1", server.port("http")), timeout=5)
    if tls:
        connection = _UNVERIFIED.wrap_socket(connection)
    stack.enter_context(connection)
    connection.sendall(request)
    if not connection.recv(4096).startswith(b"HTTP/1.1 200 "):
        raise BenchmarkError(f"{server.name} does not answer")


if __name__ == "__main__":
    sys.stdout.write(f"{_measure_openssl_here(3000):.0f}\n")
