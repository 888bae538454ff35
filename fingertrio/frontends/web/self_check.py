"""One request to the application without a socket, to check that it can answer."""

from __future__ import annotations

import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveEvent, ASGISendEvent, ConnectionState, HTTPScope

from fingertrio.frontends.web import history_pages, pages
from fingertrio.frontends.web.rendering import Pages

# There is no such page: the answer needs no backend, and passes through routing, error handling and a template.
_PATH = "/-/"


async def check_app(app: ASGIFramework) -> None:
    """Ask for a page, and render the others.

    Raises:
        RuntimeError: the application answered with a status other than 404.
        Exception: a template cannot be rendered.
    """
    pages.check_rendering(Pages())
    history_pages.check_rendering(Pages())
    status: list[int] = []
    request: list[ASGIReceiveEvent] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> ASGIReceiveEvent:
        if not request:
            await trio.sleep_forever()  # the client waits for the answer
        return request.pop()

    async def send(message: ASGISendEvent) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            status.append(message["status"])

    await app(_scope(), receive, send)
    if status != [404]:
        raise RuntimeError(f"a page that does not exist is answered with status {status}")


def _scope() -> HTTPScope:
    return {
        "type": "http",
        "asgi": {"spec_version": "2.3", "version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": _PATH,
        "raw_path": _PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": None,
        "server": None,
        "extensions": {},
        "state": ConnectionState({}),
    }
