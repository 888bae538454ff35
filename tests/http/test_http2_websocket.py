"""WebSockets over HTTP/2 (RFC 8441), with the live feed behind them."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame
from trio.testing import MockClock

from fingertrio.backends.memory import MemoryBackend
from fingertrio.http.http2_settings import STREAMS, TUNNELS
from tests.frontends.web.kit import USERS, Http2Client, assert_unharmed, serving
from tests.frontends.web.watching import WebSocketClient, frame

CONNECT = {"method": b"CONNECT", "protocol": b"websocket", "path": b"/api/watch?snapshot=1"}
VERSION = [(b"sec-websocket-version", b"13")]


class TunnelClient(trio.abc.Stream):
    """The client's side of one stream, for `WebSocketClient`: DATA frames as a stream of bytes."""

    def __init__(self, browser: Http2Client, stream: int) -> None:
        self.browser = browser
        self.stream = stream
        self.taken = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.browser.client.send(DataFrame(self.stream, bytes(data)).serialize())

    async def wait_send_all_might_not_block(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while len(self.browser.bodies.get(self.stream, b"")) <= self.taken:
            received = await self.browser.next()
            if received.stream_id == self.stream and "END_STREAM" in received.flags:
                break
        data = self.browser.bodies.get(self.stream, b"")[self.taken :]
        self.taken += len(data)
        return data


async def open_tunnel(browser: Http2Client, stream: int, **pseudo: bytes) -> WebSocketClient:
    await browser.client.send(browser.request(stream, end=False, pseudo={**CONNECT, **pseudo}, headers=VERSION))
    await browser.wait_for(HeadersFrame, stream)
    return WebSocketClient(TunnelClient(browser, stream))


async def test_the_feed_is_followed_while_requests_go_on():
    backend = MemoryBackend(USERS)
    async with serving(backend) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        feed = await open_tunnel(browser, 1)
        assert browser.statuses == {1: 200}
        assert (await feed.message())["type"] == "hello"
        await client.send(browser.request(3))
        assert (await browser.answer(3))[0] == 200
        await backend.set_user("moshez", "In the garden")
        while "In the garden" not in str(await feed.message()):
            pass
        await client.send(DataFrame(1, frame(b"\x03\xe8", opcode=8)).serialize())
        assert await feed.closed() == 1000
        await client.send(DataFrame(1, flags=["END_STREAM"]).serialize())
        await client.send(browser.request(5))
        assert (await browser.answer(5))[0] == 200
        assert "http_connection_failed" not in site.log.getvalue()


async def test_each_websocket_leaves_room_for_as_many_requests_as_before():
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        for number in range(TUNNELS):
            await open_tunnel(browser, 2 * number + 1)
        first = 2 * TUNNELS + 1
        await client.send(browser.request(first, end=False, pseudo=CONNECT, headers=VERSION))
        assert (await browser.wait_for(RstStreamFrame, first)).error_code == ErrorCodes.REFUSED_STREAM
        await client.send(b"".join(browser.request(first + 2 + 2 * number) for number in range(STREAMS)))
        for _ in range(STREAMS):
            while "END_STREAM" not in (frame_ := await browser.next()).flags:
                pass
            assert browser.statuses[frame_.stream_id] == 200
        announced = [
            found.settings[SettingsFrame.MAX_CONCURRENT_STREAMS]
            for found in browser.frames
            if isinstance(found, SettingsFrame) and found.settings
        ]
        assert announced == list(range(STREAMS, STREAMS + TUNNELS + 1))


async def test_a_stop_ends_it_with_its_code_and_the_connection_with_a_goaway():
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        feed = await open_tunnel(browser, 1)
        assert (await feed.message())["type"] == "hello"
        site.stopping.set()
        assert await feed.closed() == 1001
        await client.send(DataFrame(1, frame(b"\x03\xe9", opcode=8), flags=["END_STREAM"]).serialize())
        assert (await browser.wait_for(GoAwayFrame, 0)).error_code == 0


async def test_a_stream_that_is_reset_ends_its_watcher_and_nothing_else():
    async with serving() as site:
        async with await site.connect() as client:
            browser = Http2Client(client)
            await browser.start()
            await (await open_tunnel(browser, 1)).message()
            assert site.observer.metrics.connections["watch"] == 1
            await client.send(RstStreamFrame(1, error_code=ErrorCodes.CANCEL).serialize() + browser.request(3))
            assert (await browser.answer(3))[0] == 200
            while site.observer.metrics.connections["watch"]:
                await trio.testing.wait_all_tasks_blocked(0.001)
        await assert_unharmed(site)


async def test_a_client_that_is_gone_ends_its_watchers():
    async with serving() as site:
        async with await site.connect() as client:
            browser = Http2Client(client)
            await browser.start()
            for stream in (1, 3):
                await open_tunnel(browser, stream)
        await site.empty()
        assert site.observer.metrics.connections["watch"] == 0
        await assert_unharmed(site)


async def test_a_window_that_stays_closed_ends_the_websocket_and_not_the_connection(patient_clock: MockClock):
    async with serving(keep_alive=600) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start(INITIAL_WINDOW_SIZE=0)
        await open_tunnel(browser, 1)
        await browser.wait_for(RstStreamFrame, 1)
        assert 30 <= trio.current_time() <= 33
        await client.send(browser.request(3, pseudo={"method": b"HEAD"}))
        assert (await browser.answer(3))[0] == 200


@pytest.mark.parametrize(
    ("pseudo", "headers", "status"),
    [
        ({"protocol": b"connect-udp"}, VERSION, 501),
        ({"path": b"/moshez"}, VERSION, 200),
        ({"path": b"/nobody"}, VERSION, 404),
        ({}, [], 426),
        ({}, [*VERSION, (b"origin", b"https://elsewhere.example")], 403),
    ],
)
async def test_what_is_not_a_feed_is_answered_with_a_status(
    pseudo: dict[str, bytes], headers: list[tuple[bytes, bytes]], status: int
):
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        await client.send(browser.request(1, end=False, pseudo={**CONNECT, **pseudo}, headers=headers))
        assert (await browser.answer(1))[0] == status
        await assert_unharmed(site)
