"""Our client behind a real bip on a real ngircd: its backlog is not answered. Real time, loopback only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.frontends.irc.extracted import PASSWORD, bip, ngircd
from tests.frontends.irc.real import Start, Watcher, free_ports, person
from tests.frontends.irc.test_other_servers import check

pytestmark = pytest.mark.slow  # a real server, in real time

HAPPY = "Status of moshez: Happy and well"


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Of ngircd, and of bip, which is connected to it."""
    irc, bouncer = free_ports(2)
    with ngircd(irc), bip(bouncer, irc, "secret", server_password=PASSWORD):
        yield irc, bouncer


async def test_a_backlog_is_not_answered(ports: tuple[int, int], start: Start, watcher: Watcher, tmp_path: Path):
    """bip stamps the lines of its backlog, and has no server-time. irc-check goes through it, too."""
    irc, bouncer = ports
    async with person(irc, "alice", password=PASSWORD) as alice:
        with trio.fail_after(30):  # bip connects after a while
            while True:
                await alice.send("ISON fingerbot")
                if "fingerbot" in (await alice.until(" 303 ")).rpartition(" :")[2]:
                    break
                await trio.sleep(0.1)
        for text in ("moshez", "user1", "help"):  # while the bot is away
            await alice.send(f"PRIVMSG fingerbot :{text}")
        await alice.send("PRIVMSG fingerbot :\x01VERSION\x01")  # which bip answers itself: then it has the others
        await alice.until("\x01VERSION ")
        stopping, stopped = await start(bouncer, password="bot:secret:net")
        await watcher.wait("irc_registered")
        assert await alice.ask("fingerbot", "moshez") == HAPPY
        answers = [line for line in alice.seen if "fingerbot!" in line and "\x01" not in line]
        assert answers == [alice.seen[-1]], "one answer to four messages"
        assert watcher.metrics.networks["fingerbot"].dropped["replay"] == 3
        stopping.set()
        await stopped.wait()
    status, output = await check(tmp_path, bouncer, "bot:secret:net")
    assert status == 0, output
