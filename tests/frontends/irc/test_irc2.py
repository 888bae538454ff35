"""Our client on a real irc2: no capabilities, no MONITOR, penalties for whoever sends. Real time, loopback only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio

from fingertrio.frontends.irc import ChannelSettings
from fingertrio.wire.irc_channel import ChannelPlan
from tests.frontends.irc.extracted import irc2, served
from tests.frontends.irc.real import Start, Watcher, person

pytestmark = pytest.mark.slow  # a real server, in real time

HAPPY = "Status of moshez: Happy and well"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(irc2) as port:
        yield port


async def test_the_nick_comes_back_by_the_timer(port: int, start: Start, watcher: Watcher):
    """The pauses are a tenth of the usual ones here: 1.5 s, 3 s, and so on."""
    async with person(port, "wanted") as squatter:
        await start(port, nick="wanted")
        assert (await watcher.wait("irc_registered"))["nick"] == "wanted1"
        await squatter.send("NICK away")
        assert (await watcher.wait("irc_nick_changed"))["nick"] == "wanted"


async def test_channels_of_every_kind(port: int, start: Start, watcher: Watcher):
    names = ("#talk", "&here", "+free")
    await start(port, nick="talkbot", channels=tuple(ChannelSettings(plan=ChannelPlan(name)) for name in names))
    async with person(port, "alice") as alice:
        for number, name in enumerate(names):
            await watcher.wait("irc_joined", channel=name)
            await alice.send(f"JOIN {name}")
            await alice.until(" 366 ", name)
            answer = await alice.ask(name, f"talkbot: user{number}", bot="talkbot")
            assert answer == f"alice: Status of user{number}: here"


async def test_five_hundred_questions_and_an_honest_asker(port: int, start: Start, watcher: Watcher):
    await start(port, nick="floodbot", flood_seconds=2.0)
    await watcher.wait("irc_registered")
    async with person(port, "flooder") as flooder, person(port, "honest") as honest:
        await flooder.send(*(f"PRIVMSG floodbot :user{number % 60}" for number in range(500)))
        began = trio.current_time()
        assert await honest.ask("floodbot", "moshez") == HAPPY
        assert trio.current_time() - began < 10 + 5, "ten seconds, and five for a busy machine"
    assert not any(event == "irc_lost" for event, _ in watcher.seen), "no Excess Flood"
