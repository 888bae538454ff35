"""One request's application and its server, each of a few lines, and how they part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from trio.testing import MockClock

from fingertrio.http.exchange import Exchanges
from fingertrio.http.limits import Budgets
from fingertrio.http.server import HttpFrontend
from fingertrio.net.address import parse_address
from fingertrio.net.limits import ConnectionCaps
from fingertrio.net.listen import bind, close_all
from tests.frontends.web.kit import Client, CountingObserver

App = Callable[[Any, Any, Any], Awaitable[None]]

BODY = {"type": "http.request", "body": b"x", "more_body": True}
DISCONNECT = {"type": "http.disconnect"}


async def answer(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False})


def open_exchanges(app: App) -> Exchanges:
    return Exchanges(ASGIWrapper(app), Config(), WorkerContext(None), Budgets(), tls=False, client=None, server=None)


async def start(exchanges: Exchanges, app: App, sent: list[Any]) -> Any:
    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message and message["type"])

    scope: Any = {"type": "http"}
    return await exchanges.spawn_app(ASGIWrapper(app), Config(), scope, send)


async def test_a_client_that_leaves_is_heard_before_the_answer_is_finished() -> None:
    heard = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        heard.extend([await receive(), await receive()])

    sent: list[Any] = []
    async with open_exchanges(app) as exchanges:
        put = await start(exchanges, app, sent)
        await trio.testing.wait_all_tasks_blocked()
        await put(BODY)
        await put(DISCONNECT)
    assert heard == [BODY, DISCONNECT]
    assert sent == ["http.response.start", "http.response.body", None]


async def test_nothing_is_heard_once_the_answer_is_on_its_way(patient_clock: MockClock) -> None:
    heard = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send)
        with trio.move_on_after(3600):
            heard.append(await receive())

    async with open_exchanges(app) as exchanges:
        put = await start(exchanges, app, [])
        await trio.testing.wait_all_tasks_blocked()
        for message in (BODY, DISCONNECT):
            await put(message)
    assert heard == []


@pytest.mark.parametrize("answers", [True, False])
async def test_who_waits_for_an_application_that_does_not_read_is_let_go_by_its_end(
    *, answers: bool, patient_clock: MockClock
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(1)
        if answers:
            await answer(send)

    with trio.fail_after(60):
        async with open_exchanges(app) as exchanges:
            put = await start(exchanges, app, [])
            for _ in range(100):
                await put(BODY)
            assert trio.current_time() == 1
            await put(DISCONNECT)


async def test_an_application_that_never_reads_stands_behind_a_whole_door(patient_clock: MockClock) -> None:
    """The body comes in more messages than the queue holds; the connection ends all the same."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"  # a life span is more than it can do, and it says so by raising
        await trio.sleep(1)
        await answer(send)

    observer = CountingObserver()
    listeners = bind(parse_address("127.0.0.1:0"))
    caps = ConnectionCaps(total=9, per_address=9)
    door = HttpFrontend(lambda: app, door="http", observer=observer, listeners=listeners, caps=caps)
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve, trio.Event())
        async with Client(await trio.open_tcp_stream(*listeners[0].getsockname())) as client:
            head = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
            await client.send(head + b"1\r\nx\r\n" * 50)
            assert (await client.rest()).endswith(b"ok")
        with trio.fail_after(10):
            await observer.empty.wait()
        nursery.cancel_scope.cancel()
    close_all(listeners)
