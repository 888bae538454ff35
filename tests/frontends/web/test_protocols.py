"""What the protocols refuse, ignore and survive. The bytes are those that end the nursery of stock Hypercorn 0.18."""

from __future__ import annotations

import h11
import pytest
import trio
import trio.testing
from hyperframe.frame import DataFrame, GoAwayFrame, PriorityFrame, RstStreamFrame
from trio.testing import MockClock

from fingertrio.frontends.web.protocols import is_proper, vet
from fingertrio.testing import FakeBackend
from tests.frontends.web.kit import USERS, Http2Client, Site, serving


def request(head: str, *headers: tuple[str, str]) -> h11.Request:
    method, target, version = head.split()
    return h11.Request(
        method=method, target=target, headers=[("Host", "test"), *headers], http_version=version.removeprefix("HTTP/")
    )


def test_an_ordinary_request_is_left_as_it_is() -> None:
    ordinary = request("GET /moshez?x=1 HTTP/1.1", ("Accept", "*/*"))
    assert vet(ordinary) is ordinary


@pytest.mark.parametrize(
    ("head", "target"),
    [
        ("GET http://test/moshez?x=1 HTTP/1.1", b"/moshez?x=1"),
        ("GET HTTPS://test:8000/api/users HTTP/1.1", b"/api/users"),
        ("GET http://test HTTP/1.1", b"/"),
        ("OPTIONS * HTTP/1.1", b"/"),
        ("GET //moshez HTTP/1.1", b"//moshez"),
    ],
)
def test_targets_come_out_in_origin_form(head: str, target: bytes) -> None:
    assert vet(request(head)).target == target


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (request("CONNECT example.net:443 HTTP/1.1"), 501),
        (request("GET moshez HTTP/1.1"), 400),
        (request("GET ?x HTTP/1.1"), 400),
        (request("GET * HTTP/1.1"), 400),
        (request("GET ftp://test/ HTTP/1.1"), 400),
        (request("PRI * HTTP/2.0"), 505),
        (request("GET / HTTP/1.2"), 505),
        (request("POST / HTTP/1.1", ("Transfer-Encoding", "chunked"), ("Content-Length", "3")), 400),
        (request("POST / HTTP/1.0", ("Transfer-Encoding", "chunked")), 400),
    ],
)
def test_what_others_could_understand_differently_is_refused(refused: h11.Request, status: int) -> None:
    with pytest.raises(h11.RemoteProtocolError) as raised:
        vet(refused)
    assert raised.value.error_status_hint == status


def test_wishes_for_an_upgrade_are_taken_out() -> None:
    wish = request("GET / HTTP/1.1", ("Upgrade", "h2c"), ("HTTP2-Settings", "AAA"), ("Accept", "*/*"))
    assert list(vet(wish).headers) == [(b"host", b"test"), (b"accept", b"*/*")]


@pytest.mark.parametrize(
    ("method", "path", "proper"),
    [
        (b"GET", b"/moshez", True),
        (b"GET", b"/\xff", False),
        (b"G\xc3\x89T", b"/", False),
        (b"GET", b"", False),
        (b"GET", b"*", False),
        (b"CONNECT", b"/", False),
    ],
)
def test_http2_requests_need_a_method_and_a_path(method: bytes, path: bytes, *, proper: bool) -> None:
    assert is_proper([(b":method", method), (b":path", path), (b"accept", b"*/*")]) is proper


def upgrade(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"GET /moshez HTTP/1.1", b"Host: test", *lines, b"", b""]) + body


WEBSOCKET = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
)

ENDED_STOCK_HYPERCORN = {
    "websocket": upgrade(*WEBSOCKET),
    "websocket, then a stray byte": upgrade(*WEBSOCKET, body=b"\x81"),
    "websocket with a body": upgrade(*WEBSOCKET, b"Content-Length: 5", body=b"hello"),
    "websocket with a chunked body": upgrade(*WEBSOCKET, b"Transfer-Encoding: chunked", body=b"1\r\nx\r\n0\r\n\r\n"),
    "0xFF in Connection": upgrade(*WEBSOCKET, b"Connection: Upgrade, \xff"),
    "0xFF in Sec-WebSocket-Extensions": upgrade(*WEBSOCKET, b"Sec-WebSocket-Extensions: \xff"),
    "0xFF in Sec-WebSocket-Protocol": upgrade(*WEBSOCKET, b"Sec-WebSocket-Protocol: \xff"),
    "permessage-deflate": upgrade(*WEBSOCKET, b"Sec-WebSocket-Extensions: permessage-deflate"),
    "h2c with badly padded settings": upgrade(b"Upgrade: h2c", b"Connection: Upgrade", b"HTTP2-Settings: AAA"),
    "h2c": upgrade(b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAAQCAAAA"),
}


async def assert_unharmed(site: Site) -> None:
    assert b"Happy and well" in await site.get()
    assert not site.returned.is_set()
    assert "http_connection_failed" not in site.log.getvalue()
    assert '"level": "error"' not in site.log.getvalue()


@pytest.mark.parametrize("name", ENDED_STOCK_HYPERCORN)
async def test_an_upgrade_is_answered_as_if_it_had_not_been_asked_for(name: str, autojump_clock: MockClock) -> None:
    async with serving() as site:
        answer = await site.ask(ENDED_STOCK_HYPERCORN[name])
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"<p>Happy and well</p>" in answer
        assert b"upgrade" not in answer.lower()
        await assert_unharmed(site)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"CONNECT example.net:443 HTTP/1.1\r\nHost: example.net:443\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /\xff HTTP/1.1\r\nHost: t\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"x" * 20_000, b"431"),
        (b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", b"505"),
    ],
)
async def test_a_refusal_has_a_status_and_ends_the_connection(
    sent: bytes, status: bytes, autojump_clock: MockClock
) -> None:
    async with serving() as site:
        answer = await site.ask(sent)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert answer.count(b"HTTP/1.1") == 1
        assert b"connection: close" in answer
        await assert_unharmed(site)


async def test_http2_with_prior_knowledge_is_spoken_even_if_its_preface_comes_in_pieces() -> None:
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await client.send(b"PRI * HTTP/2.0\r\n")
        await client.send(b"\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        await client.send(browser.request(1) + browser.request(3, pseudo={"path": b"/api/users/moshez"}))
        status, body = await browser.answer(1)
        assert status == 200
        assert b"<p>Happy and well</p>" in body


@pytest.mark.parametrize(
    "pseudo",
    [
        {"path": b"/\xff"},
        {"path": "/日本".encode()},
        {"method": b"G\xc3\x89T"},
        {"method": b"CONNECT", "path": None, "scheme": None},
        {"path": b"*"},
    ],
    ids=str,
)
async def test_a_bad_http2_request_ends_its_stream_and_nothing_else(pseudo: dict[str, bytes | None]) -> None:
    async with serving() as site:
        async with await site.connect() as client:
            browser = Http2Client(client)
            await browser.start()
            await client.send(browser.request(1, pseudo=pseudo))
            await browser.wait_for(RstStreamFrame, 1)
            await client.send(browser.request(3))
            assert (await browser.answer(3))[0] == 200
        await assert_unharmed(site)


async def test_priorities_are_ignored_however_many() -> None:
    async with serving() as site:
        async with await site.connect() as client:
            browser = Http2Client(client)
            await browser.start()
            await client.send(b"".join(PriorityFrame(n, depends_on=0).serialize() for n in range(1, 2401, 2)))
            await client.send(browser.request(2401))
            assert (await browser.answer(2401))[0] == 200
        await assert_unharmed(site)


async def test_data_that_comes_after_its_answer_harms_nobody_and_costs_no_window() -> None:
    async with serving() as site:
        async with await site.connect() as client:
            browser = Http2Client(client)
            await browser.start()
            for stream in (1, 5, 9, 13):  # together they need twice the connection's first window, so it is given back
                await client.send(browser.request(stream, end=False, pseudo={"method": b"POST"}))
                assert (await browser.answer(stream))[0] == 405
                await client.send(DataFrame(stream, b"x" * 16_384).serialize() * 2)
                await client.send(browser.request(stream + 2))
                assert (await browser.answer(stream + 2))[0] == 200
        await assert_unharmed(site)


async def test_a_protocol_error_ends_the_http2_connection_with_one_goaway() -> None:
    async with serving() as site:
        async with await site.connect() as client:
            browser = Http2Client(client)
            await browser.start()
            await client.send(DataFrame(5, b"a stream that was never opened").serialize())
            frame = await browser.wait_for(GoAwayFrame, 0)
            assert frame.error_code != 0
            assert await client.rest() == b""
        await assert_unharmed(site)


async def test_an_idle_http2_connection_is_closed_with_a_goaway(autojump_clock: MockClock) -> None:
    async with serving(keep_alive=5) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        await client.send(browser.request(1))
        await browser.answer(1)
        begun = autojump_clock.current_time()
        frame = await browser.wait_for(GoAwayFrame, 0)
        assert frame.error_code == 0
        assert autojump_clock.current_time() - begun == pytest.approx(5)


async def test_a_connection_is_idle_again_when_its_last_request_was_taken_back(autojump_clock: MockClock) -> None:
    """Stock Hypercorn waits for ever; and what is refused may have been taken back in the same breath."""
    async with serving(keep_alive=5) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        for request_ in (browser.request(1), browser.request(3, pseudo={"path": b"*"})):
            stream = int.from_bytes(request_[5:9])
            await client.send(request_ + RstStreamFrame(stream, error_code=8).serialize())
        frame = await browser.wait_for(GoAwayFrame, 0)
        assert frame.error_code == 0
        assert trio.current_time() == pytest.approx(5, abs=0.1)
        await assert_unharmed(site)


async def test_a_request_that_is_taken_back_is_stopped() -> None:
    backend = FakeBackend(USERS)
    async with serving(backend) as site, await site.connect() as client:
        backend.hold()
        browser = Http2Client(client)
        await browser.start()
        await client.send(browser.request(1))
        while not backend.calls:
            await trio.testing.wait_all_tasks_blocked(0.001)
        await client.send(RstStreamFrame(1, error_code=8).serialize() + browser.request(3, pseudo={"path": b"/shawn"}))
        while '"bad"' not in site.log.getvalue():
            await trio.testing.wait_all_tasks_blocked(0.001)
        backend.release()
        assert (await browser.answer(3))[0] == 200
