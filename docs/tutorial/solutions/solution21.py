"""At most two watchers: each costs two tasks and a connection. The third is closed with 1013, "try again later"."""

import trio
from quart import websocket
from quart_trio import QuartTrio
from trio_websocket import ConnectionClosed, open_websocket_url, wrap_client_stream

from finger19a import MemoryBackend
from finger21 import LiveService
from harness import Step
from house.web import serve_web

WATCHERS = 2


def make_app(service: LiveService) -> QuartTrio:
    app = QuartTrio("finger")
    places = trio.CapacityLimiter(WATCHERS)

    @app.websocket("/api/watch")
    async def watch() -> None:
        await websocket.accept()
        try:
            places.acquire_on_behalf_of_nowait(token := object())
        except trio.WouldBlock:
            await websocket.close(1013)
            return
        try:
            await websocket.send(f"change {service.hub.last}")
            while True:
                await websocket.receive()
        finally:
            places.release_on_behalf_of(token)

    return app


async def main(host: str = "127.0.0.1", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_web, make_app(LiveService(MemoryBackend())), host, 8000)
        task_status.started()


async def check(step: Step) -> None:
    url = f"ws://{step.host}:8000/api/watch"
    async with step.running():
        async with open_websocket_url(url) as first, open_websocket_url(url) as second:
            assert await first.get_message() == await second.get_message() == "change 0"
            # The stream is ours here: trio-websocket 0.12 leaves it open when the server closes the connection.
            async with await step.connect(8000) as stream, trio.open_nursery() as nursery:
                third = await wrap_client_stream(nursery, stream, "localhost", "/api/watch")
                code = None
                try:
                    await third.get_message()
                except ConnectionClosed as closed:
                    code = closed.reason and closed.reason.code
                assert code == 1013


if __name__ == "__main__":
    trio.run(main)
