"""Our client behind a real ZNC on a real ngircd: what a bouncer replays is not answered. Real time, loopback only."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.irc import IRCFrontend, IRCTimes, NetworkSettings, ServerAddress
from fingertrio.service import FingerService
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_secrets import Secret
from tests.frontends.irc.real import NGIRCD, Person, Running, Watcher, directory, free_ports, listens, program
from tests.frontends.irc.test_other_servers import check

pytestmark = pytest.mark.slow  # a real server, in real time

HAPPY = "Status of moshez: Happy and well"

_ZNC = """
Version = 1.8.2
<Listener listener0>
    AllowIRC = true
    AllowWeb = false
    Host = 127.0.0.1
    IPv4 = true
    IPv6 = false
    Port = {port}
    SSL = false
</Listener>
<User bot>
    Admin = true
    Nick = fingerbot
    AltNick = fingerbot_
    Ident = bot
    RealName = bot
    Buffer = 50
    AutoClearQueryBuffer = false
    LoadModule = chansaver
    <Network net>
        FloodBurst = 99
        FloodRate = 99.00
        IRCConnectEnabled = true
        Server = 127.0.0.1 {irc} right
    </Network>
    <Pass password>
        Method = sha256
        Hash = {digest}
        Salt = salt
    </Pass>
</User>
"""


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Of ngircd, whose password is "right", and of ZNC, which is connected to it."""
    ngircd, znc = program("ngircd", "ngircd"), program("znc", "znc")
    irc, bouncer = free_ports(2)
    with directory() as here:
        (here / "ngircd.conf").write_text(NGIRCD.format(port=irc, password="right"))
        configs = here / "znc" / "configs"
        configs.mkdir(parents=True)
        digest = hashlib.sha256(b"secretsalt").hexdigest()
        (configs / "znc.conf").write_text(_ZNC.format(port=bouncer, irc=irc, digest=digest))
        if os.geteuid() == 0:
            for path in (here, *here.rglob("*")):
                shutil.chown(path, "irc", "irc")
        server = Running(
            [ngircd, "-n", "-f", str(here / "ngircd.conf")],
            here / "ngircd.out",
            lambda: listens(irc),
            unprivileged=True,
        )
        try:
            between = Running(
                [znc, "--foreground", "--datadir", str(here / "znc")],
                here / "znc.out",
                lambda: listens(bouncer),
                unprivileged=True,
            )
            try:
                yield irc, bouncer
            finally:
                between.stop()
        finally:
            server.stop()


async def login(stream: trio.abc.Stream, nick: str) -> Person:
    person = Person(stream)
    await person.send("PASS right", f"NICK {nick}", f"USER {nick} 0 * :{nick}")
    await person.until(" 001 ")
    return person


async def test_a_bouncers_buffer_is_not_answered(ports: tuple[int, int], nursery: trio.Nursery, tmp_path: Path):
    irc, bouncer = ports
    watcher = Watcher()

    async def start(password: str, name: str) -> trio.Event:
        front = IRCFrontend(
            service=service,
            observer=watcher,
            networks=[
                NetworkSettings(
                    name=name,
                    servers=(ServerAddress(host="127.0.0.1", port=bouncer),),
                    login=Login(nick="fingerbot", password=Secret(password)),
                    flood_seconds=0.05,
                    set_by={"alice": "moshez"},
                )
            ],
            times=IRCTimes(first_pause=0.05, leave=0.3),
        )
        stopping = trio.Event()
        nursery.start_soon(front.serve, stopping)
        return stopping

    async with (
        FingerService.open(MemoryBackend({"moshez": "Happy and well"}), observer=watcher) as service,
        await trio.open_tcp_stream("127.0.0.1", irc) as stream,
    ):
        alice = await login(stream, "alice")
        with trio.fail_after(30):  # ZNC connects after a while
            while True:
                await alice.send("ISON fingerbot")
                if "fingerbot" in (await alice.until(" 303 ")).rpartition(" :")[2]:
                    break
                await trio.sleep(0.1)
        for text in ("moshez", "help", "set hacked", "set"):  # while the bot is away
            await alice.send(f"PRIVMSG fingerbot :{text}")
        await alice.send("PRIVMSG fingerbot :\x01VERSION\x01")  # which ZNC answers itself: then it has the others
        await alice.until("\x01VERSION ZNC")
        before = await service.get_user("moshez")
        stopping = await start("bot/net:secret", "znc")
        await watcher.wait("irc_registered")
        await alice.send("PRIVMSG fingerbot :moshez")
        assert await alice.text("PRIVMSG") == HAPPY
        answers = [line for line in alice.seen if "fingerbot!" in line and "\x01" not in line]
        assert answers == [alice.seen[-1]], "one answer to five messages"
        assert watcher.metrics.networks["znc"].dropped["replay"] >= 4
        assert await service.get_user("moshez") == before, "a replay sets nothing"
        stopping.set()
        status, output = await check(tmp_path, bouncer, "bot/net:secret")
        assert status == 0, output
        # A wrong password: 464, and no second attempt.
        await start("bot/net:wrong", "refused")
        stopped = await watcher.wait("irc_stopped", network="refused")
        assert "assword" in str(stopped["reason"])
        nursery.cancel_scope.cancel()
