"""Connections without a task, over real sockets: a small application, whose responses may all be repeated."""

from __future__ import annotations

import errno
import io
import os
import select
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme
from trio.testing import MockClock

from fingertrio.http import idle
from fingertrio.http.connection import HttpConnection
from fingertrio.http.errand import Errand
from fingertrio.http.express import Express
from fingertrio.http.idle import IdlePool
from fingertrio.http.lane import Lane, Sender
from fingertrio.http.replay import ALWAYS, recording_of
from fingertrio.http.server import HttpFrontend
from fingertrio.http.tls import make_tls_context
from fingertrio.http.traffic import Traffic
from fingertrio.net.address import parse_address
from fingertrio.net.limits import ConnectionCaps
from fingertrio.net.listen import bind, close_all
from tests.frontends.web.kit import Client, CountingObserver

BIG = b"#" * 900_000  # ten of them do not fit into the kernel's buffers
GET = b"GET /small HTTP/1.1\r\nHost: test\r\n\r\n"
GET_BIG = b"GET /big HTTP/1.1\r\nHost: test\r\n\r\n"
POST = b"POST /small HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody"


class Ledger:
    """Counts what came from the lane."""

    def __init__(self) -> None:
        self.repeated = 0
        self.admitted = 0
        self.fails = False

    def sender(self, peer: str, forwarding: Mapping[bytes, bytes]) -> Sender:
        return Sender(peer)

    def admits(self, sender: Sender, now: float) -> bool:
        if self.fails:
            raise LookupError("a bug")
        self.admitted += 1
        return True

    def replayed(self, sender: Sender, note: Any, seconds: float) -> None:
        self.repeated += 1

    def flush(self) -> None:
        pass


class Door:
    def __init__(self, frontend: HttpFrontend, observer: CountingObserver, place: tuple[str, int]) -> None:
        self.frontend = frontend
        self.observer = observer
        self.place = place
        self.ledger = Ledger()
        self.tasks = 0
        self.running = 0
        self.stopping = trio.Event()
        self.log = io.StringIO()

    async def connect(self, tls: ssl.SSLContext | None = None) -> Client:
        stream = await trio.open_tcp_stream(*self.place)
        if tls is None:
            return Client(stream)
        return Client(trio.SSLStream(stream, tls, server_hostname="localhost", https_compatible=True))

    async def warm(self, tls: ssl.SSLContext | None = None) -> None:
        """Have every response in the lane."""
        async with await self.connect(tls) as client:
            for request in (GET, GET_BIG, POST):
                await client.send(request)
                await client.response()
            await trio.testing.wait_all_tasks_blocked(0.001)
        self.tasks = 0


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        await send({"type": "lifespan.startup.complete"})
        await trio.sleep_forever()
    while (await receive()).get("more_body", False):
        pass
    if (recording := recording_of(scope)) is not None:
        recording.replay_while(ALWAYS)
    body = BIG if scope["path"] == "/big" else b"small"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@asynccontextmanager
async def serving(monkeypatch: pytest.MonkeyPatch, **options: Any) -> AsyncIterator[Door]:
    log = io.StringIO()
    observer = CountingObserver(log)
    listeners = bind(parse_address("127.0.0.1:0"))
    application = options.pop("application", app)
    caps = options.pop("caps", None) or ConnectionCaps(total=99, per_address=99)
    ledger = Ledger()
    frontend = HttpFrontend(
        lambda: application,
        door="http",
        observer=observer,
        listeners=listeners,
        caps=caps,
        lane=Lane(ledger),
        **options,
    )
    door = Door(frontend, observer, listeners[0].getsockname())
    door.ledger, door.log = ledger, log
    run = HttpConnection.run

    async def counted(connection: HttpConnection) -> None:
        door.tasks += 1
        door.running += 1
        await run(connection)
        door.running -= 1

    monkeypatch.setattr(HttpConnection, "run", counted)
    async with trio.open_nursery() as nursery:
        await nursery.start(frontend.serve, door.stopping)
        yield door
        with trio.fail_after(5):
            await observer.empty.wait()
        nursery.cancel_scope.cancel()
    close_all(listeners)
    budgets = frontend._budgets
    assert (budgets.answers.used, budgets.bodies.used, budgets.handshakes.used) == (0, 0, 0)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's context and the client's."""
    authority = trustme.CA()
    path: Path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(path)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return make_tls_context(path, None), client


async def test_over_tls_a_hot_request_has_no_task(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(monkeypatch, tls=tls[0]) as door:
        await door.warm(tls[1])
        async with await door.connect(tls[1]) as client:
            await client.send(GET)
            assert (await client.response()).endswith(b"small")
            assert door.tasks == 1  # for the handshake
            for _ in range(3):
                await client.send(GET * 2)
                assert [(await client.response())[-5:] for _ in range(2)] == [b"small"] * 2
            await client.send(POST)
            await client.response()
            assert (door.tasks, door.ledger.repeated) == (1, 8)
            await client.send(GET_BIG + GET)
            assert (await client.response()).endswith(BIG)
            assert (await client.response()).endswith(b"small")


async def test_over_tls_the_end_is_announced(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, patient_clock: MockClock
) -> None:
    """The server's at the time-out, and the client's, is answered with the closing alert (RFC 8446 section 6.1)."""
    async with serving(monkeypatch, tls=tls[0], keep_alive=5) as door:
        for closes in (False, True):
            stream = await trio.open_tcp_stream(*door.place)
            strict = trio.SSLStream(stream, tls[1], server_hostname="localhost")
            await strict.send_all(GET)
            assert await strict.receive_some(1000)
            if closes:
                await strict.unwrap()
            else:
                assert await strict.receive_some() == b""  # would raise without the alert
            await stream.aclose()


async def test_over_tls_the_end_behind_an_answer_of_the_lane_is_announced(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    last = GET.replace(b"test", b"test\r\nConnection: close")
    async with serving(monkeypatch, tls=tls[0]) as door:
        for repeated in (0, 1):
            stream = await trio.open_tcp_stream(*door.place)
            strict = trio.SSLStream(stream, tls[1], server_hostname="localhost")
            await strict.send_all(last)
            received = b""
            while part := await strict.receive_some(1000):  # would raise without the alert
                received += part
            assert received.endswith(b"small")
            assert door.ledger.repeated == repeated
            await stream.aclose()


async def test_a_stop_does_not_wait_for_a_handshake_that_does_not_come(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, patient_clock: MockClock
) -> None:
    """Nor if the connection was accepted just before the stop, and its task runs only afterwards."""
    wait_for_turn, stopped = Traffic.wait_for_turn, trio.Event()

    async def wait(traffic: Traffic) -> None:
        await stopped.wait()
        await wait_for_turn(traffic)

    monkeypatch.setattr(Traffic, "wait_for_turn", wait)
    async with serving(monkeypatch, tls=tls[0]) as door, await door.connect() as client:
        await trio.testing.wait_all_tasks_blocked(0.001)
        door.stopping.set()
        await trio.testing.wait_all_tasks_blocked(0.001)
        began = trio.current_time()
        stopped.set()
        assert await client.rest() == b""
        assert trio.current_time() - began < 1


async def test_over_tls_junk_ends_only_its_connection(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(monkeypatch, tls=tls[0]) as door:
        client = await door.connect(tls[1])
        await client.send(GET)
        await client.response()
        assert isinstance(client.stream, trio.SSLStream)
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await client.stream.transport_stream.send_all(b"junk" * 100)
                await trio.testing.wait_all_tasks_blocked(0.001)
        await trio.aclose_forcefully(client.stream)
        assert '"level": "error"' not in door.log.getvalue()


async def test_a_large_answer_waits_for_its_reader_in_a_task(
    monkeypatch: pytest.MonkeyPatch, patient_clock: MockClock
) -> None:
    """Its bytes are counted once for all readers. A reader that takes nothing is given up."""
    async with serving(monkeypatch) as door, AsyncExitStack() as stack:
        await door.warm()
        clients = [await stack.enter_async_context(await door.connect()) for _ in range(3)]
        for client in clients:
            await client.send(GET_BIG * 10)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert door.frontend._budgets.answers.used == len(BIG)
        assert door.tasks == 3
        for _ in range(10):
            assert (await clients[0].response()).endswith(BIG)
        await clients[0].send(GET)
        assert (await clients[0].response()).endswith(b"small")
        await trio.sleep(40)
        assert door.observer.metrics.refusals == {("http", "slow_reader"): 2}


async def test_a_large_answer_beyond_the_budget_is_refused_as_the_application_refuses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(monkeypatch) as door, await door.connect() as client:
        await door.warm()
        door.frontend._budgets.answers.limit = 1000
        await client.send(GET_BIG)
        assert (await client.response()).startswith(b"HTTP/1.1 503 ")
        assert door.observer.metrics.refusals == {("http", "memory"): 1}
        assert door.ledger.admitted == 0  # the application counts the request


async def test_a_body_that_follows_its_head_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, patient_clock: MockClock
) -> None:
    async with serving(monkeypatch) as door, await door.connect() as client:
        await door.warm()
        for pause, tasks in ((0.1, 0), (1.0, 1)):
            await client.send(POST[:-4])
            await trio.sleep(pause)
            await client.send(POST[-4:])
            assert (await client.response()).endswith(b"small")
            assert door.tasks == tasks


@pytest.mark.parametrize("reason", ["idle for too long", "stop"])
async def test_a_request_that_crosses_the_close_is_answered(
    reason: str, monkeypatch: pytest.MonkeyPatch, patient_clock: MockClock
) -> None:
    async with serving(monkeypatch, keep_alive=5) as door, await door.connect() as client:
        await door.warm()
        await client.send(GET)
        await client.response()
        close = IdlePool.close

        def send_and_close(pool: IdlePool, idle: Any) -> bool:
            assert isinstance(client.stream, trio.SocketStream)
            if crossing:
                os.write(client.stream.socket.fileno(), crossing.pop())
            return close(pool, idle)

        crossing = [GET]
        monkeypatch.setattr(IdlePool, "close", send_and_close)
        if reason == "stop":
            door.stopping.set()
        assert (await client.response()).endswith(b"small")
        assert await client.rest() == b""


async def test_a_client_that_asks_and_connects_at_once_stays_within_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is answered, and not closed, if a request is there when it has to make room for another one."""
    caps, sockets = ConnectionCaps(total=99, per_address=4), list[socket.socket]()
    async with serving(monkeypatch, caps=caps) as door:
        await door.warm()
        for _ in range(30):
            for each in sockets:
                with suppress(OSError):  # the server has closed it
                    os.write(each.fileno(), GET)
            sockets.append(socket.socket())
            sockets[-1].setblocking(False)
            sockets[-1].connect_ex(door.place)
            await trio.testing.wait_all_tasks_blocked(0.001)
            assert caps._open <= 4
        for each in sockets:
            each.close()


async def test_connections_without_a_request_are_closed_in_time(
    monkeypatch: pytest.MonkeyPatch, patient_clock: MockClock
) -> None:
    """Each after its own time, whatever the others do meanwhile."""
    async with serving(monkeypatch, keep_alive=5) as door, AsyncExitStack() as stack:
        await door.warm()
        silent, asked, busy = [await stack.enter_async_context(await door.connect()) for _ in range(3)]
        began = trio.current_time()
        ended: dict[str, float] = {}

        async def wait_for_end(name: str, client: Client) -> None:
            await client.rest()
            ended[name] = round(trio.current_time() - began, 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_end, "silent", silent)
            await trio.sleep(1)
            await asked.send(GET)
            nursery.start_soon(wait_for_end, "asked", asked)
            for _ in range(4):
                await busy.send(GET)
                await busy.response()
                await trio.sleep(2)
            nursery.start_soon(wait_for_end, "busy", busy)
        assert ended == {"silent": 5.0, "asked": 6.0, "busy": 12.0}
        assert door.tasks == 0


async def test_a_connection_at_rest_has_no_task_after_a_second(
    monkeypatch: pytest.MonkeyPatch, patient_clock: MockClock
) -> None:
    """And is closed at its time, which counts from the last answer."""
    async with serving(monkeypatch, keep_alive=5) as door, await door.connect() as client:
        for _ in range(2):
            await client.send(GET.replace(b"test", b"test\r\nCookie: a=b"))
            await client.response()
            answered = trio.current_time()
            await trio.sleep(0.9)
            assert door.running == 1
            await trio.sleep(0.2)
            assert door.running == 0
        assert await client.rest() == b""
        assert trio.current_time() - answered == pytest.approx(5)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), ValueError("I/O operation on closed epoll object")],
    ids=["full", "the door was cancelled in this moment"],
)
async def test_where_no_more_connections_can_be_watched_they_have_tasks(
    error: Exception, monkeypatch: pytest.MonkeyPatch, patient_clock: MockClock
) -> None:
    class Full:
        def register(self, *_: object) -> None:
            raise error

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    real = select.epoll()
    monkeypatch.setattr(select, "epoll", Full)
    async with serving(monkeypatch) as door, await door.connect() as client:
        for _ in range(2):
            await client.send(GET)
            assert (await client.response()).endswith(b"small")
            await trio.sleep(1.5)
        assert door.tasks > 1


async def test_a_round_in_which_many_connections_are_ready_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch) as door, AsyncExitStack() as stack:
        await door.warm()
        clients = [await stack.enter_async_context(await door.connect()) for _ in range(8)]
        serve_round, rounds = IdlePool._serve_round, list[int]()

        def counted(pool: IdlePool) -> None:
            before = door.ledger.repeated
            serve_round(pool)
            rounds.append(door.ledger.repeated - before)

        monkeypatch.setattr(IdlePool, "_serve_round", counted)
        monkeypatch.setattr(idle, "_TURN", -1.0)
        for client in clients:
            await client.send(GET * 4)
        for client in clients * 4:
            await client.response()
        assert sum(rounds) == 32
        assert max(rounds) <= 2  # one that was ready, and one that has just sent something


async def test_an_answer_that_a_cancelled_task_had_not_begun_to_send_gives_its_memory_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listeners = bind(parse_address("127.0.0.1:0"))
    caps, lane = ConnectionCaps(total=9, per_address=9), Lane(Ledger())
    frontend = HttpFrontend(
        lambda: app,
        door="http",
        observer=CountingObserver(io.StringIO()),
        listeners=listeners,
        caps=caps,
        lane=lane,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(frontend.serve, trio.Event())
        async with Client(await trio.open_tcp_stream(*listeners[0].getsockname())) as client:
            await client.send(GET_BIG)
            await client.response()
            await trio.testing.wait_all_tasks_blocked(0.001)

            async def wait(_: Traffic) -> None:
                await trio.sleep_forever()

            monkeypatch.setattr(Traffic, "wait_for_turn", wait)
            async with Client(await trio.open_tcp_stream(*listeners[0].getsockname())) as another:
                await another.send(GET_BIG * 20)
                while not frontend._budgets.answers.used:
                    await trio.lowlevel.checkpoint()
                await trio.testing.wait_all_tasks_blocked(0.001)
                nursery.cancel_scope.cancel()
    close_all(listeners)
    assert frontend._budgets.answers.used == 0


async def test_a_bug_in_the_lane_is_logged_and_the_request_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(monkeypatch) as door, await door.connect() as client:
        await door.warm()
        door.ledger.fails = True
        await client.send(GET)
        assert (await client.response()).endswith(b"small")
        assert '"lane_failed"' in door.log.getvalue()


async def test_what_does_not_fit_into_the_kernel_is_sent_by_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small answers too, when the client reads none of them."""
    async with serving(monkeypatch) as door, await door.connect() as client:
        await door.warm()
        send_raw, sent = Express._send_raw, [3]

        def send_little(express: Express, idle: Any, data: bytes) -> Any:
            for size in sent:
                sent.clear()
                assert send_raw(express, idle, data[:size]) is None
                errand = Errand(idle.tls, idle.data or None)
                errand.raw = data[size:]
                return errand
            return send_raw(express, idle, data)

        monkeypatch.setattr(Express, "_send_raw", send_little)
        await client.send(GET * 3)
        assert [(await client.response())[-5:] for _ in range(3)] == [b"small"] * 3
        assert door.tasks == 1


async def test_a_request_that_comes_when_the_connection_leaves_its_task_and_the_door_closes_is_answered(
    monkeypatch: pytest.MonkeyPatch, patient_clock: MockClock
) -> None:
    put_back = IdlePool.put_back

    def close_first(pool: IdlePool, connection: Any, tls: Any, data: bytes, since: float) -> None:
        terminated: Any = pool._traffic.context.terminated
        terminated._event.set()
        put_back(pool, connection, tls, GET, since)

    async with serving(monkeypatch) as door, await door.connect() as client:
        await client.send(GET)
        await client.response()
        monkeypatch.setattr(IdlePool, "put_back", close_first)
        answer = await client.response()
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert await client.rest() == b""
        door.stopping.set()
