"""What tests of several parts of the program share."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import trio

from fingertrio.accounts.accounts import Accounts
from fingertrio.accounts.store import Document, TokenStore
from fingertrio.accounts.writer import unproved
from fingertrio.net.address import Address
from fingertrio.net.limits import RateLimiter
from fingertrio.net.listen import bind, close_all
from fingertrio.testing import FakeBackend
from tests.accounts.kit import MemoryDocument

ANYONE = unproved("test")  # may set every status


def no_accounts(document: Document | None = None) -> Accounts:
    """Accounts without a token, in memory or in `document`."""
    return Accounts(TokenStore(document or MemoryDocument()), RateLimiter(rate=10 / 60, burst=10))


def open_descriptors() -> int:
    """How many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@contextmanager
def loopback_listener(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A listening, non-blocking socket on a free port."""
    sockets = bind(Address(host, 0))
    try:
        yield sockets[0]
    finally:
        close_all(sockets)


def reset(sock: socket.socket | trio.socket.SocketType) -> None:
    """Close a connection as a crash does: the other side sees a reset instead of an end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def raised(error: Exception, *, cause: Exception | None = None) -> Exception:
    """`error` with a traceback, as one that was caught."""
    try:
        raise error from cause
    except type(error) as caught:
        return caught


@dataclass
class Report:
    """One event, as it was reported."""

    level: str
    event: str
    exc: BaseException | None = None
    fields: dict[str, object] = field(default_factory=dict)


class RecordingReports:
    """Replaces the observer and records what is reported."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.refusals: Counter[str] = Counter()
        self.open = 0
        self.most_open = 0
        self.restarts: Counter[str] = Counter()
        self.recoveries: Counter[str] = Counter()

    def info(self, event: str, **fields: object) -> None:
        self.reports.append(Report("info", event, None, fields))

    def warning(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        self.reports.append(Report("warning", event, exc, fields))

    def error(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        self.reports.append(Report("error", event, exc, fields))

    def refused(self, _door: str, reason: str) -> None:
        self.refusals[reason] += 1

    def connected(self, _door: str, change: int) -> None:
        self.open += change
        self.most_open = max(self.most_open, self.open)

    def restarted(self, task: str) -> None:
        self.restarts[task] += 1

    def recovered(self, what: str) -> None:
        self.recoveries[what] += 1

    def flush(self) -> None:
        pass

    def events(self, level: str | None = None) -> list[str]:
        """The names of what was reported, in order."""
        return [report.event for report in self.reports if level in (None, report.level)]


class Ageing(FakeBackend):
    """Is as out of date as a test says."""

    age: datetime | None = None

    def stale_since(self) -> datetime | None:
        return self.age
