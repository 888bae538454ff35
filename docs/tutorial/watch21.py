"""A client for the live feed of finger21.py: it turns messages into values, and comes back after a break."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from trio_websocket import ConnectionClosed, HandshakeError, open_websocket_url

PAUSE = 1.0  # seconds before it connects again


@dataclass(frozen=True)
class Change:
    """A user's status as it is now. `since` is the mark from which to go on after this change."""

    user: str
    status: str
    since: str

    @classmethod
    def parse(cls, message: str | bytes) -> "Change":
        """Return what a message says. Raise ValueError if it is not one of ours."""
        match json.loads(message):
            case {"user": str(user), "status": str(status), "since": str(since)}:
                return cls(user, status, since)
        raise ValueError(f"not a change: {message[:80]!r}")


async def receive(url: str, since: str, changes: trio.MemorySendChannel[Change]) -> None:
    """Put changes into a channel, for ever. After a break, connect again and go on where it broke."""
    while True:
        try:
            async with open_websocket_url(f"{url}?since={since}") as connection:
                while True:
                    change = Change.parse(await connection.get_message())
                    await changes.send(change)
                    since = change.since
        except* (OSError, ConnectionClosed, HandshakeError):
            await trio.sleep(PAUSE)


@asynccontextmanager
async def follow(url: str, since: str = "") -> AsyncIterator[trio.MemoryReceiveChannel[Change]]:
    """Open a channel of changes. The connection lives as long as the block."""
    send, changes = trio.open_memory_channel[Change](0)  # no buffer: a slow reader slows the connection down
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive, url, since, send)
        yield changes
        nursery.cancel_scope.cancel()


async def main(url: str = "ws://127.0.0.1:8000/api/watch", count: int = sys.maxsize) -> None:
    async with follow(url) as changes:
        for _ in range(count):
            change = await changes.receive()
            print(f"{change.user}: {change.status}", flush=True)


if __name__ == "__main__":
    trio.run(main)
