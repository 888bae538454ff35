"""Our client on miniircd, which knows neither capabilities nor limits of its own. Real time, loopback only."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.irc import ChannelSettings, IRCFrontend, NetworkSettings, ServerAddress
from fingertrio.service import FingerService
from fingertrio.wire.irc_channel import ChannelPlan
from fingertrio.wire.irc_login import Login
from tests.frontends.irc.real import Person, Running, Watcher, free_ports, listens

pytestmark = pytest.mark.slow  # a real server, in real time


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    [port] = free_ports(1)
    program = Path(sys.executable).with_name("miniircd")
    if not program.exists():
        pytest.skip("needs miniircd (PyPI)")
    options = ["--setuid", "nobody"] if os.geteuid() == 0 else []
    server = Running(
        [str(program), "--ports", str(port), "--listen", "127.0.0.1", *options],
        tmp_path / "out",
        lambda: listens(port),
        unprivileged=False,
    )
    try:
        yield port
    finally:
        server.stop()


Start = Callable[[float], Awaitable[None]]


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
async def start(port: int, nursery: trio.Nursery, watcher: Watcher) -> AsyncIterator[Start]:
    """Starts our client with this many seconds between two lines; returns when it is in #a."""
    users = {"moshez": "Happy and well", **{f"user{number}": "here" for number in range(60)}}
    async with FingerService.open(MemoryBackend(users), observer=watcher) as service:

        async def start(flood_seconds: float) -> None:
            settings = NetworkSettings(
                name="mini",
                servers=(ServerAddress(host="127.0.0.1", port=port),),
                login=Login(nick="fingerbot"),
                channels=(ChannelSettings(plan=ChannelPlan("#a")),),
                flood_seconds=flood_seconds,
            )
            front = IRCFrontend(service=service, observer=watcher, networks=[settings])
            nursery.start_soon(front.serve, trio.Event())
            await watcher.wait("irc_joined")

        yield start
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def visitor(port: int, nick: str) -> AsyncIterator[Person]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        one = Person(stream)
        await one.send(f"NICK {nick}", f"USER {nick} 0 * :{nick}", "JOIN #a")
        await one.until(" 366 ")
        yield one


async def test_answers_in_private_and_in_a_channel(port: int, start: Start):
    await start(0.05)
    async with visitor(port, "alice") as alice:
        assert await alice.ask("fingerbot", "moshez") == "Status of moshez: Happy and well"
        # The same question of the same person is not answered twice in 30 s: another one.
        await alice.send("PRIVMSG #a :fingerbot: nobody")
        assert await alice.text("NOTICE") == "Status of nobody: No such user"


async def test_five_hundred_questions_and_an_honest_asker(port: int, start: Start, watcher: Watcher):
    await start(0.5)
    async with visitor(port, "flooder") as flooder, visitor(port, "honest") as honest:
        await flooder.send(*(f"PRIVMSG fingerbot :user{number % 60}" for number in range(500)))
        await flooder.until("fingerbot!", "PRIVMSG flooder")
        assert await honest.ask("fingerbot", "moshez") == "Status of moshez: Happy and well"
    assert not any(event == "irc_lost" for event, _ in watcher.seen)
