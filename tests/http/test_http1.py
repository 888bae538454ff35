"""HTTP/1: what is refused, ignored and survived."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import h11
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from fingertrio.http.http1 import Http1
from fingertrio.http.limits import HEADER_LIMIT
from fingertrio.http.request import is_host, vet
from fingertrio.testing.hostile_http import UPGRADES
from tests.frontends.web.kit import assert_unharmed, serving
from tests.http.test_exchange import open_exchanges


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
        ("GET http://x?y=/moshez HTTP/1.1", b"/?y=/moshez"),
        ("GET http://[::1]:80?y HTTP/1.1", b"/?y"),
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
        (request("GET http:///moshez HTTP/1.1"), 400),
        (request("GET http://user@test/moshez HTTP/1.1"), 400),
        (request("GET http://a/#b HTTP/1.1"), 400),
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


@pytest.mark.parametrize("name", UPGRADES)
async def test_an_upgrade_is_answered_as_if_it_had_not_been_asked_for(name: str, patient_clock: MockClock) -> None:
    async with serving() as site:
        answer = await site.ask(UPGRADES[name])
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
    sent: bytes, status: bytes, patient_clock: MockClock
) -> None:
    async with serving() as site:
        answer = await site.ask(sent)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert answer.count(b"HTTP/1.1") == 1
        assert b"connection: close" in answer
        await assert_unharmed(site)


HOSTS = {
    b"": True,
    b"finger.example.net": True,
    b"finger_1.example.net:8000": True,
    b"127.0.0.1:80": True,
    b"[2001:db8::1]:443": True,
    b"xn--bcher-kva.example": True,
    b"%C3%A9.example": True,
    b"test:": True,
    b"a/b c": False,
    b"a b": False,
    b"a/b": False,
    b"user@host": False,
    b"host:port": False,
    b"host:1:2": False,
    b"::1": False,
    b"[::1": False,
    b"[1]": False,
    b"[::zz]": False,
    b"a?b": False,
    b"a#b": False,
    b"a\\b": False,
    b"<script>": False,
    b"a,b c": False,
    b"%zz": False,
    b"b\xfccher.example": False,
}


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_is_a_name_or_an_address_with_a_port_or_without(host: bytes) -> None:
    assert is_host(host) is HOSTS[host]


async def test_an_invalid_host_is_refused() -> None:
    async with serving() as site:
        answer = await site.ask(b"GET /moshez HTTP/1.1\r\nHost: a/b c\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_the_host_of_an_absolute_target_replaces_the_field() -> None:
    """RFC 9112 section 3.2.2. The live feed compares it with the page's origin."""
    target = b"GET http://elsewhere.example/api/watch HTTP/1.1\r\n"
    for origin, status in ((b"http://test", b"403"), (b"http://elsewhere.example", b"101")):
        lines = b"Host: test\r\nOrigin: " + origin + b"\r\n" + b"\r\n".join(WEBSOCKET) + b"\r\n\r\n"
        async with serving() as site, await site.connect() as client:
            await client.send(target + lines)
            assert (await client.until(b"\r\n")).startswith(b"HTTP/1.1 " + status)


WEBSOCKET = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
)


def head_of(size: int) -> bytes:
    """A request whose line and headers take so many bytes."""
    start, end = b"GET /moshez HTTP/1.1\r\nHost: test\r\nConnection: close\r\nX: ", b"\r\n\r\n"
    return start + b"x" * (size - len(start) - len(end)) + end


@pytest.mark.parametrize("segment", [100, 1400, 65536])
@pytest.mark.parametrize(("size", "status"), [(HEADER_LIMIT, b"200 "), (HEADER_LIMIT + 1, b"431 "), (17_000, b"431 ")])
async def test_headers_have_one_limit_whatever_the_segments(segment: int, size: int, status: bytes) -> None:
    data = head_of(size)
    async with serving() as site, await site.connect() as client:
        for start in range(0, size, segment):
            with suppress(trio.BrokenResourceError):
                await client.send(data[start : start + segment])
            if segment < 65536:
                await trio.lowlevel.checkpoint()
        assert (await client.rest()).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("size", [HEADER_LIMIT, HEADER_LIMIT + 1])
async def test_headers_have_the_same_limit_behind_another_request(size: int) -> None:
    async with serving() as site:
        answer = await site.ask(GET + head_of(size))
        assert (b"431 Request Header Fields Too Large" in answer) is (size > HEADER_LIMIT)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


GET = b"GET /moshez HTTP/1.1\r\nHost: test\r\n\r\n"
LAST = b"GET /shawn HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("empty", [b"\r\n", b"\n", b"\r\n\r\n\n"])
@pytest.mark.parametrize("in_pieces", [False, True])
async def test_empty_lines_before_a_request_line_are_skipped(empty: bytes, *, in_pieces: bool) -> None:
    """RFC 9112 section 2.2: before the first request, and before the next one on the connection."""
    data = empty + GET + empty + LAST
    async with serving() as site, await site.connect() as client:
        for piece in [data[n : n + 1] for n in range(len(data))] if in_pieces else [data]:
            await client.send(piece)
            await trio.testing.wait_all_tasks_blocked()
        answer = await client.rest()
        assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2


@pytest.mark.parametrize("junk", [b"\r\n" * 10_000, b"\r" * 10, b"\r\r\n", b" \r\n"])
async def test_but_not_without_end(junk: bytes) -> None:
    async with serving() as site:
        assert (await site.ask(junk + GET)).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
        await assert_unharmed(site)


def post(path: str, *lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: test", *lines, "", ""]).encode() + body


EXPECT = "Expect: 100-continue"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (post("/RPC2", "Content-Type: text/xml", "Content-Length: 300000", EXPECT), b"413 "),
        (post("/RPC2", "Content-Encoding: gzip", "Content-Length: 100", EXPECT), b"415 "),
        (post("/moshez", "Content-Length: 100", EXPECT), b"405 "),
    ],
)
async def test_a_body_that_will_be_refused_is_not_asked_for(sent: bytes, status: bytes) -> None:
    async with serving() as site:
        answer = await site.ask(sent)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"connection: close" in answer


CALL = b"<methodCall><methodName>getUser</methodName><params><param><value>moshez</value></param></params></methodCall>"


@pytest.mark.parametrize("sends_at_once", [False, True])
async def test_a_body_that_is_read_is_asked_for(*, sends_at_once: bool) -> None:
    async with serving() as site, await site.connect() as client:
        head = post("/RPC2", "Content-Type: text/xml", f"Content-Length: {len(CALL)}", EXPECT)
        if sends_at_once:
            await client.send(head + CALL)
        else:
            await client.send(head)
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(CALL)
        while b"Happy and well" not in client.received:
            assert await client.more()


async def test_the_parts_of_an_answer_are_sent_as_they_are_and_not_copied() -> None:
    """What many clients read is in memory once."""
    body = b"#" * 1_000_000
    sent: list[bytes | memoryview] = []

    class Recorder(Unsent):
        async def send(self, *parts: bytes | memoryview) -> None:
            sent.extend(parts)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000000")]})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async with open_exchanges(app) as exchanges:
        await Http1(exchanges, Recorder()).receive(GET)
    assert any(part is body for part in sent)


class Unsent:
    """A carrier that goes nowhere."""

    async def send(self, *parts: bytes | memoryview) -> None:
        pass

    def set_idle(self, *, idle: bool) -> None:
        pass

    def end(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def report(self, reason: str) -> None:
        pass

    def hand_over(self) -> None:
        pass


async def test_an_answer_before_the_end_of_the_body_says_that_it_is_the_last() -> None:
    """Otherwise the client would send its next request into the close."""
    head = b"POST /RPC2 HTTP/1.1\r\nHost: test\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n"
    async with serving() as site:
        for body, is_last in ((b"", True), (b"something", False)):
            async with await site.connect() as client:
                await client.send(head + body)
                answer = await client.response()
                assert answer.startswith(b"HTTP/1.1 415 ")
                assert (b"\r\nconnection: close\r\n" in answer.lower()) == is_last
