"""Uvicorn with uvloop and httptools, and Starlette: what most Python services run on."""

from __future__ import annotations

import asyncio

import uvicorn
import web_content as content
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_LIST = content.users_json()


def _response(request: Request, body: bytes, kind: str) -> Response:
    headers = {**content.HEADERS, "ETag": content.etag(body)}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=kind, headers=headers)


async def user(request: Request) -> Response:
    return _response(request, content.user_json(request.path_params["user"]), "application/json")


async def users(request: Request) -> Response:
    return _response(request, _LIST, "application/json")


async def page(request: Request) -> Response:
    return _response(request, content.user_page(request.path_params["user"]), "text/html; charset=utf-8")


def main() -> None:
    app = Starlette(routes=[Route("/api/users/{user}", user), Route("/api/users", users), Route("/{user}", page)])
    sock = content.listen()
    config = uvicorn.Config(
        app, access_log=False, log_level="warning", ssl_certfile=content.CERTFILE, loop="uvloop", http="httptools"
    )
    content.announce(sock.getsockname()[1])
    asyncio.set_event_loop_policy(__import__("uvloop").EventLoopPolicy())
    asyncio.run(uvicorn.Server(config).serve(sockets=[sock]))


if __name__ == "__main__":
    main()
