"""The peer from the standard library: asyncio's callbacks, with neither its streams nor uvloop."""

from __future__ import annotations

import asyncio
import json
import sys

BACKLOG = 4096  # as every peer here

USERS = {b"moshez": b"Happy and well"}


class FingerProtocol(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        line, end, _rest = self.received.partition(b"\r\n")
        if end:
            self.transport.write(USERS.get(line, b"No such user") + b"\r\n")
            self.transport.close()


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(FingerProtocol, "127.0.0.1", 0, backlog=BACKLOG)
    address = "{}:{}".format(*server.sockets[0].getsockname())
    print(json.dumps({"event": "listening", "door": "finger", "address": address}), file=sys.stderr)
    print(json.dumps({"event": "ready"}), file=sys.stderr, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
