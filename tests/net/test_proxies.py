"""The PROXY header before a connection's own bytes: in both lanes, in pieces, late, wrong, and from the wrong peer."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fingertrio.net.address import Address
from fingertrio.net.connection import Connection
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.listen import bind, close_all
from fingertrio.net.proxies import UNIX, TrustedProxies
from fingertrio.net.server import Server
from tests.helpers import RecordingReports, open_descriptors, reset

V1 = b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 79\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2 = SIGNATURE + b"\x21\x11\x00\x0c" + bytes([192, 0, 2, 1, 198, 51, 100, 1]) + b"\x04\xd2\x00\x4f"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
UNKNOWN = b"PROXY UNKNOWN\r\n"
PROXY = TrustedProxies([ip_network("127.0.0.1/32")])
QUERY = b"moshez\r\n"


class Door:
    """A server whose answer to a line is the peer, and which way the answer took."""

    def __init__(
        self, *, lane: bool = True, caps: ConnectionCaps | None = None, rate: RateLimiter | None = None
    ) -> None:
        self.told = RecordingReports()
        self.given: list[bytes] = []
        self.place: tuple[str, int] | str = ("", 0)
        self.stopping = trio.Event()
        self._lane = lane
        self._caps = caps or ConnectionCaps(total=100, per_address=100)
        self._rate = rate

    @asynccontextmanager
    async def open(self, address: Address, proxies: TrustedProxies | None) -> AsyncIterator[Door]:
        sockets = bind(address)
        self.server = Server(
            "test",
            sockets,
            self._handle,
            lane=self._answer_at_once if self._lane else None,
            reports=self.told,
            caps=self._caps,
            rate=self._rate,
            refusal=b"refused\r\n",
            proxies=proxies,
        )
        self.place = sockets[0].getsockname()
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.server.serve, self.stopping)
                yield self
                self.stopping.set()
        finally:
            close_all(sockets)
        assert self.told.open == 0
        assert self._caps._open == 0

    def _answer_at_once(self, data: bytes, peer: str) -> bytes | None:
        return f"lane {peer} {data.decode('latin-1')}".encode() if data.endswith(b"\n") else None

    async def _handle(self, connection: Connection) -> None:
        data = connection.data
        self.given.append(data)
        while not data.endswith(b"\n"):
            if not (chunk := await connection.stream.receive_some(1024)):
                return
            data += chunk
        await connection.send(f"task {connection.peer} {data.decode('latin-1')}".encode(), 10)

    def connect(self, first: bytes = b"") -> trio.SocketStream:
        """A connection that has sent `first` before the server can look at it."""
        sock = socket.socket(socket.AF_UNIX if isinstance(self.place, str) else socket.AF_INET)
        sock.connect(self.place)
        sock.sendall(first)
        sock.setblocking(False)
        return trio.SocketStream(trio.socket.from_stdlib_socket(sock))

    async def ask(self, first: bytes = b"", *parts: bytes, half_close: bool = False) -> bytes:
        async with self.connect(first) as stream:
            for part in parts:
                await wait_all_tasks_blocked()
                await stream.send_all(part)
            if half_close:
                await stream.send_eof()
            return await rest(stream)


async def rest(stream: trio.SocketStream) -> bytes:
    data = b""
    while chunk := await stream.receive_some(65536):
        data += chunk
    return data


@asynccontextmanager
async def serving(
    proxies: TrustedProxies | None = PROXY, *, address: Address | None = None, **options: object
) -> AsyncIterator[Door]:
    before = open_descriptors()
    with trio.fail_after(30):
        async with Door(**options).open(address or Address("127.0.0.1"), proxies) as door:  # type: ignore[arg-type] # its own
            yield door
    assert open_descriptors() == before


@pytest.mark.parametrize("header", [V1, V2])
async def test_the_client_is_the_one_of_the_header(header: bytes):
    async with serving() as door:
        assert await door.ask(header + QUERY) == b"lane 192.0.2.1 moshez\r\n"
        assert door.told.most_open == 0
    async with serving(lane=False) as door:
        assert await door.ask(header + QUERY) == b"task 192.0.2.1 moshez\r\n"
        assert door.given == [b""]


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize("header", [V1, V2, LOCAL, UNKNOWN])
async def test_a_header_split_at_every_byte_is_the_same_header(header: bytes, lane: bool):
    async with serving(lane=lane) as door:
        whole = header + QUERY
        answer = await door.ask(whole)
        for place in range(1, len(whole)):
            part = await door.ask(whole[:place], whole[place:])
            assert part.partition(b" ")[2] == answer.partition(b" ")[2], place
        one_by_one = await door.ask(*(whole[place : place + 1] for place in range(len(whole))))
        assert one_by_one.partition(b" ")[2] == answer.partition(b" ")[2]


async def test_a_late_query_after_the_header_is_the_task_s():
    async with serving() as door:
        assert await door.ask(V2, QUERY) == b"task 192.0.2.1 moshez\r\n"
        assert await door.ask(V1[:9], V1[9:] + QUERY) == b"lane 192.0.2.1 moshez\r\n"


@pytest.mark.parametrize(
    "sent", [QUERY, b"\r\n", b"PROXY TCP4 1.2.3.4\r\n", V2[:12] + b"\x31", V1.replace(b"\r\n", b"\n"), V1[:20], V2[:20]]
)
async def test_a_trusted_proxy_without_a_valid_header_is_cut_off_and_logged_once(sent: bytes):
    async with serving() as door:
        for _ in range(3):
            with pytest.raises(trio.BrokenResourceError):
                await door.ask(sent, half_close=True)
        assert door.told.refusals == {"proxy_header": 3}
        assert door.told.events() == ["proxy_header_rejected"]
        assert door.told.reports[0].fields["peer"] == "127.0.0.1"
        assert not door.given


@pytest.mark.parametrize("header", [V1, V2])
async def test_an_address_that_is_not_trusted_is_not_believed(header: bytes):
    """Its header is its query: the front end answers that, and logs its real address."""
    async with serving(TrustedProxies([ip_network("127.0.0.2/32")])) as door:
        assert b" 127.0.0.1 " in await door.ask(header + QUERY)
        assert await door.ask(QUERY) == b"lane 127.0.0.1 moshez\r\n"


async def test_a_bare_connection_is_a_health_check():
    async with serving() as door:
        assert await door.ask(half_close=True) == b""
        async with door.connect() as stream:
            reset(stream.socket)
        assert await door.ask(V1 + QUERY) != b""
        assert not door.told.refusals
        assert not door.told.reports


@pytest.mark.parametrize("sent", [b"", V2[:5], V1[:30]])
async def test_a_header_must_arrive_in_time(sent: bytes, autojump_clock: MockClock):
    autojump_clock.autojump_threshold = 0.01
    async with serving() as door, door.connect() as stream:
        if sent:
            await stream.send_all(sent)
        began = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await rest(stream)
        assert trio.current_time() - began == pytest.approx(10, abs=0.5)
        assert door.told.refusals == {"deadline": 1}


async def test_limits_count_the_client_and_not_the_proxy():
    rate = RateLimiter(rate=0.001, burst=2)
    async with serving(rate=rate) as door:
        other = V1.replace(b"192.0.2.1", b"192.0.2.9")
        for _ in range(2):
            assert await door.ask(V1 + QUERY) == b"lane 192.0.2.1 moshez\r\n"
        assert await door.ask(V1 + QUERY) == b"refused\r\n"
        assert await door.ask(V2[:20], V2[20:] + QUERY) == b"refused\r\n"
        assert await door.ask(other + QUERY) == b"lane 192.0.2.9 moshez\r\n"
        assert door.told.refusals == {"rate": 2}


async def test_health_checks_of_the_proxy_are_not_limited_and_are_its_own():
    rate = RateLimiter(rate=0.001, burst=1)
    caps = ConnectionCaps(total=100, per_address=1)
    async with serving(rate=rate, caps=caps) as door:
        for _ in range(3):
            assert await door.ask(LOCAL + QUERY) == b"lane 127.0.0.1 moshez\r\n"
        async with AsyncExitStack() as stack:
            for _ in range(3):
                stream = await stack.enter_async_context(door.connect())
                await stream.send_all(LOCAL)
            await wait_all_tasks_blocked()
            assert door.told.open == 3
        # A client without an address counts as one of the proxy, with its limit.
        assert await door.ask(UNKNOWN + QUERY) == b"lane 127.0.0.1 moshez\r\n"
        assert await door.ask(UNKNOWN + QUERY) == b"refused\r\n"


async def test_connections_count_for_the_client_once_it_is_known():
    caps = ConnectionCaps(total=6, per_address=2)
    async with serving(caps=caps) as door, AsyncExitStack() as stack:
        for sent in (V1, V1, V2[:16], V1[:5]):
            stream = await stack.enter_async_context(door.connect())
            await stream.send_all(sent)
            await wait_all_tasks_blocked()
        assert await door.ask(V1, QUERY) == b"refused\r\n"  # its third connection
        assert await door.ask(V1.replace(b"2.1", b"2.7"), QUERY) == b"task 192.0.2.7 moshez\r\n"
        for _ in range(2):
            stream = await stack.enter_async_context(door.connect())
            await stream.send_all(b"P")
            await wait_all_tasks_blocked()
        assert await door.ask(b"P") == b"refused\r\n"  # the total
        assert door.told.refusals == {"connections_per_address": 1, "connections": 1}


async def test_a_unix_socket_of_a_proxy(tmp_path: Path):
    address = Address(path=tmp_path / "s")
    async with serving(TrustedProxies([UNIX]), address=address) as door:
        assert await door.ask(V2 + QUERY) == b"lane 192.0.2.1 moshez\r\n"
        assert await door.ask(LOCAL + QUERY) == b"lane  moshez\r\n"


async def test_a_reload_changes_who_sends_the_header():
    async with serving(None) as door:
        assert await door.ask(QUERY) == b"lane 127.0.0.1 moshez\r\n"
        door.server.trust(PROXY)
        assert await door.ask(V2 + QUERY) == b"lane 192.0.2.1 moshez\r\n"
        door.server.trust(None)
        assert await door.ask(QUERY) == b"lane 127.0.0.1 moshez\r\n"


async def test_a_stop_does_not_wait_for_headers_that_never_come():
    async with serving() as door, door.connect() as stream:
        await stream.send_all(V2[:8])
        await wait_all_tasks_blocked()
        door.stopping.set()
        await stream.send_eof()
        with pytest.raises(trio.BrokenResourceError):
            await rest(stream)


def test_trusted_proxies_are_networks_and_unix_sockets():
    proxies = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("::ffff:192.0.2.0/120")])
    found = [
        peer for peer in ("10.1.2.3", "::ffff:10.1.2.3", "192.0.2.7", "11.0.0.1", "", "x") if proxies.includes(peer)
    ]
    assert found == ["10.1.2.3", "::ffff:10.1.2.3", "192.0.2.7"]
    assert TrustedProxies([UNIX]).includes("")
    assert TrustedProxies([UNIX]).includes("10.1.2.3") is False


def test_many_addresses_do_not_fill_the_memory():
    proxies = TrustedProxies([ip_network("10.0.0.0/8"), UNIX])
    for number in range(10_000):
        peer = f"{10 + number % 2}.0.{number // 250}.{number % 250}"
        assert proxies.includes(peer) == proxies.includes(peer) == (number % 2 == 0)
    assert len(proxies._known) <= 4098
    assert proxies.includes("")
