"""How one connection lives and ends, over real sockets. Where time passes, trio's clock jumps."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from hypercorn.app_wrappers import ASGIWrapper
from hyperframe.frame import GoAwayFrame, RstStreamFrame, WindowUpdateFrame
from trio.testing import MockClock

from fingertrio.http.connection import HttpConnection
from fingertrio.http.http1 import Http1
from fingertrio.http.limits import HEADER_DEADLINE, Budgets
from fingertrio.http.server import make_config
from fingertrio.http.traffic import Traffic
from fingertrio.observe.observer import Observer
from fingertrio.testing import FakeBackend
from tests.frontends.web.kit import USERS, Client, Http2Client, Site, serving

GET = b"GET /moshez HTTP/1.1\r\nHost: test\r\n\r\n"
SIZE = 8_000_000  # bytes of a status that no kernel's buffers hold
BIG = {"big": "~" * SIZE, "moshez": "Happy and well"}


async def asked(backend: FakeBackend) -> None:
    """Wait until the backend has been asked: the request is being answered."""
    with trio.fail_after(5):
        while not backend.calls:
            await trio.testing.wait_all_tasks_blocked(0.001)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /moshez HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
        b"GET /moshez HTTP/1.0\r\n\r\n",
        b"GET /moshez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ],
)
async def test_the_server_closes_first_where_http_says_so(request_: bytes) -> None:
    async with serving() as site:
        async with await site.connect() as client:
            await client.send(request_)
            assert b"Happy and well" in await client.rest()
        await site.empty()


async def test_a_connection_serves_many_requests_and_is_closed_when_idle_for_too_long(
    patient_clock: MockClock,
) -> None:
    async with serving(keep_alive=5) as site, await site.connect() as client:
        for _ in range(3):
            await client.send(GET)
            assert b"Happy and well" in await client.response()
            await trio.sleep(4)
        answered = trio.current_time() - 4
        assert await client.rest() == b""
        assert trio.current_time() - answered == pytest.approx(5)
        await site.empty()


@pytest.mark.parametrize("reason", ["idle for too long", "stop"])
async def test_a_request_that_crosses_the_close_of_an_idle_connection_is_answered(
    reason: str, monkeypatch: pytest.MonkeyPatch, patient_clock: MockClock
) -> None:
    """As proxies send one that keep connections just as long: without the last look, their client gets 502."""
    look = HttpConnection._has_input
    async with serving(keep_alive=0.5) as site, await site.connect() as client:
        crossing = iter([GET])

        def send_and_look(self: HttpConnection) -> bool:
            assert isinstance(client.stream, trio.SocketStream)
            for request in crossing:
                os.write(client.stream.socket.fileno(), request)
            return look(self)

        monkeypatch.setattr(HttpConnection, "_has_input", send_and_look)
        await client.send(GET)
        await client.response()
        if reason == "stop":
            site.stopping.set()
        assert b"Happy and well" in await client.response()
        assert await client.rest() == b""


@pytest.mark.parametrize("sent", [b"", b"GET /moshez HTTP/1.1\r\nHos", b"PRI * HTTP/2.0"])
async def test_a_request_without_an_end_is_cut_off(sent: bytes, patient_clock: MockClock) -> None:
    async with serving(keep_alive=5) as site, await site.connect() as client:
        begun = trio.current_time()
        if sent:
            await client.send(sent)
        assert await client.rest() == b""
        assert trio.current_time() - begun == pytest.approx(5)
        await site.empty()


async def test_a_request_that_waits_long_for_its_turn_is_answered(
    patient_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without CPU time, a request that has arrived whole must not be dropped as one that has not."""

    async def wait(_traffic: Traffic) -> None:
        await trio.sleep(2 * HEADER_DEADLINE)

    monkeypatch.setattr(Traffic, "wait_for_turn", wait)
    async with serving() as site, await site.connect() as client:
        for _ in range(2):
            await client.send(GET)
            assert b"Happy and well" in await client.response()


async def test_a_first_request_that_is_in_the_kernel_at_the_deadline_is_answered(
    patient_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive, late = HttpConnection._receive, [True]

    async def receive_late(connection: HttpConnection) -> bytes:
        if late:
            late.clear()
            await trio.sleep(2 * HEADER_DEADLINE)  # the data is there, but the loop was busy until the deadline
        return await receive(connection)

    monkeypatch.setattr(HttpConnection, "_receive", receive_late)
    async with serving() as site, await site.connect() as client:
        await client.send(GET)
        assert b"Happy and well" in await client.response()


async def test_requests_sent_at_once_are_answered_in_their_order() -> None:
    async with serving() as site, await site.connect() as client:
        await client.send(GET + GET.replace(b"moshez", b"shawn") + GET.replace(b"moshez", b"nobody"))
        assert b"Happy and well" in await client.response()
        assert b"Doing the laundry" in await client.response()
        assert b"No such user" in await client.response()


async def test_a_client_that_closes_its_sending_side_gets_its_answer() -> None:
    backend = FakeBackend(USERS)
    async with serving(backend) as site, await site.connect() as client:
        backend.hold()
        await client.send(GET)
        await client.stream.send_eof()
        await asked(backend)
        backend.release()
        assert b"Happy and well" in await client.rest()
        await site.empty()


async def test_a_client_that_closed_its_sending_side_is_kept_for_ten_seconds(patient_clock: MockClock) -> None:
    backend = FakeBackend(USERS)
    async with serving(backend, backend_deadline=60) as site, await site.connect() as client:
        backend.hold()
        begun = trio.current_time()
        await client.send(GET)
        await client.stream.send_eof()
        assert await client.rest() == b""
        assert trio.current_time() - begun == pytest.approx(10, abs=0.1)
        await site.empty()


async def test_a_client_that_is_gone_ends_its_request() -> None:
    backend = FakeBackend(USERS)
    async with serving(backend) as site:
        backend.hold()
        async with await site.connect() as client:
            await client.send(GET)
            await asked(backend)
            reset_on_close(client)
        await site.empty()
        backend.release()
        assert b"Happy and well" in await site.get()


def reset_on_close(client: Client) -> None:
    assert isinstance(client.stream, trio.SocketStream)
    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


async def test_an_answer_is_not_destroyed_by_what_the_client_goes_on_sending(patient_clock: MockClock) -> None:
    """A POST that is refused before its body has come; stock Hypercorn resets the connection."""
    async with serving() as site, await site.connect() as client:
        await client.send(b"POST /moshez HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n")
        head = await client.until(b"\r\n\r\n")
        for _ in range(2):
            await client.send(b"x" * 100_000)
        assert head.startswith(b"HTTP/1.1 405")
        assert (await client.rest()).endswith(b"</html>")


async def test_a_client_that_does_not_read_is_given_up(patient_clock: MockClock) -> None:
    async with serving(BIG) as site:
        async with await deaf(site) as client:
            await site.empty(60)
            assert site.observer.metrics.refusals["http", "slow_reader"] == 1
            del client
        assert not site.returned.is_set()


async def deaf(site: Site, request: bytes = b"GET /big HTTP/1.1\r\nHost: test\r\n\r\n") -> Client:
    """A client that asks for what does not fit into the kernel's buffers, and reads none of it."""
    client = await site.connect()
    await client.send(request)
    return client


async def test_a_slow_reader_gets_all_of_it(patient_clock: MockClock) -> None:
    async with serving(BIG) as site, await deaf(site) as client:
        head = await client.until(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].split()[0])
        while len(client.received) < length:
            await trio.sleep(0.3)
            await client.more()
        assert client.received.count(b"~") >= SIZE  # the page has its beginning a second time, for link previews
        assert trio.current_time() > 10


async def test_idle_clients_do_not_delay_the_stop(patient_clock: MockClock) -> None:
    async with serving() as site:
        async with await site.connect() as idle, await site.connect() as silent, await site.connect() as browser:
            await idle.send(GET)
            await idle.response()
            await silent.send(b"GET / HTT")
            http2 = Http2Client(browser)
            await http2.start()
            await browser.send(http2.request(1))
            await http2.answer(1)
            await trio.testing.wait_all_tasks_blocked()  # until the server has noticed that it is done
            begun = trio.current_time()
            site.stopping.set()
            await site.returned.wait()
            assert trio.current_time() == pytest.approx(begun, abs=0.1)
            assert await idle.rest() == await silent.rest() == b""
            await http2.wait_for(GoAwayFrame, 0)


async def test_a_request_under_way_is_answered_before_the_stop() -> None:
    backend = FakeBackend(USERS)
    async with serving(backend) as site, await site.connect() as client:
        backend.hold()
        await client.send(GET)
        await asked(backend)
        site.stopping.set()
        await trio.testing.wait_all_tasks_blocked()
        assert not site.returned.is_set()
        backend.release()
        answer = await client.rest()
        assert b"Happy and well" in answer
        assert b"connection: close" in answer
        await trio.aclose_forcefully(client.stream)
        with trio.fail_after(5):
            await site.returned.wait()


async def test_an_http2_request_under_way_is_answered_whole_before_the_stop() -> None:
    backend = FakeBackend(USERS)
    async with serving(backend) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        backend.hold()
        await client.send(browser.request(1))
        await asked(backend)
        site.stopping.set()
        await trio.testing.wait_all_tasks_blocked()
        backend.release()
        status, body = await browser.answer(1)  # which waits for END_STREAM
        assert (status, b"Happy and well" in body) == (200, True)
        frame = await browser.wait_for(GoAwayFrame, 0)
        assert frame.error_code == 0


async def test_an_http2_answer_that_is_read_slowly_is_whole_when_the_door_closes() -> None:
    """Its last frame waits for the kernel's buffer when the application is done, and the GOAWAY waits for that."""
    async with serving(BIG) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start(INITIAL_WINDOW_SIZE=2**24)
        await client.send(
            WindowUpdateFrame(0, window_increment=2**24).serialize() + browser.request(1, pseudo={"path": b"/big"})
        )
        while not browser.statuses:
            await browser.next()
        site.stopping.set()
        status, body = await browser.answer(1)
        assert status == 200
        assert body.count(b"~") >= SIZE
        assert body.rstrip().endswith(b"</html>")


@pytest.mark.parametrize("path", [b"/big", b"/moshez"])
async def test_an_http2_answer_that_is_not_read_ends_with_its_connection(path: bytes) -> None:
    """The long one waits in the middle for the client's window, the short one at its end."""
    async with serving(BIG) as site:
        async with await site.connect() as client:
            browser = Http2Client(client)
            await browser.start(INITIAL_WINDOW_SIZE=10)
            await client.send(browser.request(1, pseudo={"path": path}))
            while browser.bodies.get(1, b"") == b"":
                await browser.next()
        await site.empty()


async def test_an_http2_answer_that_is_never_done_is_reset_in_the_end(patient_clock: MockClock) -> None:
    """It is read fast enough for its connection, but not for Quart."""
    async with serving(BIG, keep_alive=40) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start(INITIAL_WINDOW_SIZE=2**16 - 1)
        more = b"".join(WindowUpdateFrame(stream, window_increment=2**16).serialize() for stream in (0, 1))
        await client.send(browser.request(1, pseudo={"path": b"/big"}) + browser.request(3, pseudo={"method": b"HEAD"}))
        async with trio.open_nursery() as nursery:

            async def take_slowly() -> None:
                while True:
                    await trio.sleep(25)
                    await client.send(more)

            nursery.start_soon(take_slowly)
            frame = await browser.wait_for(RstStreamFrame, 1)
            nursery.cancel_scope.cancel()
        assert frame.error_code == ErrorCodes.INTERNAL_ERROR
        assert browser.statuses == {1: 200, 3: 200}
        # What was to be sent is forgotten: it is an idle connection now, and no slow reader.
        assert (await browser.wait_for(GoAwayFrame, 0)).error_code == 0


@pytest.mark.parametrize("busy", [False, True])
async def test_cancelling_ends_at_once(patient_clock: MockClock, *, busy: bool) -> None:
    backend = FakeBackend(USERS)
    ended = trio.Event()

    async def run(*, task_status: trio.TaskStatus[tuple[Site, Client]]) -> None:
        async with serving(backend) as site:
            client = await site.connect()
            task_status.started((site, client))
            await site.returned.wait()
        ended.set()

    async with trio.open_nursery() as nursery:
        site, client = await nursery.start(run)
        if busy:
            backend.hold()
        await client.send(GET)
        await (asked(backend) if busy else client.response())
        begun = trio.current_time()
        site.scope.cancel()
        await ended.wait()
        assert trio.current_time() == begun
        await trio.aclose_forcefully(client.stream)


async def test_a_client_that_does_not_read_holds_a_cancelled_door_for_a_fifth_of_a_second(
    patient_clock: MockClock,
) -> None:
    ended = trio.Event()

    async def run(*, task_status: trio.TaskStatus[tuple[Site, Client]]) -> None:
        async with serving(BIG) as site:
            task_status.started((site, await deaf(site)))
            await site.returned.wait()
        ended.set()

    async with trio.open_nursery() as nursery:
        site, client = await nursery.start(run)
        await client.more()  # the answer has begun
        begun = trio.current_time()
        site.scope.cancel()
        await ended.wait()
        assert trio.current_time() - begun == pytest.approx(0.2, abs=0.01)
        await trio.aclose_forcefully(client.stream)


async def test_what_a_protocol_raises_ends_its_connection_and_is_one_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bug in a protocol, for an input that no test has."""
    receive: Callable[[Http1, bytes], Awaitable[None]] = Http1.receive

    async def fail_for_ada(self: Http1, data: bytes) -> None:
        if b"ada" in data:
            raise LookupError("unforeseen")
        await receive(self, data)

    monkeypatch.setattr(Http1, "receive", fail_for_ada)
    async with serving() as site:
        assert await site.ask(b"GET /ada HTTP/1.1\r\nHost: test\r\n\r\n") == b""
        await site.empty()
        assert b"Happy and well" in await site.get()
        lines = [line for line in site.log.getvalue().splitlines() if "http_connection_failed" in line]
        assert len(lines) == 1
        assert "LookupError: unforeseen" in lines[0]
        assert "Traceback" not in lines[0]


async def unused(*_args: Any) -> None:
    """An application that gets no request."""


@pytest.mark.parametrize("work", [0.002, 0.0], ids=["long", "short"])
async def test_while_connections_have_worked_for_long_each_round_of_the_loop_releases_few(work: float) -> None:
    observer = Observer()
    traffic = Traffic(ASGIWrapper(unused), make_config(observer, 5), "http", observer, Budgets())
    rounds = 0
    passed_in: list[int] = []

    async def connection() -> None:
        await traffic.wait_for_turn()
        passed_in.append(rounds)
        until = time.thread_time() + work
        while time.thread_time() < until:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(traffic.follow_rounds)
        for _ in range(20):
            nursery.start_soon(connection)
        while len(passed_in) < 20:
            rounds += 1
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    # Two or three. Trio shuffles the tasks of a round: two may have the same number, and one may be measured late.
    in_a_round = max(Counter(passed_in).values())
    assert in_a_round <= 8 if work else in_a_round > 8
