"""The client with correct and misbehaving servers."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trustme
from trio.testing import MockClock

from fingertrio.clients.dial import RemoteError
from fingertrio.clients.xmlrpc import AnswerError, FaultError, TransportError, XMLRPCClient, open_xmlrpc_client
from fingertrio.wire.xmlrpc import MethodCall, dump_fault, dump_response, parse_call
from tests.clients.kit import CRLF, Handler, answering, read_request, serving


def http(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Type: text/xml", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + CRLF + body


@asynccontextmanager
async def asking(handler: Handler, *, timeout: float = 10.0, limit: int = 1024 * 1024) -> AsyncIterator[XMLRPCClient]:
    async with (
        serving(handler) as port,
        open_xmlrpc_client(f"http://127.0.0.1:{port}/RPC2", timeout=timeout, limit=limit) as client,
    ):
        yield client


async def test_a_call_is_a_post_and_its_answer_a_value() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def handler(stream: trio.abc.Stream) -> None:
        seen.append(await read_request(stream))
        await stream.send_all(http(dump_response(["Happy", 7])))

    async with asking(handler) as client:
        assert await client.call("getUser", "moshez") == ["Happy", 7]
    ((head, body),) = seen
    assert head.startswith(b"POST /RPC2 HTTP/1.1\r\n")
    assert b"content-type: text/xml\r\n" in head.lower()
    assert b"accept-encoding: identity\r\n" in head.lower()
    assert parse_call(body) == MethodCall("getUser", ("moshez",))


async def test_a_connection_serves_several_calls() -> None:
    connections = 0

    async def handler(stream: trio.abc.Stream) -> None:
        nonlocal connections
        connections += 1
        for number in range(3):
            await read_request(stream)
            await stream.send_all(http(dump_response(number), b"200 OK", b"Set-Cookie: a=b"))

    async with asking(handler) as client:
        assert [await client.call("next") for _ in range(3)] == [0, 1, 2]
    assert connections == 1


async def test_no_cookie_is_kept() -> None:
    heads = []

    async def handler(stream: trio.abc.Stream) -> None:
        for _ in range(2):
            heads.append((await read_request(stream))[0])
            await stream.send_all(http(dump_response(1), b"200 OK", b"Set-Cookie: spy=1; Path=/"))

    async with asking(handler) as client:
        await client.call("a")
        await client.call("a")
    assert len(heads) == 2
    assert b"spy" not in heads[1]


async def test_a_user_in_the_url_is_sent_as_basic_authentication() -> None:
    heads = []

    async def handler(stream: trio.abc.Stream) -> None:
        heads.append((await read_request(stream))[0])
        await stream.send_all(http(dump_response(1)))

    async with serving(handler) as port, open_xmlrpc_client(f"http://bot:secret@127.0.0.1:{port}/") as client:
        await client.call("a")
    assert b"Basic Ym90OnNlY3JldA==" in heads[0]


async def test_a_fault_is_an_error_with_code_and_text() -> None:
    async with asking(answering(http(dump_fault(-32601, "no such\n\x1b[31mmethod")))) as client:
        with pytest.raises(FaultError) as caught:
            await client.call("getUser")
    assert (caught.value.code, caught.value.text) == (-32601, "no such\n[31mmethod")
    assert str(caught.value) == "fault -32601: no such"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (b"301 Moved Permanently", (b"Location: http://127.0.0.1:1/",)),
        (b"404 Not Found", ()),
        (b"500 Internal Server Error", ()),
        (b"204 No Content", ()),
    ],
)
async def test_only_status_200_is_an_answer(status: bytes, headers: tuple[bytes, ...]) -> None:
    async with asking(answering(http(dump_response("a") if status[:3] != b"204" else b"", status, *headers))) as client:
        with pytest.raises(TransportError, match=f"HTTP status {status[:3].decode()}"):
            await client.call("a")


@pytest.mark.parametrize("response", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"])
async def test_what_is_not_http_or_not_whole_is_a_transport_error(response: bytes) -> None:
    async with asking(answering(response)) as client:
        with pytest.raises(TransportError, match=r"127\.0\.0\.1: \w"):
            await client.call("a")


@pytest.mark.parametrize(
    "body", [b"", b"<html/>", b"<methodResponse><params/></methodResponse>", b"<!DOCTYPE a>" + dump_response(1)[39:]]
)
async def test_what_is_not_xml_rpc_is_an_answer_error(body: bytes) -> None:
    async with asking(answering(http(body))) as client:
        with pytest.raises(AnswerError, match="not XML-RPC"):
            await client.call("a")


async def test_a_compressed_answer_is_read_up_to_the_limit() -> None:
    body = dump_response("Happy " * 10_000)
    for coding in (b"gzip", b"x-gzip", b"GZip"):
        async with asking(answering(http(gzip.compress(body), b"200 OK", b"Content-Encoding: " + coding))) as client:
            assert await client.call("a") == "Happy " * 10_000
    async with asking(
        answering(http(gzip.compress(body), b"200 OK", b"Content-Encoding: gzip")), limit=len(body)
    ) as client:
        assert await client.call("a") == "Happy " * 10_000


@pytest.mark.parametrize(
    ("body", "coding", "reason"),
    [
        (gzip.compress(b" " * 10_000_000), b"gzip", "longer than 1048576 bytes"),
        (gzip.compress(dump_response("x"))[:-4], b"gzip", "not a complete gzip file"),
        (dump_response("x"), b"gzip", "not valid gzip"),
        (b"", b"gzip", "not a complete gzip file"),
        (dump_response("x"), b"br", "unknown Content-Encoding"),
        (dump_response("x"), b"gzip, gzip", "unknown Content-Encoding"),
    ],
)
async def test_a_compressed_answer_that_cannot_be_read_is_refused(body: bytes, coding: bytes, reason: str) -> None:
    async with asking(answering(http(body, b"200 OK", b"Content-Encoding: " + coding))) as client:
        with pytest.raises(AnswerError, match=reason):
            await client.call("a")


async def test_the_charset_of_the_answer_counts() -> None:
    body = b"<methodResponse><params><param><value>Gr\xfc\xdfe</value></param></params></methodResponse>"
    answer = http(body).replace(b"text/xml", b'text/xml; charset="ISO-8859-1"')
    async with asking(answering(answer)) as client:
        assert await client.call("a") == "Gr\u00fc\u00dfe"


async def test_an_endless_answer_is_read_as_far_as_the_limit() -> None:
    sent = 0

    async def handler(stream: trio.abc.Stream) -> None:
        nonlocal sent
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"1000\r\n" + b" " * 4096 + b"\r\n")
            sent += 4096

    async with asking(handler, limit=100_000) as client:
        with pytest.raises(AnswerError, match="100000 bytes"):
            await client.call("a")
    assert sent < 20_000_000  # the rest is in the kernel's buffers


async def test_an_answer_as_long_as_the_limit_is_read() -> None:
    body = dump_response("x" * 300_000)
    async with asking(answering(http(body)), limit=len(body)) as client:
        assert await client.call("a") == "x" * 300_000
    async with asking(answering(http(body)), limit=len(body) - 1) as client:
        with pytest.raises(AnswerError):
            await client.call("a")


async def test_one_deadline_is_over_everything_however_often_something_comes(patient_clock: MockClock) -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await trio.sleep(1)
            await stream.send_all(b"1\r\n \r\n")

    async with asking(handler, timeout=5.5) as client:
        with pytest.raises(TransportError, match=r"no answer within 5\.5 seconds"):
            await client.call("a")
    assert trio.current_time() == 5.5


async def test_waiting_for_a_connection_counts_against_the_deadline(patient_clock: MockClock) -> None:
    connections = 0

    async def handler(stream: trio.abc.Stream) -> None:
        nonlocal connections
        connections += 1
        await read_request(stream)
        await trio.sleep_forever()

    async def fail(client: XMLRPCClient) -> None:
        with pytest.raises(TransportError, match="within 2 seconds"):
            await client.call("a")

    async with (
        serving(handler) as port,
        open_xmlrpc_client(f"http://127.0.0.1:{port}/", timeout=2, connections=3) as client,
        trio.open_nursery() as nursery,
    ):
        for _ in range(10):
            nursery.start_soon(fail, client)
    assert connections == 3
    assert trio.current_time() == 2


async def test_the_environments_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    async with asking(answering(http(dump_response("a")))) as client:
        assert await client.call("a") == "a"


async def test_nobody_there() -> None:
    with trio.socket.socket() as sock:  # bound, but not listening: connections are refused
        await sock.bind(("127.0.0.1", 0))
        async with open_xmlrpc_client(f"http://127.0.0.1:{sock.getsockname()[1]}/") as client:
            with pytest.raises(TransportError, match=r"127\.0\.0\.1: \w"):
                await client.call("a")


async def test_what_fails_may_be_tried_again() -> None:
    handlers = [answering(b""), answering(http(b"x")), answering(http(dump_response("a")))]

    async def handler(stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        await handlers.pop(0)(stream)

    async with asking(handler) as client:
        for _ in range(2):
            with pytest.raises(RemoteError):
                await client.call("a")
        assert await client.call("a") == "a"


async def test_a_cancelled_call_leaves_its_connection_to_nobody() -> None:
    reached = trio.Event()

    async def handler(stream: trio.abc.Stream) -> None:
        _, body = await read_request(stream)
        if parse_call(body).method == "hang":
            reached.set()
            await stream.receive_some()  # until the client disconnects
        else:
            await stream.send_all(http(dump_response("a")))

    async with asking(handler) as client:
        for _ in range(20):  # more than there are connections
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.call, "hang")
                await reached.wait()
                nursery.cancel_scope.cancel()
            reached = trio.Event()
        assert await client.call("a") == "a"


async def test_what_cannot_be_said_is_not_asked() -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        raise AssertionError("somebody connected")

    async with asking(handler) as client:
        with pytest.raises(ValueError, match="XML-RPC"):
            await client.call("a", 2**40)
        with pytest.raises(ValueError, match="method name"):
            await client.call("no spaces")


@pytest.mark.parametrize(
    "url", ["", "finger.example.net/RPC2", "ftp://host/", "http://", "http://[::1", "http://a\nb/"]
)
async def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        async with open_xmlrpc_client(url):
            pass


async def test_certificates_are_verified() -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async with serving(answering(http(dump_response("a"))), server_context) as port:
        async with open_xmlrpc_client(f"https://localhost:{port}/", ssl_context=trusting) as client:
            assert await client.call("a") == "a"
        async with open_xmlrpc_client(f"https://localhost:{port}/") as client:
            with pytest.raises(TransportError):
                await client.call("a")
        async with open_xmlrpc_client(f"https://127.0.0.1:{port}/", ssl_context=trusting) as client:
            with pytest.raises(TransportError):
                await client.call("a")
