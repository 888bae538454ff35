"""The web whole: templates that escape, headers that forbid what we do not use, ETags, and problems as JSON."""

import trio
from jinja2 import Environment
from quart import Response, jsonify, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, NotFound, ServiceUnavailable

from finger19_1 import Backend
from finger19_3 import FingerService
from finger19a import MemoryBackend
from house.doors import finger, open_door, setter
from house.service import Service, Unavailable
from house.web import serve_web

TEMPLATES = Environment(autoescape=True)
PAGE = TEMPLATES.from_string("""<!doctype html>
<html lang="en">
<title>{{ title }}</title>
<h1>{{ title }}</h1>
<p>{{ text }}</p>
""")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",  # no script, style, image, form target
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # caches may keep it, but have to ask whether it still holds
}


def make_app(service: Service) -> QuartTrio:  # noqa: C901 - the routes are read one by one
    """Return a web application: a page and a JSON document for each user."""
    app = QuartTrio("finger")

    async def status_of(user: str) -> str:
        try:
            status = await service.get_user(user.lower())
        except Unavailable:
            raise ServiceUnavailable("Internal error in server") from None
        if status is None:
            raise NotFound("No such user")
        return status

    @app.get("/<user>")
    async def page(user: str) -> str:
        return PAGE.render(title=user, text=await status_of(user))

    @app.get("/api/users/<user>")
    async def document(user: str) -> Response:
        return jsonify(user=user.lower(), status=await status_of(user))

    @app.errorhandler(HTTPException)
    async def problem(error: HTTPException) -> tuple[Response, int]:
        status = error.code or 500
        if not request.path.startswith("/api/"):
            return Response(
                PAGE.render(title=error.name, text=error.description or ""), content_type="text/html"
            ), status
        response = jsonify(title=error.name, detail=error.description, status=status)
        response.content_type = "application/problem+json"  # RFC 9457
        return response, status

    @app.after_request
    async def finish(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if response.status_code == 200:
            await response.add_etag()
            await response.make_conditional(request)
        return response

    return app


async def main(
    backend: Backend | None = None,
    host: str = "127.0.0.1",
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    service = FingerService(backend or MemoryBackend())
    async with trio.open_nursery() as nursery:
        await nursery.start(open_door(finger, service, host, 7979))
        await nursery.start(open_door(setter, service, host, 1079))
        await nursery.start(serve_web, make_app(service), host, 8000)
        task_status.started()


if __name__ == "__main__":
    trio.run(main)
