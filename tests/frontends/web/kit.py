"""A web door on loopback, and clients that speak to it in bytes."""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import hpack
import trio
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from fingertrio.accounts.accounts import Accounts
from fingertrio.backend import Backend
from fingertrio.frontends.web.frontend import WebFrontend, WebPolicy
from fingertrio.frontends.web.live_watcher import LivePolicy
from fingertrio.http.http2 import PREFACE
from fingertrio.http.tls import make_tls_context
from fingertrio.net.address import parse_address
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.listen import bind, close_all
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService, ServicePolicy
from fingertrio.testing import FakeBackend

EMPTY: Mapping[str, None] = {}
NO_PRESETS: Mapping[str, Mapping[str, str]] = {}
USERS = {"moshez": "Happy and well", "shawn": "Doing the laundry"}


class CountingObserver(Observer):
    """Tells when the last connection has ended."""

    def __init__(self, log: io.StringIO | None = None) -> None:
        super().__init__(log, human=False)
        self.empty = trio.Event()

    def connected(self, door: str, change: int) -> None:
        super().connected(door, change)
        if not self.metrics.connections[door]:
            self.empty.set()
        elif self.empty.is_set():
            self.empty = trio.Event()


@dataclass
class Site:
    """A door that serves."""

    url: str
    address: tuple[str, int]
    observer: CountingObserver
    log: io.StringIO
    stopping: trio.Event
    scope: trio.CancelScope
    door: WebFrontend
    service: FingerService
    returned: trio.Event = field(default_factory=trio.Event)

    async def connect(self, tls: ssl.SSLContext | None = None) -> Client:
        stream = await trio.open_tcp_stream(*self.address)
        if tls is None:
            return Client(stream)
        return Client(trio.SSLStream(stream, tls, server_hostname="localhost", https_compatible=True))

    async def ask(self, request: bytes) -> bytes:
        """All that comes back for a request, until the server closes."""
        async with await self.connect() as client:
            await client.send(request)
            return await client.rest()

    async def get(self, path: str = "/moshez") -> bytes:
        return await self.ask(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())

    async def empty(self, seconds: float = 5) -> None:
        """Wait until no connection is open."""
        with trio.fail_after(seconds):
            await self.observer.empty.wait()


async def assert_unharmed(site: Site) -> None:
    """It serves, and its log tells of no failure."""
    assert b"Happy and well" in await site.get()
    assert not site.returned.is_set()
    assert "http_connection_failed" not in site.log.getvalue()
    assert '"level": "error"' not in site.log.getvalue()


class Client:
    """One connection, from the other side."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self.received = b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await trio.aclose_forcefully(self.stream)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def more(self) -> bytes:
        with trio.fail_after(100):
            data = bytes(await self.stream.receive_some(65536))
        self.received += data
        return data

    async def until(self, end: bytes) -> bytes:
        """What was received up to `end`, which is taken out."""
        while end not in self.received:
            assert await self.more(), f"the server closed after {self.received!r}"
        found, _, self.received = self.received.partition(end)
        return found + end

    async def response(self) -> bytes:
        """One response that tells its length."""
        head = await self.until(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        while len(self.received) < length:
            assert await self.more()
        body, self.received = self.received[:length], self.received[length:]
        return head + body

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        while await self.more():
            pass
        received, self.received = self.received, b""
        return received


class Http2Client:
    """Builds HTTP/2 frames, proper ones or not, and understands the answers."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.frames: list[Frame] = []
        self.statuses: dict[int, int] = {}
        self.bodies: dict[int, bytes] = {}

    async def start(self, **settings: int) -> None:
        values = {getattr(SettingsFrame, name): value for name, value in settings.items()}
        await self.client.send(PREFACE + SettingsFrame(0, settings=values).serialize())

    def request(
        self,
        stream: int,
        *,
        end: bool = True,
        pseudo: Mapping[str, bytes | None] = EMPTY,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> bytes:
        """A request. An entry of `pseudo` replaces the pseudo-header of its name, or removes it."""
        values: dict[str, bytes | None] = {
            "method": b"GET", "scheme": b"http", "authority": b"test", "path": b"/moshez", **pseudo
        }  # fmt: skip
        pseudo_headers = [(b":" + name.encode(), value) for name, value in values.items() if value is not None]
        flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
        return HeadersFrame(stream, self.encoder.encode([*pseudo_headers, *headers]), flags=flags).serialize()

    async def wait_for(self, kind: type[Frame], stream: int, flag: str | None = None) -> Any:
        """The next such frame."""
        while True:
            frame = await self.next()
            if isinstance(frame, kind) and frame.stream_id == stream and (flag is None or flag in frame.flags):
                return frame

    async def answer(self, stream: int) -> tuple[int, bytes]:
        """Status and body of a whole response."""
        while True:
            frame = await self.next()
            assert not isinstance(frame, RstStreamFrame | GoAwayFrame), frame
            if frame.stream_id == stream and "END_STREAM" in frame.flags:
                return self.statuses[stream], self.bodies.get(stream, b"")

    async def next(self) -> Frame:
        client = self.client
        while len(client.received) < 9 or len(client.received) < 9 + int.from_bytes(client.received[:3]):
            assert await client.more(), f"the server closed after {self.frames}"
        frame, length = Frame.parse_frame_header(memoryview(client.received[:9]))
        frame.parse_body(memoryview(client.received[9 : 9 + length]))
        client.received = client.received[9 + length :]
        self.frames.append(frame)
        if isinstance(frame, HeadersFrame):
            headers = dict(self.decoder.decode(frame.data, raw=True))
            self.statuses[frame.stream_id] = int(headers[b":status"])
        elif isinstance(frame, DataFrame):
            self.bodies[frame.stream_id] = self.bodies.get(frame.stream_id, b"") + frame.data
        return frame


@asynccontextmanager
async def serving(
    backend: Backend | Mapping[str, str] = USERS,
    *,
    at: str | socket.socket = "127.0.0.1:0",
    certfile: Path | None = None,
    keep_alive: float = 5.0,
    backend_deadline: float = 5.0,
    caps: ConnectionCaps | None = None,
    rate: RateLimiter | None = None,
    live: LivePolicy | None = None,
    policy: WebPolicy | None = None,
    express: bool = True,
    accounts: Accounts | None = None,
    presets: Mapping[str, Mapping[str, str]] = NO_PRESETS,
) -> AsyncIterator[Site]:
    """A web front end that serves `backend`, stopped at the end. `policy` replaces certfile, keep_alive and live.

    express: whether it has its express lane.
    """
    log = io.StringIO()
    observer = CountingObserver(log)
    listeners = bind(parse_address(at)) if isinstance(at, str) else [at]
    try:
        opened = FakeBackend(backend) if isinstance(backend, Mapping) else backend
        async with (
            FingerService.open(opened, ServicePolicy(deadline=backend_deadline), observer) as service,
            trio.open_nursery() as nursery,
        ):
            door = WebFrontend(
                service=service,
                observer=observer,
                listeners=listeners,
                caps=caps or ConnectionCaps(total=100, per_address=100),
                rate=rate,
                accounts=accounts,
                presets=lambda: presets,
                policy=policy
                or WebPolicy(
                    tls=None if certfile is None else make_tls_context(certfile, None),
                    keep_alive=keep_alive,
                    live=live or LivePolicy(),
                ),
            )
            if not express:
                door._lane = None
            address = listeners[0].getsockname()[:2] if listeners[0].family != socket.AF_UNIX else ("", 0)
            site = Site("", address, observer, log, trio.Event(), nursery.cancel_scope, door, service)

            async def serve(*, task_status: trio.TaskStatus[list[str]]) -> None:
                await door.serve(site.stopping, task_status=task_status)
                site.returned.set()

            [site.url] = await nursery.start(serve)
            yield site
            site.stopping.set()
            with trio.move_on_after(5):
                await site.returned.wait()
            nursery.cancel_scope.cancel()
    finally:
        close_all(listeners)
