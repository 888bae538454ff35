"""Stock Hypercorn on Trio, below fingertrio's own parts: a bare ASGI application, or Quart ("quart" as third argument).

Without a certificate: the third argument takes its place.
"""

from __future__ import annotations

import sys
import xmlrpc.client

import trio
import web_content as content
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import worker_serve
from quart import Response, request
from quart_trio import QuartTrio

_JSON = [(b"content-type", b"application/json")]


async def bare(scope, receive, send) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = content.user_json("moshez")
    headers = [*_JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def quart() -> QuartTrio:
    app = QuartTrio(__name__, static_folder=None)

    @app.get("/api/users/<user>")
    async def user(user: str) -> Response:
        return Response(content.user_json(user), content_type="application/json")

    @app.get("/<user>")
    async def page(user: str) -> Response:
        return Response(content.user_page(user), content_type="text/html; charset=utf-8")

    @app.post("/RPC2")
    async def rpc() -> Response:
        parameters, _method = xmlrpc.client.loads(await request.get_data())
        answer = xmlrpc.client.dumps((content.STATUSES[parameters[0]]["status"],), methodresponse=True)
        return Response(answer, content_type="text/xml")

    return app


async def main() -> None:
    app = quart() if sys.argv[2] == "quart" else bare
    sock = content.listen()
    config = Config()
    config.accesslog = config.errorlog = None
    content.announce(sock.getsockname()[1])
    await worker_serve(ASGIWrapper(app), config, sockets=Sockets([], [sock], []), shutdown_trigger=trio.sleep_forever)


if __name__ == "__main__":
    trio.run(main)
