"""A request that turns its connection, or its HTTP/2 stream, into a WebSocket.

To the application it is a GET request with an `Upgrade` in its scope. To accept, the application puts an
`UpgradedSession` there and answers 101. HTTP/1.1 (RFC 9110 section 7.8) then hands over the whole connection. HTTP/2
(RFC 8441) sends 200 instead and hands over the stream; it has no key to answer.
"""

from __future__ import annotations

from typing import Protocol

from hypercorn.typing import Scope


class ByteStream(Protocol):
    """The part of `trio.abc.Stream` that an upgraded connection and an HTTP/2 stream have in common."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray: ...


class UpgradedSession(Protocol):
    """What runs on a connection after the upgrade."""

    async def run(self, stream: ByteStream, early: bytes) -> bool:
        """Run until one side ends it. `early` was received already; the caller closes the stream.

        Returns whether closing at once could destroy the last bytes sent.
        """
        ...

    def retire(self) -> None:
        """End soon: the door closes. May be called before `run`."""
        ...


class Upgrade:
    """The client's wish for a WebSocket.

    Attributes:
        has_key: whether the handshake has a Sec-WebSocket-Key, which the answer must prove to have read.
        session: what runs after the answer 101; set by the application.
    """

    def __init__(self, *, has_key: bool) -> None:
        self.has_key = has_key
        self.session: UpgradedSession | None = None


def offered_upgrade(scope: Scope) -> Upgrade | None:
    """The upgrade that the client of this request asks for, if any."""
    return scope.get("state", {}).get("upgrade")
