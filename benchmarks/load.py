"""The load of load.c in Python, for machines without a C compiler: the same arguments, the same lines of JSON.

It is several times dearer than most of the servers that it asks, so it will be the bottleneck; the CPU that a server
needs for a query can still be compared. See load.c for what the two commands do, and why from many addresses.
"""

from __future__ import annotations

import ipaddress
import json
import os
import select
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress

QUERY_NET = ipaddress.IPv4Address("127.16.0.1")
HOLD_NET = ipaddress.IPv4Address("127.32.0.1")
BIND_ADDRESS_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT of ip(7), which the socket module does not name
DRAIN = 5.0  # seconds
HANDSHAKE = 3.0  # seconds


def addresses(net: ipaddress.IPv4Address, count: int) -> Iterator[str]:
    """`count` source addresses in turn, without end."""
    found = deque(str(net + number) for number in range(count))
    while True:
        yield found[0]
        found.rotate(-1)


def dial(port: int, source: str) -> socket.socket:
    """A socket on its way to the server, non-blocking."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
    sock.bind((source, 0))
    with suppress(BlockingIOError):
        sock.connect(("127.0.0.1", port))
    return sock


class Asking:
    """A number of queries at any time, for a while."""

    def __init__(self, port: int, in_flight: int, sources: int, query: bytes, expected: bytes) -> None:
        self._port = port
        self._in_flight = in_flight
        self._sources = addresses(QUERY_NET, sources)
        self._number = 0
        self._query = query
        self._digits = query.count(b"#")
        self._expected = expected
        self._epoll = select.epoll()
        self._going: dict[int, tuple[socket.socket, float]] = {}
        self._failures: Counter[str] = Counter()
        self._latencies: list[float] = []

    def run(self, seconds: float) -> dict[str, float]:
        began = last = time.monotonic()
        cpu = time.process_time()
        for _ in range(self._in_flight):
            self._start()
        while self._going and time.monotonic() < began + seconds + DRAIN:
            for number, _events in self._epoll.poll(0.1):
                self._finish(*self._going.pop(number))
                last = time.monotonic()
                if last < began + seconds:
                    self._start()
        cpu = time.process_time() - cpu
        latencies = sorted(self._latencies) or [0.0]
        return {
            "queries": len(self._latencies),
            "seconds": last - began,
            "cpu_seconds": cpu,
            "p50_us": latencies[len(latencies) // 2] * 1e6,
            "p99_us": latencies[len(latencies) * 99 // 100] * 1e6,
            "max_us": latencies[-1] * 1e6,
            "connect_errors": self._failures["connect"],
            "io_errors": self._failures["io"],
            "wrong_answers": self._failures["answer"],
            "timeouts": len(self._going),
        }

    def _start(self) -> None:
        began = time.monotonic()
        try:
            sock = dial(self._port, next(self._sources))
        except OSError:
            self._failures["connect"] += 1
            return
        try:
            sock.send(self._next_query())
        except OSError:  # a full accept queue included: rare enough on loopback to be counted instead of waited for
            self._failures["io"] += 1
            sock.close()
            return
        self._epoll.register(sock, select.EPOLLRDHUP)
        self._going[sock.fileno()] = (sock, began)

    def _next_query(self) -> bytes:
        if not self._digits:
            return self._query
        self._number = (self._number + 1) % 10**self._digits
        return self._query.replace(b"#" * self._digits, f"{self._number:0{self._digits}}".encode())

    def _finish(self, sock: socket.socket, began: float) -> None:
        answer = b""
        with sock:
            try:
                while chunk := sock.recv(65536):
                    answer += chunk
            except OSError:
                self._failures["io"] += 1
                return
        if answer != self._expected:
            self._failures["answer"] += 1
            return
        self._latencies.append(time.monotonic() - began)


def is_connected(sock: socket.socket) -> bool:
    """Whether the handshake is over and nothing has ended the connection since."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def hold(port: int, count: int, per_second: float, sources: int, prefix: bytes) -> None:
    """Hold connections open until standard input ends."""
    began = time.monotonic()
    source = addresses(HOLD_NET, sources)
    held = []
    for number in range(count):
        early = began + number / per_second - time.monotonic()
        if early > 0.002:
            time.sleep(early)
        sock = dial(port, next(source))
        held.append(sock)
        sock.settimeout(max(began + count / per_second + HANDSHAKE - time.monotonic(), 0.001))
        with suppress(OSError):
            sock.send(prefix)
    established = sum(map(is_connected, held))
    print(json.dumps({"established": established, "seconds": time.monotonic() - began}), flush=True)
    while os.read(sys.stdin.fileno(), 64):
        pass
    still_open = 0
    for sock in held:
        sock.setblocking(False)
        try:
            sock.recv(64)
        except BlockingIOError:
            still_open += 1
        except OSError:
            pass
    print(json.dumps({"still_open": still_open}))


def main() -> None:
    match [os.fsencode(argument) for argument in sys.argv[1:]]:
        case [b"query", port, in_flight, seconds, sources, query, expected]:
            asking = Asking(int(port), int(in_flight), int(sources), query, expected)
            print(json.dumps(asking.run(float(seconds))))
        case [b"hold", port, count, per_second, sources, prefix]:
            hold(int(port), int(count), float(per_second), int(sources), prefix)
        case _:
            sys.exit(
                "usage: load.py query PORT IN_FLIGHT SECONDS SOURCES QUERY EXPECTED\n"
                "       load.py hold PORT COUNT PER_SECOND SOURCES PREFIX"
            )


if __name__ == "__main__":
    main()
