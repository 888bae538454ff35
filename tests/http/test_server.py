"""The web door as a whole: how it starts and stops, TLS, caps, and the programs that people ask it with."""

from __future__ import annotations

import random
import shutil
import ssl
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
import trio
import trio.testing
import trustme
from hyperframe.frame import GoAwayFrame, SettingsFrame
from trio.testing import MockClock

from fingertrio.frontends.web.frontend import WebFrontend
from fingertrio.http.http2 import PREFACE
from fingertrio.http.limits import HANDSHAKE_COST
from fingertrio.net.address import parse_address
from fingertrio.net.limits import ConnectionCaps
from fingertrio.net.listen import bind, close_all
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from tests.frontends.web.kit import USERS, Http2Client, serving

GET = b"GET /moshez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certfile(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return path


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def cafile(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def curl() -> str:
    if (path := shutil.which("curl")) is None:
        pytest.skip("needs curl (Debian package curl)")
    return path


async def run(*command: str | Path) -> str:
    with trio.fail_after(20):
        done = await trio.run_process([str(word) for word in command], capture_stdout=True, capture_stderr=True)
    return done.stdout.decode()


async def test_it_reports_its_url() -> None:
    async with serving() as site:
        assert site.url == f"http://127.0.0.1:{site.address[1]}"
        assert b"Happy and well" in await site.get()


async def test_a_unix_socket_serves_too(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    async with serving(at=f"unix:{path}") as site:
        assert site.url == f"unix:{path}"
        transport = httpx2.AsyncHTTPTransport(uds=str(path))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as browser:
            assert (await browser.get("/api/users/moshez")).json()["status"] == "Happy and well"
        await site.empty()
        assert '"peer": "unix"' in site.log.getvalue()


async def test_a_front_end_can_be_served_again() -> None:
    """As the supervisor does after a failure, on the same sockets."""
    observer = Observer()
    listeners = bind(parse_address("127.0.0.1:0"))
    async with FingerService.open(FakeBackend(USERS), observer=observer) as service:
        door = WebFrontend(
            service=service, observer=observer, listeners=listeners, caps=ConnectionCaps(total=9, per_address=9)
        )
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                [url] = await nursery.start(door.serve, trio.Event())
                async with httpx2.AsyncClient() as browser:
                    assert (await browser.get(f"{url}/moshez")).status_code == 200
                nursery.cancel_scope.cancel()
    close_all(listeners)


async def test_stopping_stops_accepting() -> None:
    async with serving() as site:
        site.stopping.set()
        with trio.fail_after(5):
            await site.returned.wait()
        async with await site.connect() as client:  # into the backlog: the sockets stay open for a restart
            await client.send(GET)
            with trio.move_on_after(0.05):
                await client.more()
            assert client.received == b""


@pytest.mark.parametrize("caps", [(1, 9), (9, 1)], ids=["total", "per address"])
async def test_an_idle_connection_gives_way_where_a_limit_is_reached(caps: tuple[int, int]) -> None:
    async with serving(caps=ConnectionCaps(total=caps[0], per_address=caps[1])) as site:
        async with await site.connect() as idle:
            await idle.send(GET)
            await idle.response()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert b"Happy and well" in await site.get()
            assert await idle.rest() == b""
        await site.empty()
        assert site.observer.metrics.refusals == {}


async def test_a_connection_beyond_the_limit_gets_503_with_retry_after() -> None:
    backend = FakeBackend(USERS)
    async with serving(backend, caps=ConnectionCaps(total=1, per_address=9)) as site:
        async with await site.connect() as client:
            backend.hold()
            await client.send(GET)
            await trio.testing.wait_all_tasks_blocked(0.01)
            refused = await site.get()
            backend.release()
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: 5\r\n" in refused
        await site.empty()
        assert b"Happy and well" in await site.get()


@pytest.mark.slow
async def test_random_bytes_end_only_their_connections(patient_clock: MockClock) -> None:
    """Random bytes, bare and where a protocol goes on; two hundred frames that are nearly right."""
    noise = random.Random(20261122)
    frames = [
        bytes([0, 0, length := noise.randrange(40), noise.randrange(12), noise.randrange(256), 0, 0, 0])
        + bytes([noise.randrange(6)])
        + noise.randbytes(length)
        for _ in range(200)
    ]
    async with serving() as site:
        limiter = trio.CapacityLimiter(20)

        async def send(data: bytes) -> None:
            async with limiter, await site.connect() as client:
                with suppress(trio.BrokenResourceError):
                    await client.send(data)
                    await client.rest()

        with trio.fail_after(1000):
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(send, noise.randbytes(noise.randrange(200)))
                    headers = noise.randbytes(noise.randrange(200))
                    nursery.start_soon(send, b"GET / HTTP/1.1\r\n" + headers + b"\r\n\r\n")
                for frame in frames:
                    nursery.start_soon(send, PREFACE + SettingsFrame(0).serialize() + frame)
        assert b"Happy and well" in await site.get()
        assert not site.returned.is_set()
        assert '"level": "error"' not in site.log.getvalue()


async def test_tls_with_http_1(certfile: Path, trusting: ssl.SSLContext) -> None:
    async with serving(certfile=certfile) as site:
        assert site.url == f"https://127.0.0.1:{site.address[1]}"
        async with httpx2.AsyncClient(verify=trusting) as browser:
            response = await browser.get(f"{site.url}/moshez")
            assert (response.status_code, response.http_version) == (200, "HTTP/1.1")


async def test_tls_with_http_2(certfile: Path, trusting: ssl.SSLContext) -> None:
    trusting.set_alpn_protocols(["h2"])
    async with serving(certfile=certfile) as site:
        async with await site.connect(trusting) as client:
            browser = Http2Client(client)
            await browser.start()
            await client.send(browser.request(1))
            assert (await browser.answer(1))[0] == 200
            assert isinstance(client.stream, trio.SSLStream)
            assert client.stream.selected_alpn_protocol() == "h2"
        await site.empty()


async def test_a_failed_handshake_sends_its_alert(certfile: Path, trusting: ssl.SSLContext) -> None:
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    trusting.set_ciphers("AES128-SHA")  # the server does not have it
    async with serving(certfile=certfile) as site:
        async with await site.connect(trusting) as client:
            with pytest.raises(trio.BrokenResourceError) as raised:
                await client.send(GET)
            cause = raised.value.__cause__
            assert isinstance(cause, ssl.SSLError)
            assert cause.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"
        await site.empty()


async def test_a_handshake_for_which_there_is_no_memory_is_refused_with_an_alert(
    certfile: Path, trusting: ssl.SSLContext
) -> None:
    async with serving(certfile=certfile) as site:
        handshakes = site.door._budgets.handshakes
        assert handshakes.take(handshakes.limit - HANDSHAKE_COST + 1)
        async with await site.connect(trusting) as client:
            with pytest.raises(trio.BrokenResourceError) as raised:
                await client.send(GET)
            cause = raised.value.__cause__
            assert isinstance(cause, ssl.SSLError)
            assert cause.reason == "TLSV1_ALERT_INTERNAL_ERROR"
        await site.empty()
        assert site.observer.metrics.refusals == {("http", "memory"): 1}
        handshakes.give_back(handshakes.limit - HANDSHAKE_COST + 1)
        async with await site.connect(trusting) as client:
            await client.send(GET)
            assert b"Happy and well" in await client.response()
        assert handshakes.used == 0


async def test_tls_sends_the_close_alert(certfile: Path, trusting: ssl.SSLContext) -> None:
    """RFC 8446 section 6.1: without it, the end of an answer could be truncated on the way."""
    async with serving(certfile=certfile) as site:
        stream = trio.SSLStream(
            await trio.open_tcp_stream(*site.address), trusting, server_hostname="localhost", https_compatible=False
        )
        await stream.send_all(b"GET /moshez HTTP/1.0\r\n\r\n")
        received = b""
        while data := await stream.receive_some():  # raises where the connection just ends
            received += data
        assert b"Happy and well" in received
        await trio.aclose_forcefully(stream)
        await site.empty()


@pytest.mark.parametrize("hello", [GET, b"\x16\x03\x01garbage", b""])
async def test_bytes_that_are_not_tls_end_only_their_connection(
    hello: bytes, certfile: Path, patient_clock: MockClock
) -> None:
    async with serving(certfile=certfile) as site:
        async with await site.connect() as client:
            if hello:
                await client.send(hello)
            with suppress(trio.BrokenResourceError):
                assert b"HTTP" not in await client.rest()
            await site.empty()
        assert trio.current_time() <= 13
        assert not site.returned.is_set()
        assert "http_connection_failed" not in site.log.getvalue()


async def test_a_client_in_the_middle_of_its_handshake_does_not_delay_the_stop(
    certfile: Path, patient_clock: MockClock
) -> None:
    async with serving(certfile=certfile) as site, await site.connect() as client:
        await client.send(b"\x16\x03\x01")
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        site.stopping.set()
        await site.returned.wait()
        assert trio.current_time() == pytest.approx(begun, abs=0.1)


async def test_idle_tls_clients_get_a_goaway_at_a_stop(certfile: Path, trusting: ssl.SSLContext) -> None:
    trusting.set_alpn_protocols(["h2"])
    async with serving(certfile=certfile) as site, await site.connect(trusting) as client:
        browser = Http2Client(client)
        await browser.start()
        await client.send(browser.request(1))
        await browser.answer(1)
        await trio.testing.wait_all_tasks_blocked()
        site.stopping.set()
        await browser.wait_for(GoAwayFrame, 0)
        assert await client.rest() == b""
        with trio.fail_after(1):
            await site.returned.wait()


async def test_curl_gets_the_page(curl: str) -> None:
    async with serving() as site:
        assert '<a href="moshez" class="p-author h-card">moshez</a>' in await run(curl, "-sS", "--fail", f"{site.url}/")


async def test_curl_gets_the_head(curl: str) -> None:
    async with serving() as site:
        head = await run(curl, "-sSI", f"{site.url}/moshez")
        assert head.startswith("HTTP/1.1 200")
        assert "server:" not in head.lower()
        body = await run(curl, "-sS", f"{site.url}/moshez")
        assert f"content-length: {len(body.encode())}" in head


async def test_curl_with_http_1_0(curl: str) -> None:
    async with serving() as site:
        assert "Happy and well" in await run(curl, "-sS", "-0", f"{site.url}/moshez")


async def test_curl_with_http_2(curl: str, certfile: Path, cafile: Path) -> None:
    html = ("-H", "Accept: text/html")  # else curl gets text
    async with serving() as site:
        known = await run(curl, *html, "-sS", "--http2-prior-knowledge", "-w", "%{http_version}", f"{site.url}/moshez")
        assert known.endswith("</html>2")
        asked = await run(curl, *html, "-sS", "--http2", "-w", "%{http_version}", f"{site.url}/moshez")
        assert asked.endswith("</html>1.1")
    async with serving(certfile=certfile) as site:
        url = f"https://localhost:{site.address[1]}"
        assert (await run(curl, "-sS", "--cacert", cafile, "-w", "%{http_version}", f"{url}/moshez")).endswith("2")
        big = await run(curl, "-sS", "--cacert", cafile, "-d", "x" * 100_000, "-w", "%{http_code}", f"{url}/moshez")
        assert big.endswith("405")


async def test_curl_asks_twice_over_one_connection(curl: str) -> None:
    async with serving() as site:
        shown = await run(curl, "-sS", "-w", "[%{num_connects}]", f"{site.url}/moshez", f"{site.url}/shawn")
        assert (shown.count("[1]"), shown.count("[0]")) == (1, 1)
