"""The memory that all clients of a door occupy together, and what is refused when it is used up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio
import trio.testing
from hyperframe.frame import DataFrame, RstStreamFrame

from fingertrio.http.server import HttpFrontend
from fingertrio.http.tls import BUSY_ALERT
from fingertrio.net.address import parse_address
from fingertrio.net.limits import ConnectionCaps
from fingertrio.net.listen import bind, close_all
from tests.frontends.web.kit import Client, CountingObserver, Http2Client

MEMORY = 8_000_000  # 4 MB for answers, 2 MB for request bodies
BIG = b"#" * 3_000_000  # more than the kernel buffers for a client that does not read
GET = b"GET /%b HTTP/1.1\r\nHost: test\r\n\r\n"


class Door:
    def __init__(self, frontend: HttpFrontend, observer: CountingObserver, place: tuple[str, int]) -> None:
        self.frontend = frontend
        self.budgets = frontend._budgets
        self.observer = observer
        self.place = place

    async def connect(self) -> Client:
        return Client(await trio.open_tcp_stream(*self.place))

    async def ask(self, request: bytes) -> bytes:
        async with await self.connect() as client:
            await client.send(request)
            return await client.response()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with a path's bytes: /shared the same object each time, /big another one, /small a few bytes."""
    if scope["type"] != "http":
        await send({"type": "lifespan.startup.complete"})
        await trio.sleep_forever()
    if scope["method"] == "POST":
        while (await receive()).get("more_body", False):
            pass
    body = {"/shared": BIG, "/big": bytes(bytearray(BIG))}.get(scope["path"], b"small")
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@asynccontextmanager
async def serving() -> AsyncIterator[Door]:
    observer = CountingObserver()
    listeners = bind(parse_address("127.0.0.1:0"))
    caps = ConnectionCaps(total=99, per_address=99)
    frontend = HttpFrontend(lambda: app, door="http", observer=observer, listeners=listeners, caps=caps, memory=MEMORY)
    async with trio.open_nursery() as nursery:
        await nursery.start(frontend.serve, trio.Event())
        yield Door(frontend, observer, listeners[0].getsockname())
        with trio.fail_after(5):
            await observer.empty.wait()
        nursery.cancel_scope.cancel()
    close_all(listeners)
    budgets = frontend._budgets
    assert (budgets.answers.used, budgets.bodies.used, budgets.handshakes.used) == (0, 0, 0)


async def reading_nothing(door: Door, request: bytes, stack: AsyncExitStack) -> Client:
    """A client that has received the beginning of its answer, and does not read on."""
    client = await stack.enter_async_context(await door.connect())
    await client.send(request)
    await client.more()
    return client


async def test_answers_beyond_the_budget_are_503_and_small_ones_go_on():
    async with serving() as door, AsyncExitStack() as stack:
        slow = await reading_nothing(door, GET % b"big", stack)
        refused = await door.ask(GET % b"big")
        assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nretry-after: 5\r\n" in refused.lower()
        assert (await door.ask(GET % b"small")).endswith(b"small")
        assert door.observer.metrics.refusals == {("http", "memory"): 1}
        while len(slow.received) < len(BIG):
            await slow.more()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await door.ask(GET % b"big")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_answer_that_many_read_counts_once():
    async with serving() as door, AsyncExitStack() as stack:
        for _ in range(20):
            await reading_nothing(door, GET % b"shared", stack)
        assert door.budgets.answers.used == len(BIG)
        assert door.observer.metrics.refusals == {}


async def test_http2_answers_are_counted_too():
    async with serving() as door:
        async with await door.connect() as client:
            browser = Http2Client(client)
            await browser.start()
            await client.send(browser.request(1, pseudo={"path": b"/big"}))
            await browser.wait_for(DataFrame, 1)
            await client.send(browser.request(3, pseudo={"path": b"/big"}))
            assert (await browser.answer(3))[0] == 503
            assert (await door.ask(GET % b"big")).startswith(b"HTTP/1.1 503 ")
            await client.send(browser.request(5, pseudo={"method": b"HEAD"}))
            assert (await browser.answer(5))[0] == 200
            await client.send(
                RstStreamFrame(1, error_code=8).serialize() + browser.request(7, pseudo={"method": b"HEAD"})
            )
            assert (await browser.answer(7))[0] == 200
        assert door.observer.metrics.refusals == {("http", "memory"): 2}


def post(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size


async def test_request_bodies_beyond_the_budget_are_503():
    async with serving() as door, AsyncExitStack() as stack:
        for _ in range(2):
            client = await stack.enter_async_context(await door.connect())
            await client.send(post(1_000_000) + b"x" * 990_000)
        while door.budgets.bodies.used < 1_980_000:
            await trio.testing.wait_all_tasks_blocked(0.01)
        refused = await door.ask(post(100_000) + b"x" * 100_000)
        assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert (await door.ask(post(1000) + b"x" * 1000)).endswith(b"small")
        await client.send(b"x" * 10_000)
        assert (await client.response()).endswith(b"small")
        assert (await door.ask(post(100_000) + b"x" * 100_000)).endswith(b"small")


async def test_http2_request_bodies_beyond_the_budget_are_503():
    async with serving() as door, await door.connect() as client:
        assert door.budgets.bodies.take(1_990_000)
        browser = Http2Client(client)
        await browser.start()
        await client.send(browser.request(1, end=False, pseudo={"method": b"POST"}))
        await client.send(DataFrame(1, b"x" * 16_000).serialize())
        assert (await browser.answer(1))[0] == 503
        door.budgets.bodies.give_back(1_990_000)
        await client.send(browser.request(3, end=False, pseudo={"method": b"POST"}))
        await client.send(DataFrame(3, b"x" * 16_000, flags=["END_STREAM"]).serialize())
        assert (await browser.answer(3))[0] == 200


def test_the_alert_for_a_handshake_without_memory_is_one_that_tls_knows():
    kind, major, minor, *length = BUSY_ALERT[:5]
    assert (kind, major, minor, length) == (21, 3, 3, [0, 2])
    assert tuple(BUSY_ALERT[5:]) == (2, 80)  # fatal, internal_error
