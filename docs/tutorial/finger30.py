"""Watching it run: a line for each query that cannot be forged, counters that cannot grow, and the lag of the loop."""

import time
from functools import partial

import trio
from quart import Response
from quart_trio import QuartTrio

from finger19_1 import Backend
from finger19_3 import FingerService
from finger19a import MemoryBackend
from house.doors import open_door, read_lines
from house.service import Service
from house.web import serve_web
from house.wire import user_of
from observe30 import Log, Observer, write


async def observed_finger(observer: Observer, service: Service, stream: trio.abc.HalfCloseableStream) -> str:
    """Read one query, answer it, and report it."""
    [query] = await read_lines(stream, 1)
    started = time.perf_counter()
    outcome = "failed"
    try:
        status = await service.get_user(user_of(query))
        outcome = "unknown" if status is None else "ok"
        return "No such user" if status is None else status
    finally:
        observer.query(query, outcome, time.perf_counter() - started)


def admin_app(observer: Observer) -> QuartTrio:
    app = QuartTrio("admin")

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(observer.metrics(), content_type="text/plain; version=0.0.4")

    return app


async def main(
    backend: Backend | None = None,
    log: Log = write,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    observer = Observer(log)
    service = FingerService(backend or MemoryBackend())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(observer.watch_loop)
        await nursery.start(open_door(partial(observed_finger, observer), service, host, 7979))
        await nursery.start(serve_web, admin_app(observer), host, 8000)
        observer.event("ready")
        task_status.started()


if __name__ == "__main__":
    trio.run(main)
