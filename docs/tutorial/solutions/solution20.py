"""A form at / that leads to a page. The policy has to allow it: forms may be sent, but only to us."""

from urllib.parse import quote

import trio
from quart import Response, request
from quart_trio import QuartTrio

from finger19_3 import FingerService
from finger19a import MemoryBackend
from finger20 import HEADERS, TEMPLATES, make_app
from harness import Step
from house.web import serve_web

FORM = TEMPLATES.from_string("""<!doctype html>
<title>Finger</title>
<form><label>Name <input name="user" required></label> <button>Ask</button></form>
""")


def add_form(app: QuartTrio) -> QuartTrio:
    @app.get("/")
    async def form() -> Response:
        if user := request.args.get("user"):
            return Response(status=303, headers={"Location": f"/{quote(user, safe='')}"})  # never to another site
        return Response(FORM.render(), content_type="text/html")

    @app.after_request
    async def allow_the_form(response: Response) -> Response:
        if request.path == "/":
            response.headers["Content-Security-Policy"] = f"{HEADERS['Content-Security-Policy']}; form-action 'self'"
        return response

    return app


async def main(host: str = "127.0.0.1", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    app = add_form(make_app(FingerService(MemoryBackend())))
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_web, app, host, 8000)
        task_status.started()


async def check(step: Step) -> None:
    async with step.running():
        _, head, body = await step.request("/")
        assert b"<form>" in body
        assert head.lower().count("content-security-policy") == 1
        assert "form-action 'self'" in head
        status, head, _ = await step.request("/?user=%2F%2Fevil.example")
        assert status == 303
        assert "location: /%2F%2Fevil.example" in head


if __name__ == "__main__":
    trio.run(main)
