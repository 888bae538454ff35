"""The peer that fingertrio descends from: the finger server of Twisted's tutorial, on today's Twisted.

Its shape, written anew: a LineReceiver asks a pluggable service through its factory, gets a Deferred, and writes what
it brings. The reactor is the one that Twisted picks (epoll on Linux). Only the backlog is set, to what every peer here
has: with the default of 50 a full accept queue, and TCP's time-outs after it, would be measured, not the server.
"""

from __future__ import annotations

import json
import sys
from typing import Protocol, cast

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

BACKLOG = 4096


class Transport(Protocol):
    """What is used of one, for type checkers: Twisted describes its own in terms that they do not read."""

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...  # noqa: N802 -- Twisted's name


class Port(Protocol):
    def getHost(self) -> IPv4Address: ...  # noqa: N802 -- Twisted's name


class Reactor(Protocol):
    def run(self) -> None: ...
    def listenTCP(  # noqa: N802 -- Twisted's name
        self, port: int, factory: ServerFactory[FingerProtocol], *, backlog: int, interface: str
    ) -> Port: ...


class FingerService(Protocol):
    """The pluggable part."""

    def get_user(self, user: bytes) -> Deferred[bytes]: ...


class MemoryService:
    """Statuses from a dict."""

    def __init__(self, users: dict[bytes, bytes]) -> None:
        self.users = users

    def get_user(self, user: bytes) -> Deferred[bytes]:
        return succeed(self.users.get(user, b"No such user"))


class FingerProtocol(LineReceiver):
    factory: FingerFactory

    def lineReceived(self, line: bytes) -> None:  # noqa: N802 -- Twisted's name
        asked = self.factory.service.get_user(line)
        asked.addErrback(self.excuse)
        asked.addCallback(self.reply)

    def excuse(self, _failure: Failure) -> bytes:
        return b"Internal error in server"

    def reply(self, answer: bytes) -> None:
        transport = cast("Transport", self.transport)
        transport.write(answer + b"\r\n")
        transport.loseConnection()


class FingerFactory(ServerFactory[FingerProtocol]):
    def __init__(self, service: FingerService) -> None:
        self.service = service

    def buildProtocol(self, addr: IAddress | None) -> FingerProtocol:  # noqa: ARG002, N802 -- Twisted's interface
        protocol = FingerProtocol()
        protocol.factory = self
        return protocol


def main() -> None:
    reactor = cast("Reactor", _reactor)
    factory = FingerFactory(MemoryService({b"moshez": b"Happy and well"}))
    port = reactor.listenTCP(0, factory, backlog=BACKLOG, interface="127.0.0.1")
    address = f"127.0.0.1:{port.getHost().port}"
    print(json.dumps({"event": "listening", "door": "finger", "address": address}), file=sys.stderr)
    print(json.dumps({"event": "ready", "reactor": type(reactor).__name__}), file=sys.stderr, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
