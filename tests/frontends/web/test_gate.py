"""The outermost layer, with an application and a server made of a few lines."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import trio

from fingertrio.frontends.web.gate import Gate, note_outcome, note_question
from fingertrio.observe.observer import Observer

SCOPE = {
    "type": "http",
    "method": "GET",
    "raw_path": b"/moshez",
    "query_string": b"",
    "client": ("192.0.2.1", 5000),
}


class Server:
    """What Hypercorn is, for one request."""

    def __init__(self, app: Callable[..., Any], **scope: Any) -> None:
        self.log = io.StringIO()
        self.observer = Observer(self.log, human=False)
        self.gate = Gate(app, self.observer)
        self.scope: Any = SCOPE | scope

    async def run(self) -> dict[str, Any]:
        """Run the request; its line in the log."""
        await self.gate(self.scope, self._receive, self._send)
        line: dict[str, Any] = json.loads(self.log.getvalue())
        return line

    async def _receive(self) -> Any:
        raise AssertionError("the application does not read the body")

    async def _send(self, message: Any) -> None:
        await trio.lowlevel.checkpoint()


def answering(status: int, body: bytes = b"12345", **extra: Any) -> Callable[..., Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (304, "ok"), (404, "unknown"), (400, "bad"), (405, "bad"), (500, "error"), (503, "error")],
)
async def test_every_answer_is_one_line_in_the_log(status: int, outcome: str) -> None:
    server = Server(answering(status), query_string=b"x=\x1b")
    line = await server.run()
    assert line["door"] == "http"
    assert line["peer"] == "192.0.2.1"
    assert line["asked"] == "GET /moshez?x=\\x1b"
    assert line["outcome"] == outcome
    assert line["bytes"] == 5
    assert server.observer.metrics.queries == {("http", outcome): 1}


async def test_a_body_that_is_not_sent_is_not_counted() -> None:
    assert (await Server(answering(200), method="HEAD").run())["bytes"] == 0


async def test_a_unix_socket_has_no_address() -> None:
    assert (await Server(answering(200), client=None).run())["peer"] == "unix"


async def test_a_long_target_is_cut_in_the_log() -> None:
    line = await Server(answering(200), raw_path=b"/" + b"x" * 5000).run()
    assert len(line["asked"]) < 250


@pytest.mark.parametrize(("status", "outcome"), [(200, "list"), (503, "error")])
async def test_a_handler_may_say_more_of_its_success(status: int, outcome: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        note_outcome(scope, "list")
        await answering(status)(scope, receive, send)

    assert (await Server(app).run())["outcome"] == outcome


@pytest.mark.parametrize(("status", "outcome"), [(200, "list"), (503, "error")])
async def test_a_question_of_another_protocol_has_that_line_and_no_other(status: int, outcome: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        note_question(scope, "xmlrpc", "getUsers", "list")
        await answering(status)(scope, receive, send)

    server = Server(app, method="POST")
    line = await server.run()
    assert (line["door"], line["peer"], line["asked"], line["bytes"]) == ("xmlrpc", "192.0.2.1", "getUsers", 5)
    assert server.observer.metrics.queries == {("xmlrpc", outcome): 1}
    assert server.observer.metrics.bytes_sent == {"xmlrpc": 5}


async def test_an_application_that_fails_is_an_error_and_its_exception_goes_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError

    server = Server(app)
    with pytest.raises(LookupError):
        await server.run()
    assert server.observer.metrics.queries == {("http", "error"): 1}


async def test_what_is_no_request_goes_through() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    server = Server(app, type="lifespan")
    await server.gate(server.scope, server._receive, server._send)
    assert seen == ["lifespan"]
    assert server.log.getvalue() == ""
