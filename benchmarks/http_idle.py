"""The memory of connections that are kept and idle, after one request each."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import ExitStack

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


def _open(server: Server, request: bytes, stack: ExitStack, *, tls: bool) -> None:
    connection: socket.socket = socket.create_connection(("127.0.0.1", server.port("http")), timeout=5)
    if tls:
        connection = _UNVERIFIED.wrap_socket(connection)
    stack.enter_context(connection)
    connection.sendall(request)
    if not connection.recv(4096).startswith(b"HTTP/1.1 200 "):
        raise BenchmarkError(f"{server.name} does not answer")
