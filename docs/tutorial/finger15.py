"""Pages: a web server in the same nursery, over the same service."""

from collections.abc import Awaitable, Callable
from functools import partial
from html import escape
from pathlib import Path

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import Framework
from quart_trio import QuartTrio

from finger08 import handle
from finger14 import FILE, FileService


def make_app(look_up: Callable[[str], Awaitable[str]]) -> QuartTrio:
    """Return a web application with a page for each user."""
    app = QuartTrio("finger")

    @app.get("/<user>")
    async def page(user: str) -> str:
        status = await look_up(user.lower())
        return f"<!doctype html><title>{escape(user)}</title><h1>{escape(user)}</h1><p>{escape(status)}</p>\n"

    return app


async def serve_web(
    app: Framework, host: str, port: int, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run Hypercorn in the caller's nursery until that is cancelled."""
    config = Config()
    config.bind = [f"{host}:{port}"]
    config.errorlog = None  # Hypercorn need not log its start: nursery.start waits for it
    await serve(app, config, shutdown_trigger=trio.sleep_forever, task_status=task_status)


async def main(
    path: Path = FILE,
    host: str = "127.0.0.1",
    port: int = 7979,
    web_port: int = 8000,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    service = FileService(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.watch)
        await nursery.start(partial(trio.serve_tcp, partial(handle, service.get_user), port, host=host))
        await nursery.start(serve_web, make_app(service.get_user), host, web_port)
        task_status.started()


if __name__ == "__main__":
    trio.run(main)
