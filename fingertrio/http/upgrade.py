"""A request that turns its connection, or its HTTP/2 stream, into something else: a WebSocket, or an endless response.

To the application, a WebSocket is a GET request with an `Upgrade` in its scope. To accept, the application puts an
`UpgradedSession` there and answers 101. HTTP/1.1 (RFC 9110 section 7.8) then hands over the whole connection. HTTP/2
(RFC 8441) sends 200 instead and hands over the stream; it has no key to answer.

Every request has a `Takeover` in its scope. If the application puts a session there and answers 200, the head of the
response is sent, without a length, and what follows is the session's. Only what the session sends reaches the client,
and what it receives is an end of input when the client is gone.
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


class Takeover:
    """What may take over after the head of the answer.

    Attributes:
        session: what runs then; set by the application.
    """

    def __init__(self) -> None:
        self.session: UpgradedSession | None = None


class Upgrade(Takeover):
    """The client's wish for a WebSocket.

    Attributes:
        has_key: whether the handshake has a Sec-WebSocket-Key, which the answer must prove to have read.
    """

    def __init__(self, *, has_key: bool) -> None:
        super().__init__()
        self.has_key = has_key


def offered_upgrade(scope: Scope) -> Upgrade | None:
    """The upgrade that the client of this request asks for, if any."""
    found = offered_takeover(scope)
    return found if isinstance(found, Upgrade) else None


def offered_takeover(scope: Scope) -> Takeover | None:
    """Where the session of an endless response is put; None: the server below the application has no such thing."""
    return scope.get("state", {}).get("takeover")
