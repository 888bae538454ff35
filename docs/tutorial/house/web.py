"""The doors for HTTP: pages and XML-RPC."""

from html import escape
from typing import Any
from xmlrpc.client import Fault

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio

from house.rpc import response, user_in
from house.service import Service, Unavailable

LARGEST = 16 * 1024  # bytes of a request


def make_app(service: Service) -> QuartTrio:
    """Return a web application with a page for each user, and XML-RPC at /RPC2."""
    app = QuartTrio("finger")
    app.config["MAX_CONTENT_LENGTH"] = LARGEST

    @app.get("/<user>")
    async def page(user: str) -> tuple[str, int]:
        status = await service.get_user(user.lower())
        text = "No such user" if status is None else status
        html = f"<!doctype html><title>{escape(user)}</title><h1>{escape(user)}</h1><p>{escape(text)}</p>\n"
        return html, 404 if status is None else 200

    @app.post("/RPC2")
    async def rpc() -> Response:
        answer: str | Fault
        try:
            answer = await service.get_user(user_in(await request.data)) or "No such user"
        except Fault as fault:
            answer = fault
        return Response(response(answer), content_type="text/xml")

    @app.errorhandler(Unavailable)
    async def unavailable(_: Unavailable) -> tuple[str, int]:
        return "Internal error in server\n", 503

    return app


async def serve_web(
    app: QuartTrio, host: str, port: int, *, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run Hypercorn until it is cancelled."""
    config = Config()
    config.bind = [f"{host}:{port}"]
    config.errorlog = None
    await serve(app, config, shutdown_trigger=trio.sleep_forever, task_status=task_status)
