"""A front end with a scripted server over memory streams, on a mock clock; and one for real servers, in real time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.irc import IRCFrontend, IRCTimes, NetworkSettings, ServerAddress
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing.fakes import FakeReader
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_secrets import Secret
from tests.frontends.irc.fakes import FakeNetwork, FakeServer, Log
from tests.frontends.irc.real import Start, Watcher

COLORS = "\x034red\x03 and \x0403fc1bgreen\x02"


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def observer(log: Log) -> Observer:
    return Observer(log.stream, human=False)


@pytest.fixture
def backend() -> FakeReader:
    return FakeReader({"moshez": "Happy and well", "plan": "one\n\ntwo\nthree", "colors": COLORS})


@pytest.fixture
async def service(backend: FakeReader, observer: Observer) -> AsyncIterator[FingerService]:
    async with FingerService.open(backend, observer=observer) as service:
        yield service


@pytest.fixture
def make(network: FakeNetwork, service: FingerService, observer: Observer) -> Callable[..., IRCFrontend]:
    """Makes a front end; by default each pause is in the middle of what is possible."""

    def make(
        jitter: Callable[[float, float], float] = lambda least, most: (least + most) / 2, **settings: Any
    ) -> IRCFrontend:
        settings = {"name": "test", "login": Login(nick="fingerbot"), **settings}
        settings.setdefault("servers", (ServerAddress(host="irc.test", port=6667),))
        return IRCFrontend(
            service=service,
            observer=observer,
            networks=[NetworkSettings(**settings)],
            connect=network.connect,
            jitter=jitter,
        )

    return make


@pytest.fixture
def stopping() -> trio.Event:
    return trio.Event()


@pytest.fixture
async def serving(nursery: trio.Nursery, make: Callable[..., IRCFrontend], stopping: trio.Event) -> trio.Event:
    """Starts the front end; the event is set when it has returned."""
    returned = trio.Event()

    async def serve(*, task_status: trio.TaskStatus[list[str]]) -> None:
        await make().serve(stopping, task_status=task_status)
        returned.set()

    assert await nursery.start(serve) == ["irc.test:6667 as fingerbot"]
    return returned


@pytest.fixture
async def server(serving: trio.Event, network: FakeNetwork) -> FakeServer:
    """A server that has accepted the client's registration."""
    server = await network.accept()
    await server.welcome()
    await server.settled()
    await trio.sleep(30)  # the flood rule's burst is available again
    return server


# Real servers.


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


async def dial(_host: str, port: int) -> trio.abc.Stream:
    """Loopback, whatever the name."""
    return await trio.open_tcp_stream("127.0.0.1", port)


@pytest.fixture
async def people(watcher: Watcher) -> AsyncIterator[FingerService]:
    """Statuses for the tests on real servers."""
    users = {"moshez": "Happy and well", **{f"user{number}": "here" for number in range(60)}}
    users |= {f"long{number}": "1\n2\n3\n4\n5" for number in range(3)}
    async with FingerService.open(MemoryBackend(users), observer=watcher) as service:
        yield service


@pytest.fixture
async def start(nursery: trio.Nursery, watcher: Watcher, people: FingerService) -> AsyncIterator[Start]:
    """Starts our client on a real server; the events stop it, and are set when it has stopped."""

    async def start(
        port: int, *, nick: str = "fingerbot", host: str = "127.0.0.1", password: str = "", **settings: Any
    ) -> tuple[trio.Event, trio.Event]:
        settings.setdefault("flood_seconds", 0.05)
        login = Login(nick=nick, password=Secret(password) if password else None)
        server = ServerAddress(host=host, port=port, tls="tls" in settings)
        front = IRCFrontend(
            service=people,
            observer=watcher,
            networks=[NetworkSettings(name=nick, servers=(server,), login=login, **settings)],
            times=IRCTimes(first_pause=0.05, longest_pause=0.2, leave=30),
            jitter=lambda least, _most: least / 10,
            connect=dial,
        )
        stopping, stopped = trio.Event(), trio.Event()

        async def run() -> None:
            await front.serve(stopping)
            stopped.set()

        nursery.start_soon(run)
        return stopping, stopped

    yield start
    nursery.cancel_scope.cancel()
