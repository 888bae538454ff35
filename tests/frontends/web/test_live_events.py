"""What is particular to the event stream: HTTP around it. What both kinds of connection have is in test_live.py."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame
from trio.testing import MockClock

from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.web.live_watcher import LivePolicy
from fingertrio.http.http2_settings import STREAMS, TUNNELS
from fingertrio.net.limits import ConnectionCaps
from tests.frontends.web.kit import USERS, Http2Client, serving
from tests.frontends.web.watching import listened, listening

EVENTS = {"path": b"/api/events"}


async def test_a_browser_is_told_when_to_come_back_and_comes_back_with_what_it_heard_last():
    backend = MemoryBackend(USERS)
    async with serving(backend) as site:
        async with listening(site) as other:
            at = (await other.message())["id"]
            assert other.retry == 3000
        await backend.set_user("ada", "one")
        # The address is the one of before; the header is newer, and wins.
        async with listening(site, "?since=old:1&snapshot=1", Last_Event_ID=at) as other:
            assert (await other.message())["resumed"] is True
            assert (await other.message())["user"] == "ada"
            assert other.last_id != at


async def test_head_has_the_headers_alone():
    async with serving() as site:
        head, _, body = (
            await site.ask(b"HEAD /api/events HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        ).partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        assert lines[0] == b"http/1.1 200 ok"
        assert {b"content-type: text/event-stream", b"cache-control: no-store", b"x-accel-buffering: no"} <= set(lines)
        assert body == b""


async def test_pages_of_all_sites_may_listen_and_nothing_is_cached():
    async with serving() as site, await site.connect() as client:
        await client.send(b"GET /api/events HTTP/1.1\r\nHost: test\r\nOrigin: https://other.example\r\n\r\n")
        lines = (await client.until(b"\r\n\r\n")).lower().split(b"\r\n")
        assert b"access-control-allow-origin: *" in lines
        assert b"connection: close" in lines
        assert not [line for line in lines if line.startswith((b"etag", b"content-length", b"transfer-encoding"))]


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /api/events?user=-l HTTP/1.1", 400),
        ("GET /api/events?snapshot=2 HTTP/1.1", 400),
        ("POST /api/events HTTP/1.1", 405),
        ("GET /api/events/ HTTP/1.1", 404),
    ],
)
async def test_what_cannot_be_heard_is_answered_like_any_request(request_line: str, status: int):
    async with serving() as site:
        answer = await site.ask(f"{request_line}\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
        assert answer.split()[1] == str(status).encode()


async def test_an_old_client_can_listen():
    async with serving() as site, await site.connect() as client:
        await client.send(b"GET /api/events HTTP/1.0\r\n\r\n")
        await client.until(b"\r\n\r\n")
        assert b'"type":"hello"' in await client.until(b"}\n\n")


async def test_too_many_are_told_to_come_back_much_later():
    async with serving(live=LivePolicy(caps=ConnectionCaps(total=3, per_address=1))) as site, listening(site):
        async with listening(site) as second:
            assert await second.closed() is None
            assert second.retry == 30_000
        assert site.observer.metrics.refusals == {("watch", "connections_per_address"): 1}


async def test_over_tls(tmp_path: Path):
    authority = trustme.CA()
    certfile = tmp_path / "localhost.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certfile)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    backend = MemoryBackend(USERS)
    async with serving(backend, certfile=certfile) as site, await site.connect(trusting) as client:
        other = await listened(client)
        await other.message()
        await backend.set_user("moshez", "x" * 16_000)
        assert (await other.message())["status"] == "x" * 16_000
        site.stopping.set()
        assert await other.closed() is None  # after a close alert: an end that was cut off would raise
        assert 1000 <= (other.retry or 0) <= 5000


async def test_listeners_that_come_and_go_leave_nothing():
    async with serving() as site:
        for ending in ("reset", "close"):
            for _ in range(5):
                async with listening(site, "?snapshot=1") as other:
                    await other.messages(3)
                    if ending == "reset":
                        assert isinstance(other.stream, trio.SocketStream)
                        other.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with trio.fail_after(5):
            while site.observer.metrics.connections != {"http": 0, "watch": 0}:
                await trio.testing.wait_all_tasks_blocked(0.001)
        assert not site.observer.metrics.events["error"]


async def test_over_http_2_streams_and_requests_share_a_connection():
    backend = MemoryBackend(USERS)
    async with serving(backend) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        streams = range(1, 2 * STREAMS + 5, 2)  # more than requests may be at work
        for stream in streams:
            await client.send(browser.request(stream, pseudo=EVENTS))
            await browser.wait_for(DataFrame, stream)
        await backend.set_user("moshez", "In the garden")
        for stream in streams:
            while b"In the garden" not in browser.bodies[stream]:
                await browser.next()
            assert browser.statuses[stream] == 200
        last = streams[-1] + 2
        await client.send(browser.request(last))
        assert (await browser.answer(last))[0] == 200
        assert site.observer.metrics.connections["watch"] == len(streams)
        await client.send(RstStreamFrame(1).serialize())
        while site.observer.metrics.connections["watch"] == len(streams):
            await trio.testing.wait_all_tasks_blocked(0.001)
        site.stopping.set()
        for stream in streams[1:]:
            while b"the server stops" not in browser.bodies[stream]:
                await browser.next()
        await site.returned.wait()


async def test_over_http_2_a_connection_has_so_many():
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        for number in range(TUNNELS):
            await client.send(browser.request(2 * number + 1, pseudo=EVENTS))
            await browser.wait_for(DataFrame, 2 * number + 1)
        await client.send(browser.request(2 * TUNNELS + 1, pseudo=EVENTS))
        await browser.wait_for(HeadersFrame, 2 * TUNNELS + 1)
        assert browser.statuses[2 * TUNNELS + 1] == 503


async def test_over_http_2_who_shuts_the_window_is_dropped(patient_clock: MockClock):
    backend = MemoryBackend({"moshez": "x" * 10_000})
    async with serving(backend) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start(INITIAL_WINDOW_SIZE=500)
        await client.send(browser.request(1, pseudo={"path": b"/api/events?snapshot=1"}))
        with trio.fail_after(100):
            await browser.wait_for(RstStreamFrame, 1)
        assert trio.current_time() < 40
        assert site.observer.metrics.refusals["watch", "slow_reader"] == 1
