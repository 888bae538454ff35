"""Stock Hypercorn on Trio: a bare ASGI application, or Quart. The second argument says which: "bare" or "quart".

Quart's page comes from a template of about as many parts as fingertrio's.
"""

from __future__ import annotations

import sys
import xmlrpc.client

import trio
import web_content as content
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import worker_serve
from jinja2 import DictLoader, Environment
from quart import Response, request
from quart_trio import QuartTrio

_TEMPLATES = {
    "base.html": """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{% block title %}{{ site.title }}{% endblock %}</title>
{% if not site.index %}<meta name="robots" content="noindex">{% endif %}{% block head %}{% endblock %}
<link rel="stylesheet" href="{{ root }}{{ asset('style.css') }}">
<link rel="icon" type="image/svg+xml" href="{{ root }}{{ asset('icon.svg') }}"></head>
<body><header><p><a href="{{ root }}">{{ site.title }}</a></p><p>{{ site.description }}</p></header>
{% if stale %}<p>As of {{ stale }}</p>{% endif %}<main>{% block body %}{% endblock %}</main>
<footer>{% block footer %}{% endblock %}</footer></body></html>
""",
    "user.html": """{% extends "base.html" %}{% block title %}{{ user }} - {{ site.title }}{% endblock %}
{% block head %}<link rel="alternate" type="application/json" href="{{ root }}api/users/{{ user }}">{% endblock %}
{% macro row(label, text) %}<dt>{{ label }}</dt><dd>{{ text }}</dd>{% endmacro %}
{% block body %}<h1>{{ user }}</h1>{% for line in lines %}<p>{{ line }}</p>{% endfor %}
<dl>{% for label, text in details %}{{ row(label, text) }}{% endfor %}</dl>
<ul>{% for label, text in elsewhere %}<li><code>{{ text }}</code> {{ label }}</li>{% endfor %}</ul>{% endblock %}
{% block footer %}<p><a href="{{ root }}">All users</a>. {{ filler }}</p>{% endblock %}
""",
}
_SITE = {"title": "fingertrio", "description": "What people here are up to", "index": False}
_ROWS = [("finger", "finger moshez@example.net"), ("JSON", "curl http://example.net/api/users/moshez"), ("IRC", "/msg")]

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
    environment = Environment(loader=DictLoader(_TEMPLATES), autoescape=True, auto_reload=False)
    environment.globals["asset"] = lambda name: f"-/{name}"

    @app.get("/api/users/<user>")
    async def user(user: str) -> Response:
        return Response(content.user_json(user), content_type="application/json")

    @app.get("/<user>")
    async def page(user: str) -> Response:
        page = environment.get_template("user.html").render(
            user=user,
            lines=[content.STATUSES[user]["status"]],
            details=_ROWS,
            elsewhere=_ROWS,
            root="./",
            site=_SITE,
            stale=None,
            filler="." * 2000,
        )
        return Response(page, content_type="text/html; charset=utf-8")

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
