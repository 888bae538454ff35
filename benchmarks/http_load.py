"""HTTP/1.1 clients with keep-alive connections, in a process of their own; every response is checked.

    python -m benchmarks.http_load PORT CLIENTS SECONDS REQUEST EXPECTED

Each client sends REQUEST (JSON: a string of Latin-1), reads a response with Content-Length, requires that it contains
EXPECTED, and sends the next. One JSON object on standard output reports what the clients saw.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import time

DRAIN = 10.0  # seconds for the last responses
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)


class _Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.began = 0.0
        self.received = b""
        self.end = 0  # of the response in `received`; 0: not known yet

    def send(self, request: bytes) -> None:
        self.began = time.perf_counter()
        self.received, self.end = b"", 0
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Whether the response is complete."""
        part = self.socket.recv(262_144)
        if not part:
            raise ConnectionError("the server closed the connection")
        self.received += part
        if not self.end:
            head, separator, _ = self.received.partition(b"\r\n\r\n")
            if not separator:
                return False
            found = _LENGTH.search(head + b"\r\n")
            if found is None:
                raise ConnectionError(f"a response without Content-Length: {head[:200]!r}")
            self.end = len(head) + 4 + int(found[1])
        return len(self.received) >= self.end


def run(port: int, count: int, seconds: float, request: bytes, expected: bytes) -> dict[str, float | str]:
    """Load for `seconds`; what the clients saw."""
    poll = select.epoll()
    clients = {client.socket.fileno(): client for client in (_Client(port) for _ in range(count))}
    latencies: list[float] = []
    began = time.perf_counter()
    for descriptor, client in clients.items():
        poll.register(descriptor, select.EPOLLIN)
        client.send(request)
    busy = set(clients)
    while busy and time.perf_counter() < began + seconds + DRAIN:
        for descriptor, _ in poll.poll(1):
            client = clients[descriptor]
            if not client.receive():
                continue
            latencies.append(time.perf_counter() - client.began)
            if expected not in client.received or not client.received.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(f"a wrong response: {client.received[:300]!r}")
            if time.perf_counter() < began + seconds:
                client.send(request)
            else:
                busy.discard(descriptor)
    if busy:
        raise ConnectionError(f"{len(busy)} requests were not answered")
    latencies.sort()
    return {
        "done": len(latencies),
        "seconds": time.perf_counter() - began,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
    }


if __name__ == "__main__":
    _, port, count, seconds, request, expected = sys.argv
    print(
        json.dumps(
            run(
                int(port),
                int(count),
                float(seconds),
                json.loads(request).encode("latin-1"),
                json.loads(expected).encode("latin-1"),
            )
        )
    )
