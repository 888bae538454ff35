"""One request to a server that may do anything."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trustme
from trio.testing import MockClock

from fingertrio.clients.dial import AddressRefusedError, RemoteError, SocketAddress, is_public
from fingertrio.clients.post import PostAnswer, post
from fingertrio.clients.tls import TLSError
from fingertrio.wire.http_url import HTTPURL, parse_http_url
from tests.clients.kit import Handler, answering, read_request, serving

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def url(port: int, rest: str = "/hook") -> HTTPURL:
    return parse_http_url(f"http://127.0.0.1:{port}{rest}", with_query=True)


async def ask(port: int, body: bytes = b"{}", *, timeout: float = 10.0, limit: int = 1000) -> PostAnswer:
    return await post(url(port), {}, body, timeout=timeout, allow=None, limit=limit)


@asynccontextmanager
async def answered(response: bytes) -> AsyncIterator[int]:
    async with serving(answering(response)) as port:
        yield port


async def test_what_is_sent() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def handler(stream: trio.abc.Stream) -> None:
        seen.append(await read_request(stream))
        await stream.send_all(NO_CONTENT)

    async with serving(handler) as port:
        target = url(port, "/hook/?a=1")
        assert await post(target, {"webhook-id": "x"}, b"{}", timeout=5, allow=None) == PostAnswer(204, None, b"")
    [(head, body)] = seen
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook/?a=1 HTTP/1.1"
    assert set(lines[1:]) == {
        f"Host: 127.0.0.1:{port}",
        "Content-Length: 2",
        "User-Agent: fingertrio",
        "Connection: close",
        "webhook-id: x",
    }
    assert body == b"{}"


@pytest.mark.parametrize("status", [b"200 OK", b"301 Moved", b"404 Not Found", b"410 Gone", b"503 Busy"])
async def test_every_status_is_an_answer_and_no_redirect_is_followed(status: bytes) -> None:
    connections = 0

    async def handler(stream: trio.abc.Stream) -> None:
        nonlocal connections
        connections += 1
        await read_request(stream)
        head = [b"HTTP/1.1 " + status, b"Location: http://127.0.0.1:1/", b"Retry-After: 7", b"Content-Length: 2"]
        await stream.send_all(b"\r\n".join([*head, b"", b"no"]))

    async with serving(handler) as port:
        assert await ask(port) == PostAnswer(int(status[:3]), "7", b"no")
    assert connections == 1


async def test_a_status_1xx_is_no_answer() -> None:
    async with answered(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nRetry-After: 1\r\n\r\n" + NO_CONTENT
    ) as port:
        assert await ask(port) == PostAnswer(204, None, b"")


async def test_endless_answers_1xx_end_at_a_limit() -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        while True:
            await stream.send_all(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * 500)

    async with serving(handler) as port:
        with pytest.raises(RemoteError, match="more than 65536 bytes came before an answer"):
            await ask(port)


async def test_of_an_endless_body_the_start_is_read() -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"3e8\r\n" + b"x" * 1000 + b"\r\n")

    async with serving(handler) as port:
        assert await ask(port, limit=1500) == PostAnswer(200, None, b"x" * 1500)


async def test_a_body_that_does_not_come_changes_nothing(patient_clock: MockClock) -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        await trio.sleep_forever()

    async with serving(handler) as port:
        assert await ask(port) == PostAnswer(200, None, b"abc")
    assert trio.current_time() == 2.0


@pytest.mark.parametrize("body", [b"Content-Length: 9\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"])
async def test_a_body_that_breaks_off_changes_nothing(body: bytes) -> None:
    async with answered(b"HTTP/1.1 200 OK\r\n" + body) as port:
        assert (await ask(port)).status == 200


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"", "the connection was closed before an answer"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", "the connection was closed before an answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000 + b"\r\n", "or its head is too long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "the answer is not HTTP"),
    ],
)
async def test_what_is_not_an_answer(response: bytes, reason: str) -> None:
    async with answered(response) as port:
        with pytest.raises(RemoteError, match=rf"127\.0\.0\.1: .*{reason}"):
            await ask(port)


async def test_an_answer_before_everything_was_read_counts() -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        await stream.receive_some(100)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await trio.sleep_forever()

    async with serving(handler) as port:
        assert (await ask(port, b"x" * 200_000)).status == 413


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n"])
async def test_one_deadline_is_over_everything(patient_clock: MockClock, first: bytes) -> None:
    async def handler(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(first)
        while True:
            await trio.sleep(1)
            await stream.send_all(b"A: b\r\n" if first else b"")

    async with serving(handler) as port:
        with pytest.raises(RemoteError, match="no answer within 5 seconds"):
            await ask(port, timeout=5)
    assert trio.current_time() == 5.0


async def test_no_server_is_an_error() -> None:
    with trio.socket.socket() as sock:  # bound, but not listening
        await sock.bind(("127.0.0.1", 0))
        with pytest.raises(RemoteError, match="refused"):
            await ask(sock.getsockname()[1])


async def test_an_address_that_is_not_allowed_is_not_connected_to() -> None:
    """The name is resolved once, and of its addresses only those that the rule accepted are tried."""
    connections = 0
    asked: list[str] = []

    async def handler(stream: trio.abc.Stream) -> None:
        nonlocal connections
        connections += 1

    async with serving(handler) as port:

        async def rebinding(host: str, _port: int) -> Sequence[SocketAddress]:
            asked.append(host)
            return (
                [("93.184.216.34", 80)] if len(asked) > 1 else [("127.0.0.1", port), ("::ffff:127.0.0.1", port, 0, 0)]
            )

        with pytest.raises(AddressRefusedError):
            await post(parse_http_url("http://rebind.example/"), {}, b"", timeout=5, allow=is_public, resolve=rebinding)
    assert connections == 0
    assert asked == ["rebind.example"]


async def test_the_environments_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    async with answered(NO_CONTENT) as port:
        assert (await ask(port)).status == 204


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def secure(authority: trustme.CA, name: str, handler: Handler) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    """The port of a server with a certificate for `name`, and the context that trusts its authority."""
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(server)
    authority.configure_trust(client)
    async with serving(handler, server) as port:
        yield port, client


async def test_https_verifies_the_certificate_against_the_name(authority: trustme.CA) -> None:
    heads: list[bytes] = []

    async def handler(stream: trio.abc.Stream) -> None:
        heads.append((await read_request(stream))[0])
        await stream.send_all(NO_CONTENT)

    async def here(_host: str, port: int) -> Sequence[SocketAddress]:
        return [("127.0.0.1", port)]

    async with secure(authority, "hooks.example.org", handler) as (port, trusting):

        async def send(host: str, context: ssl.SSLContext | None) -> PostAnswer:
            target = parse_http_url(f"https://{host}:{port}/")
            return await post(target, {}, b"", timeout=5, allow=None, ssl_context=context, resolve=here)

        assert (await send("hooks.example.org", trusting)).status == 204
        with pytest.raises(TLSError, match=r"other\.example\.org: .*mismatch"):
            await send("other.example.org", trusting)
        with pytest.raises(TLSError, match=r"self-signed|unable to get local issuer"):
            await send("hooks.example.org", None)
    assert len(heads) == 1, "a server that is not trusted gets nothing"


async def test_a_server_without_tls_gets_nothing() -> None:
    seen = []

    async def handler(stream: trio.abc.Stream) -> None:
        seen.append(await stream.receive_some())
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(handler) as port:
        with pytest.raises(TLSError, match="does not speak TLS"):
            await post(parse_http_url(f"https://127.0.0.1:{port}/"), {}, b"secret", timeout=5, allow=None)
    assert b"secret" not in seen[0]
