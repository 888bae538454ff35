"""What a Quart handler under Trio takes to tell its clients of a change, written as the documentation shows it.

Each client has a task that waits at a channel of its own; a change puts its message into all of them. Nothing is
bounded, resumed or drained, and a slow reader is cut off.
"""

import json
import sys
from contextlib import contextmanager

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import request, websocket
from quart_trio import QuartTrio

app = QuartTrio(__name__)
channels = set()


@contextmanager
def messages():
    sending, receiving = trio.open_memory_channel(16)
    channels.add(sending)
    try:
        yield receiving
    finally:
        channels.discard(sending)


@app.websocket("/api/watch")
async def watch():
    with messages() as changes:
        await websocket.send('{"type": "hello"}')
        async for message in changes:
            await websocket.send(message)


@app.get("/api/events")
async def events():
    async def stream():
        with messages() as changes:
            yield b'data: {"type": "hello"}\n\n'
            async for message in changes:
                yield f"data: {message}\n\n".encode()

    response = await app.make_response((stream(), {"Content-Type": "text/event-stream"}))
    response.timeout = None
    return response


@app.post("/change")
async def change():
    message = (await request.get_data()).decode()
    for channel in channels:
        channel.send_nowait(message)
    return ""


async def main():
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.backlog = 4096
    config.websocket_ping_interval = 15
    async with trio.open_nursery() as nursery:
        [url] = await nursery.start(serve, app, config)
        address = url.removeprefix("http://")
        print(json.dumps({"event": "listening", "door": "http", "address": address}), file=sys.stderr)
        print(json.dumps({"event": "ready"}), file=sys.stderr, flush=True)


trio.run(main)
