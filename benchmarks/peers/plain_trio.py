"""The peer that trio's own documentation would lead one to write: `trio.serve_tcp` and one handler, nothing else."""

from __future__ import annotations

import json
import sys
from functools import partial

import trio

BACKLOG = 4096  # as every peer here

USERS = {b"moshez": b"Happy and well"}


async def handle(stream: trio.SocketStream) -> None:
    received = b""
    while b"\r\n" not in received:
        chunk = await stream.receive_some(512)
        if not chunk:
            return
        received += chunk
    line = received.partition(b"\r\n")[0]
    await stream.send_all(USERS.get(line, b"No such user") + b"\r\n")


async def main() -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, handle, 0, host="127.0.0.1", backlog=BACKLOG)
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        address = "{}:{}".format(*listeners[0].socket.getsockname())
        print(json.dumps({"event": "listening", "door": "finger", "address": address}), file=sys.stderr)
        print(json.dumps({"event": "ready"}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    trio.run(main)
