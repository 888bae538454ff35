"""Our client on miniircd, which knows neither capabilities nor limits of its own. Real time, loopback only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.irc import ChannelSettings, IRCFrontend, NetworkSettings, ServerAddress
from fingertrio.service import FingerService
from fingertrio.wire.irc_channel import ChannelPlan
from fingertrio.wire.irc_login import Login
from tests.frontends.irc.real import Person, Running, Watcher, free_ports, listens


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


async def test_answers_in_private_and_in_a_channel(port: int, nursery: trio.Nursery):
    watcher = Watcher()
    async with FingerService.open(MemoryBackend({"moshez": "Happy and well"}), observer=watcher) as service:
        front = IRCFrontend(
            service=service,
            observer=watcher,
            networks=[
                NetworkSettings(
                    name="mini",
                    servers=(ServerAddress(host="127.0.0.1", port=port),),
                    login=Login(nick="fingerbot"),
                    channels=(ChannelSettings(plan=ChannelPlan("#a")),),
                    flood_seconds=0.05,
                )
            ],
        )
        nursery.start_soon(front.serve, trio.Event())
        await watcher.wait("irc_joined")
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            alice = Person(stream)
            await alice.send("NICK alice", "USER alice 0 * :alice", "JOIN #a")
            await alice.until(" 366 ")
            assert await alice.ask("fingerbot", "moshez") == "Status of moshez: Happy and well"
            # The same question of the same person is not answered twice in 30 s: another one.
            await alice.send("PRIVMSG #a :fingerbot: nobody")
            assert await alice.text("NOTICE") == "Status of nobody: No such user"
        nursery.cancel_scope.cancel()
