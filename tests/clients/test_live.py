"""The live feed's client, with the real web door and with misbehaving servers."""

from __future__ import annotations

import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio
import trio_websocket
import trustme
from trio.testing import MockClock
from wsproto import WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage
from wsproto.events import Event as Frame

from fingertrio.backends.memory import MemoryBackend
from fingertrio.clients.dial import AddressRefusedError, HostNotFoundError, UnreachableError
from fingertrio.clients.live import ClosedError, LiveError, open_live
from fingertrio.clients.websocket import HandshakeError, RefusedError, WebSocketURL, parse_url
from fingertrio.frontends.web.live_watcher import LivePolicy
from fingertrio.net.limits import ConnectionCaps
from fingertrio.wire import live
from tests.frontends.web.kit import USERS, serving
from tests.helpers import loopback_listener, open_descriptors

HELLO = live.render_hello(epoch="e", at="e:1", resumed=False, complete=True, alive=15).decode()
ALIVE = live.render_alive("e:7")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://example.org", WebSocketURL("example.org", 80, tls=False, path="")),
        ("https://Example.org/", WebSocketURL("example.org", 443, tls=True, path="")),
        ("wss://example.org:8443/finger/", WebSocketURL("example.org", 8443, tls=True, path="/finger")),
        ("ws://[::1]:8000", WebSocketURL("::1", 8000, tls=False, path="")),
        ("http://bücher.example", WebSocketURL("xn--bcher-kva.example", 80, tls=False, path="")),
    ],
)
def test_urls_that_say_where(url: str, target: WebSocketURL):
    assert parse_url(url) == target


@pytest.mark.parametrize(
    "url",
    ["", "example.org", "//example.org", "ftp://example.org", "http://", "http:///x", "http://a b/", "http://a:x",
     "http://a:0", "http://a:99999", "http://u:p@a", "http://a?x=1", "http://a#x", "http://[::1", "http://a/\r\nX: y",
     "http://a/é", "http://" + "x" * 64 + ".example", "http://a/ b"],
)  # fmt: skip
def test_urls_that_do_not(url: str):
    with pytest.raises(ValueError, match=r"is not a URL|are allowed|path"):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("http://example.org", "example.org"),
        ("https://example.org", "example.org"),
        ("http://example.org:443", "example.org:443"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("https://[::1]", "[::1]"),
    ],
)
def test_the_host_header(url: str, header: str):
    assert parse_url(url).host_header == header


async def test_everything_is_an_event():
    backend = MemoryBackend(USERS)
    async with serving(backend) as site:
        async with open_live(site.url) as feed:
            assert (feed.hello.resumed, feed.hello.complete, feed.hello.alive, feed.id) == (False, True, 15.0, None)
            assert await anext(feed) == live.SnapshotBegins()
            for user, status in USERS.items():
                assert await anext(feed) == live.Present(live.LiveUser(user, status))
            epoch = feed.hello.epoch
            assert await anext(feed) == live.SnapshotEnds(f"{epoch}:0")
            assert feed.id == f"{epoch}:0"
            info = await backend.set_user("ada", "眠い")
            assert await anext(feed) == live.Changed(f"{epoch}:1", live.LiveUser("ada", "眠い", since=info.since))
            at = feed.id
        await backend.set_user("moshez", "In the garden")
        async with open_live(site.url, since=at) as feed:
            assert feed.hello.resumed
            assert feed.id == at
            event = await anext(feed)
            assert isinstance(event, live.Changed)
            assert (event.info.user, feed.id) == ("moshez", f"{epoch}:2")
        async with open_live(site.url, users=["shawn", "ada"], snapshot=False) as feed:
            assert feed.id == f"{epoch}:2"
            await backend.set_user("moshez", "Away")
            await backend.set_user("shawn", "Away")
            event = await anext(feed)
            assert isinstance(event, live.Changed)
            assert event.info.user == "shawn"


async def test_the_context_leaves_nothing_and_the_server_sees_a_proper_close():
    async with serving() as site:
        before = open_descriptors()
        for _ in range(5):
            async with open_live(site.url) as feed:
                await anext(feed)
        await site.empty()
        with trio.fail_after(3):
            while open_descriptors() > before:  # lingering sockets; the kernel decides when they close
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert not site.observer.metrics.events["warning"]


async def test_the_server_says_why_it_closes():
    async with serving(live=LivePolicy(caps=ConnectionCaps(total=1, per_address=1))) as site:
        async with open_live(site.url) as feed:
            with pytest.raises(ClosedError, match="closed with 1013: too many watchers") as closed:
                async with open_live(site.url):
                    pass
            assert closed.value.code == 1013
            site.stopping.set()
            with pytest.raises(ClosedError, match="closed with 1001: the server stops"):
                while True:
                    await anext(feed)


async def test_exceptions_of_the_body_come_out_as_they_are():
    async with serving() as site:
        with pytest.raises(ZeroDivisionError):
            async with open_live(site.url):
                raise ZeroDivisionError


async def test_cancelled_it_ends_at_once(patient_clock: MockClock):
    async with serving() as site:
        with trio.CancelScope() as scope:
            async with open_live(site.url, snapshot=False) as feed:
                scope.cancel()
                await anext(feed)
        assert scope.cancelled_caught
        assert trio.current_time() == 0


async def test_a_refusal_has_its_status():
    async with serving() as site:
        with pytest.raises(RefusedError, match="HTTP status 400") as refused:
            async with open_live(site.url, users=["-l"]):
                pass
        assert refused.value.status == 400


async def test_over_tls_the_certificate_is_verified(tmp_path: Path):
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    for name in ("127.0.0.1", "elsewhere.example"):
        certfile = tmp_path / f"{name}.pem"
        authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(certfile)
        async with serving(certfile=certfile) as site:
            if name == "127.0.0.1":
                async with open_live(site.url, ssl_context=trusting) as feed:
                    assert await anext(feed) == live.SnapshotBegins()
                with pytest.raises(HandshakeError, match="unable to get local issuer certificate"):
                    async with open_live(site.url):
                        pass
            else:
                with pytest.raises(HandshakeError, match="not valid for"):
                    async with open_live(site.url, ssl_context=trusting):
                        pass
            with pytest.raises(HandshakeError):
                async with open_live(site.url.replace("https", "http")):
                    pass


async def test_nobody_there():
    with loopback_listener() as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnreachableError):
        async with open_live(f"http://127.0.0.1:{port}"):
            pass
    with pytest.raises(HostNotFoundError):
        async with open_live("http://nobody.invalid"):
            pass


async def test_addresses_can_be_refused():
    with pytest.raises(AddressRefusedError):
        async with open_live("http://127.0.0.1:1", allow=lambda address: address != IPv4Address("127.0.0.1")):
            pass


Behave = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def badly(behave: Behave) -> AsyncIterator[str]:
    """The URL of a server that calls `behave` for every connection, after it has read the request."""

    async def handle(stream: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some()
        with suppress(trio.BrokenResourceError):
            await behave(stream)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), handle, 0)
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def answering(answer: bytes, *, then: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint) -> Behave:
    async def behave(stream: trio.SocketStream) -> None:
        await stream.send_all(answer)
        await then()

    return behave


async def endless(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 404 Not Found\r\n\r\n")
    while True:
        await stream.send_all(b"x" * 10_000)


async def endless_head(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 101 Switching\r\n")
    while True:
        await stream.send_all(b"X: y\r\n" * 1000)


REJECTED = b"HTTP/1.1 %s\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:1/\r\n\r\n"
BAD_OPENINGS: dict[str, tuple[Behave, str]] = {
    "hangs up": (answering(b""), "closed the connection"),
    "hangs up in the middle": (answering(b"HTTP/1.1 101 Switch"), "closed the connection"),
    "redirects": (answering(REJECTED % b"302 Found"), "HTTP status 302"),
    "has no such thing": (answering(REJECTED % b"404 Not Found"), "HTTP status 404"),
    "is content": (answering(REJECTED % b"200 OK"), "HTTP status 200"),
    "is content without end": (endless, "too long"),
    "has headers without end": (endless_head, "too long|does not speak WebSocket"),
    "speaks something else": (answering(b"220 mail.example ESMTP\r\n\r\n"), "does not speak WebSocket"),
    "is silent": (answering(b"", then=trio.sleep_forever), "no answer within 5 seconds"),
    "has no key": (
        answering(b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", then=trio.sleep_forever),
        "does not speak WebSocket",
    ),
}


@pytest.mark.parametrize(("behave", "message"), BAD_OPENINGS.values(), ids=BAD_OPENINGS)
async def test_a_server_that_does_not_open_the_feed(behave: Behave, message: str, patient_clock: MockClock):
    async with badly(behave) as url:
        with pytest.raises(HandshakeError, match=message):
            async with open_live(url, timeout=5):
                pass
        assert trio.current_time() <= 5.1


@asynccontextmanager
async def scripted(*frames: Frame | bytes, then: Behave | None = None) -> AsyncIterator[str]:
    """The URL of a server that opens the feed, sends `frames` and calls `then`. By default it then disconnects."""

    async def handle(stream: trio.SocketStream) -> None:
        socket = WSConnection(ConnectionType.SERVER)
        while not any(isinstance(event, Request) for event in socket.events()):
            socket.receive_data(await stream.receive_some())
        data = socket.send(AcceptConnection())
        for each in frames:
            data += each if isinstance(each, bytes) else socket.send(each)
        with suppress(trio.BrokenResourceError):
            await stream.send_all(data)
            if then is not None:
                await then(stream)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), handle, 0)
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def idle(_stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def read_all(url: str, limit: int = 10_000) -> list[live.Event]:
    async with open_live(url, timeout=5, limit=limit) as feed:
        with trio.fail_after(1000):
            return [event async for event in feed]


def text(data: bytes | str) -> TextMessage:
    return TextMessage(data if isinstance(data, str) else data.decode())


BAD_FEEDS: dict[str, tuple[list[Frame | bytes], str]] = {
    "says nothing": ([], "broke"),
    "says no hello": ([text(live.SNAPSHOT)], "hello"),
    "speaks a later version": ([text('{"type": "hello", "protocol": 2}')], "another version"),
    "says hello twice": ([text(HELLO), text(HELLO)], "second hello"),
    "breaks": ([text(HELLO)], "broke"),
    "sends text that is not JSON": ([text(HELLO), text("hi")], "not JSON"),
    "sends bytes": ([text(HELLO), BytesMessage(b"{}")], "not text"),
    "sends too much": ([text(HELLO), text("x" * 10_001)], "closed with 1009"),
    "sends what is no WebSocket": ([text(HELLO), b"\xff\xff"], "broke|closed with"),
    "sends what is no text": ([text(HELLO), b"\x81\x01\xff"], "broke|closed with"),
    "closes": (
        [text(HELLO), CloseConnection(1011, "Internal\x1b[2J error\nin server")],
        r"1011: Internal error in",
    ),
    "closes without words": ([text(HELLO), CloseConnection(1001)], "1001: going away"),
    "closes with a code of its own": ([text(HELLO), CloseConnection(4999)], "4999"),
    "speaks after its close": ([text(HELLO), CloseConnection(1000), b"\x89\x00\x89\x00"], "1000"),
}


@pytest.mark.parametrize(("frames", "message"), BAD_FEEDS.values(), ids=BAD_FEEDS)
async def test_a_server_whose_feed_ends_or_makes_no_sense(frames: list[Frame | bytes], message: str):
    async with scripted(*frames) as url:
        with pytest.raises(LiveError, match=message) as raised:
            await read_all(url)
        assert str(raised.value).isprintable()


async def test_a_server_that_falls_silent_is_gone(patient_clock: MockClock):
    async with scripted(text(HELLO), then=idle) as url:
        with pytest.raises(LiveError, match=r"the server sent nothing for 37\.5 seconds"):
            await read_all(url)


async def test_a_sign_of_life_is_enough(patient_clock: MockClock):
    async def live_on(stream: trio.SocketStream) -> None:
        for _ in range(10):
            await trio.sleep(30)
            await stream.send_all(b"\x81" + bytes([len(ALIVE)]) + ALIVE)

    async with scripted(text(HELLO), then=live_on) as url:
        with pytest.raises(LiveError, match="broke"):
            await read_all(url)
        assert trio.current_time() >= 300


async def test_pings_are_answered_and_what_is_unknown_is_passed_over(patient_clock: MockClock):
    ponged = trio.Event()

    async def wait_for_pong(stream: trio.SocketStream) -> None:
        while True:
            if b"\x8a" in await stream.receive_some():
                ponged.set()
            await trio.lowlevel.checkpoint()

    frames = [text(HELLO), Ping(b"?"), text('{"type": "weather"}'), text(live.render_alive("e:2"))]
    async with scripted(*frames, then=wait_for_pong) as url, open_live(url) as feed:
        assert await anext(feed) == live.Alive("e:2")
        assert feed.id == "e:2"
        with trio.fail_after(5):
            await ponged.wait()


async def test_the_id_to_go_on_from_is_none_while_a_snapshot_comes(patient_clock: MockClock):
    frames = [text(HELLO), text(live.SNAPSHOT), text(live.render_alive(None)), text(live.render_end("e:5"))]
    ids = []
    async with scripted(*frames, then=idle) as url, open_live(url) as feed:
        ids.append(feed.id)
        for _ in range(3):
            await anext(feed)
            ids.append(feed.id)
    assert ids == ["e:1", None, None, "e:5"]


class TestTrioWebsocket:
    """What `clients.websocket` relies on beyond trio-websocket's types. If one fails, check that module."""

    wrap: Callable[..., Awaitable[object]] = staticmethod(trio_websocket.wrap_client_stream)

    async def test_its_reader_runs_in_the_given_nursery_over_any_stream(self) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.wrap, nursery, ours, "host", "/")
            server = WSConnection(ConnectionType.SERVER)
            server.receive_data(bytes(await theirs.receive_some()))
            [request] = server.events()
            assert isinstance(request, Request)
            await theirs.send_all(server.send(AcceptConnection()))
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1, "no reader task of trio-websocket in the nursery that it was given"
            nursery.cancel_scope.cancel()

    async def test_its_reader_raises_into_that_nursery(self) -> None:
        ours, _theirs = trio.testing.memory_stream_pair()

        async def fail() -> None:
            raise ZeroDivisionError

        ours.receive_stream.receive_some_hook = fail
        with trio.fail_after(5), pytest.RaisesGroup(ZeroDivisionError):
            async with trio.open_nursery() as nursery:
                await self.wrap(nursery, ours, "host", "/")

    async def test_an_invalid_answer_makes_its_reader_raise_or_close_the_stream(self) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        with trio.fail_after(5), suppress(BaseExceptionGroup):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.wrap, nursery, ours, "host", "/")
                await theirs.receive_some()
                await theirs.send_all(b"220 mail.example ESMTP\r\n\r\n")
                assert await theirs.receive_some() == b""
                nursery.cancel_scope.cancel()


async def test_a_large_message_is_parsed_in_a_thread(monkeypatch: pytest.MonkeyPatch):
    """Cleaning a mebibyte of control characters takes 0.2 s, and must not delay other tasks by that."""
    threads: dict[int, int] = {}

    def noting(message: str) -> live.Message | None:
        threads[len(message)] = threading.get_ident()
        return parse(message)

    parse = live.parse
    monkeypatch.setattr(live, "parse", noting)
    large = live.change("e:2", live.render_user({"user": "moshez", "status": "\N{RIGHT-TO-LEFT OVERRIDE}" * 100_000}))
    small = live.change("e:3", live.render_user({"user": "moshez", "status": "Happy and well"}))
    async with scripted(text(HELLO), text(large), text(small)) as url, open_live(url, timeout=5) as feed:
        assert [event.id for event in [await anext(feed), await anext(feed)] if isinstance(event, live.Changed)] == [
            "e:2",
            "e:3",
        ]
    ours = {thread for length, thread in threads.items() if length < 1000}
    assert ours == {threading.get_ident()}
    assert set(threads.values()) - ours
