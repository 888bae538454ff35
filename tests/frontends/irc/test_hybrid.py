"""Our client on a real ircd-hybrid, whose case mapping is ascii and which has no services. Real time, loopback only."""

from __future__ import annotations

import io
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from fingertrio.frontends.irc import ChannelSettings, TLSSettings
from fingertrio.frontends.irc.tls import fingerprint
from fingertrio.wire.irc_channel import ChannelPlan
from tests.frontends.irc.extracted import hybrid
from tests.frontends.irc.real import (
    HOST,
    Person,
    Start,
    Watcher,
    attempt_tls,
    der,
    free_ports,
    person,
    require_registered_by_tls,
)

pytestmark = pytest.mark.slow  # a real server, in real time

HAPPY = "Status of moshez: Happy and well"


class Hybrid:
    """Its ports, its CA and its certificate."""

    def __init__(self, plain: int, tls: int, ca: trustme.CA, here: Path) -> None:
        self.plain, self.tls, self.ca = plain, tls, ca
        self.der = der(here / "cert.pem")


@pytest.fixture(scope="module")
def server() -> Iterator[Hybrid]:
    ca = trustme.CA()
    plain, tls = free_ports(2)
    with hybrid(plain, tls, ca) as here:
        yield Hybrid(plain, tls, ca, here)


def channels(*names: str) -> dict[str, Any]:
    return {"channels": tuple(ChannelSettings(plan=ChannelPlan(name)) for name in names)}


async def test_tls_is_verified(server: Hybrid, start: Start, watcher: Watcher, tmp_path: Path):
    server.ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    await attempt_tls(start, watcher, server.tls, TLSSettings(ca=tmp_path / "ca.pem"), fingerprint(server.der))
    await require_registered_by_tls(server.plain)
    await start(server.tls, nick="plainbot")
    assert "is this a TLS port?" in str((await watcher.wait("irc_unreachable"))["reason"])


async def test_it_is_marked_as_a_bot(server: Hybrid, start: Start, watcher: Watcher):
    await start(server.plain, nick="markedbot", **channels("#marked"))
    await watcher.wait("irc_joined")  # the mark comes before the channels
    async with person(server.plain, "alice") as alice:
        await alice.send("WHOIS markedbot")
        await alice.until(" 335 ", "markedbot")


async def test_the_nick_comes_back_by_monitor(server: Hybrid, start: Start, watcher: Watcher):
    async with person(server.plain, "wanted") as squatter:
        await start(server.plain, nick="wanted")
        assert (await watcher.wait("irc_registered"))["nick"] == "wanted1"
        began = trio.current_time()
        await squatter.send("NICK away")
        assert (await watcher.wait("irc_nick_changed"))["nick"] == "wanted"
        assert trio.current_time() - began < 11, "not by the timer of 15 s, less a quarter"


async def test_braces_and_brackets_are_different_letters(server: Hybrid, start: Start, watcher: Watcher):
    """Only its own nick is the bot's; and of two people with similar nicks, one can leave without harm to the other."""
    await start(server.plain, nick="bot[x]", flood_seconds=0.2, **channels("#case"))
    await watcher.wait("irc_joined")
    async with person(server.plain, "ann[x]", user="a") as ann, person(server.plain, "ann{x}", user="b") as other:
        for one in (ann, other):
            await one.send("JOIN #case")
            await one.until(" 366 ")
        await ann.send("PRIVMSG #case :bot{x}: moshez")
        assert await ann.ask("#case", "bot[x]: moshez", bot="bot[x]") == f"ann[x]: {HAPPY}"
        assert sum("bot[x]!" in line for line in ann.seen) == 1
        await ann.send(*(f"PRIVMSG bot[x] :long{number}" for number in range(2)))
        await ann.until("bot[x]!", "PRIVMSG ann[x] ")
        await other.send("QUIT")
        await ann.until("ann{x}!", " QUIT ")
        while sum("PRIVMSG ann[x] " in line for line in ann.seen) < 10:
            await ann.until("bot[x]!")
    assert watcher.metrics.networks["bot[x]"].dropped["gone"] == 0


async def test_channels_for_tls_and_for_accounts_only(server: Hybrid, start: Start, watcher: Watcher):
    context = ssl.create_default_context()
    server.ca.configure_trust(context)
    stream = trio.SSLStream(
        await trio.open_tcp_stream("127.0.0.1", server.tls), context, server_hostname=HOST, https_compatible=True
    )
    async with stream:
        op = Person(stream)
        await op.send("NICK op", "USER op 0 * :op", "JOIN #secure", "MODE #secure +S", "JOIN #known", "MODE #known +R")
        await op.until(" MODE ", "#known")
        await start(server.plain, nick="chanbot", **channels("#secure", "#known", "#open"))
        await watcher.wait("irc_joined", channel="#open")
        assert (await watcher.wait("irc_not_in_channel", channel="#secure"))["again_in"] == 600
        assert (await watcher.wait("irc_not_in_channel", channel="#known"))["again_in"] is None


@pytest.fixture
def log() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def watcher(log: io.StringIO) -> Watcher:
    return Watcher(log)


async def test_without_account_tags_whox_says_who_is_logged_in(
    server: Hybrid, start: Start, watcher: Watcher, log: io.StringIO
):
    """Nobody is, without services: WHO answers 0 for the account."""
    await start(server.plain, nick="setbot", set_by={"alice": "moshez"})
    await watcher.wait("irc_registered")
    async with person(server.plain, "alice") as alice:
        assert await alice.ask("setbot", "set mine", "NOTICE") == "Log in to services first."
        assert await alice.ask("setbot", "moshez") == HAPPY
    assert '"line": "WHO alice %' in log.getvalue()
    assert re.search(r'"line": ":hybrid\.test 354 setbot \d+ \S+ 127\.0\.0\.1 alice 0"', log.getvalue())


async def test_a_hundred_questions_and_an_honest_asker(server: Hybrid, start: Start, watcher: Watcher):
    """The server itself reads a flooder slowly; the bot is never slowed down or disconnected."""
    await start(server.plain, nick="floodbot", flood_seconds=0.5)
    await watcher.wait("irc_registered")
    async with person(server.plain, "flooder") as flooder, person(server.plain, "honest") as honest:
        await flooder.send(*(f"PRIVMSG floodbot :user{number % 60}" for number in range(100)))
        await flooder.until("floodbot!")
        assert await honest.ask("floodbot", "moshez") == HAPPY
    assert not any(event == "irc_lost" for event, _ in watcher.seen)
