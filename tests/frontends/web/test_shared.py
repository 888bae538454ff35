"""Long lists are rendered once, and every response sends the same bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio

from fingertrio.frontends.web.app import create_app
from fingertrio.frontends.web.shared import SharedBody
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.service.cache import Answer
from fingertrio.testing import FakeBackend
from fingertrio.wire.xmlrpc import dump_call
from tests.frontends.web.kit import serving
from tests.helpers import ANYONE

USERS = {f"user{number:05}": "x" for number in range(2000)}
GET_USERS = dump_call("getUsers", [])


async def body(app: QuartTrio, path: str) -> bytes:
    """The body that the server would send: the very object, so that a copy on the way shows."""
    call = path == "/RPC2"
    sent: list[bytes] = []
    received = [{"type": "http.request", "body": GET_USERS if call else b"", "more_body": False}]

    async def receive() -> Any:
        if not received:
            await trio.sleep_forever()
        return received.pop()

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.body" and message["body"]:
            sent.append(message["body"])

    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST" if call else "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"test"), (b"content-type", b"text/xml")],
        "client": None,
        "server": None,
        "extensions": {},
    }
    await app(scope, receive, send)
    [whole] = sent
    return whole


@asynccontextmanager
async def application() -> AsyncIterator[tuple[QuartTrio, FingerService]]:
    observer = Observer()
    async with FingerService.open(FakeBackend(USERS), observer=observer) as service:
        yield create_app(service, observer), service


@pytest.mark.parametrize("path", ["/api/users", "/RPC2"])
async def test_all_clients_are_sent_one_rendering_of_the_list(path: str) -> None:
    """Also fails when an upgrade of Quart begins to copy the bodies of responses."""
    async with application() as (app, service):
        first, second = [await body(app, path) for _ in range(2)]
        assert b"user01999" in first
        assert first is second, f"each response to {path} has a copy of the whole list"
        await service.set_user("user00000", "the service reads the list again, and it is the same", writer=ANYONE)
        assert await body(app, path) is first
        await service.set_user("zoe", "new in the list", writer=ANYONE)
        changed = await body(app, path)
        assert b"zoe" in changed
        assert await body(app, path) is changed


def test_a_rendering_lasts_until_the_content_differs() -> None:
    rendered: list[int] = []

    def render(answer: Answer[int]) -> bytes:
        rendered.append(answer.value)
        return b"%d" % answer.value

    shared = SharedBody(render)
    assert [shared.bytes_of(Answer(value, 0.0)) for value in (1, 1, 2, 1)] == [b"1", b"1", b"2", b"1"]
    assert rendered == [1, 2, 1]
    shared.bytes_of(Answer(1, 0.0, datetime(2026, 1, 1, tzinfo=UTC)))
    assert rendered == [1, 2, 1, 1], "since when it is stale is part of the content"


@pytest.mark.parametrize("path", ["/", "/api/users"])
async def test_the_etag_follows_the_content(path: str) -> None:
    async with application() as (app, service):
        client = app.test_client()
        tags = [(await client.get(path)).headers["ETag"]]
        await service.set_user("zoe", "new in the list", writer=ANYONE)
        tags += [(await client.get(path)).headers["ETag"] for _ in range(2)]
        assert tags[0] != tags[1] == tags[2]
        assert (await client.get(path, headers={"If-None-Match": tags[1]})).status_code == 304


async def test_a_list_arrives_whole_at_a_client_that_reads_slowly() -> None:
    async with serving(USERS) as site, await site.connect() as client:
        assert isinstance(client.stream, trio.SocketStream)
        client.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
        await client.send(b"GET /api/users HTTP/1.1\r\nHost: test\r\n\r\n")
        received = await client.response()
        assert all(name.encode() in received for name in USERS)
