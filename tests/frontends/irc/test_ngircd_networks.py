"""Our client on real ngircds that are linked, ask for a password, or use TLS. Real time, loopback only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import pytest
import trio
import trustme

from fingertrio.frontends.irc import (
    ChannelSettings,
    IRCFrontend,
    IRCTimes,
    NetworkSettings,
    ServerAddress,
    TLSSettings,
)
from fingertrio.frontends.irc.tls import fingerprint
from fingertrio.service import FingerService
from fingertrio.wire.irc_channel import ChannelPlan
from fingertrio.wire.irc_login import Login
from tests.frontends.irc.real import (
    HOST,
    NGIRCD,
    Person,
    Running,
    Start,
    Watcher,
    attempt_tls,
    der,
    directory,
    free_ports,
    listens,
    person,
    program,
    require_registered_by_tls,
)

pytestmark = pytest.mark.slow  # a real server, in real time

HAPPY = "Status of moshez: Happy and well"

# `Passive` servers are linked when an operator says CONNECT, and stay apart after DISCONNECT.
_LINK = """
[Operator]
Name = oper
Password = oper
[Server]
Name = {peer}
Host = 127.0.0.1
Port = {port}
MyPassword = link
PeerPassword = link
Passive = yes
"""
_TLS = """
[SSL]
CertFile = {file}
KeyFile = {file}
Ports = {port}
"""


@contextmanager
def ngircd(port: int, *, name: str = "irc.test.example", password: str = "", more: str = "") -> Iterator[Path]:
    """A server; its directory."""
    with directory() as here:
        text = NGIRCD.format(port=port, password=password).replace("irc.test.example", name)
        (here / "ngircd.conf").write_text(text + more)
        server = Running(
            [program("ngircd", "ngircd"), "-n", "-f", str(here / "ngircd.conf")],
            here / "out",
            lambda: listens(port),
            unprivileged=False,
        )
        try:
            yield here
        finally:
            server.stop()


async def test_a_netsplit_is_neither_a_kick_nor_an_end(start: Start, watcher: Watcher):
    """The bot's server loses the other one and finds it again: the bot stays, says nothing, and never joins twice."""
    first, second = free_ports(2)
    with (
        ngircd(first, name="a.test.example", more=_LINK.format(peer="b.test.example", port=second)),
        ngircd(second, name="b.test.example", more=_LINK.format(peer="a.test.example", port=first)),
    ):
        async with person(first, "alice") as alice, person(second, "bob") as bob:
            await alice.send("OPER oper oper", "JOIN #a")
            await alice.until(" 381 ")
            await bob.send("JOIN #a")
            await bob.until(" 366 ")
            await alice.send("CONNECT b.test.example")
            await alice.until("bob!", " JOIN ")
            await start(second, channels=(ChannelSettings(plan=ChannelPlan("#a")),), flood_seconds=0.5)
            await alice.until("fingerbot!", " JOIN ")
            # Fifteen lines for alice, of whom a few are sent before she is lost.
            await alice.send(*(f"PRIVMSG fingerbot :long{number}" for number in range(3)))
            await alice.until("fingerbot!", " PRIVMSG ")
            await alice.send("DISCONNECT b.test.example")
            await alice.until("fingerbot!", " QUIT ")
            await bob.until("alice!", " QUIT ")
            assert await bob.ask("#a", "fingerbot: moshez", bot="fingerbot") == f"bob: {HAPPY}"
            await alice.send("CONNECT b.test.example")
            await alice.until("fingerbot!", " JOIN ")
            await bob.until("alice!", " JOIN ")
            # What was not sent before is not sent now.
            before = len(alice.seen)
            assert await alice.ask("#a", "fingerbot: moshez", bot="fingerbot") == f"alice: {HAPPY}"
            assert sum("fingerbot!" in line for line in alice.seen[before:]) == 1
            assert sum("fingerbot!" in line and " JOIN " in line for line in bob.seen) == 1
    assert watcher.metrics.networks["fingerbot"].dropped["gone"] == 3


async def test_a_wrong_password_is_tried_three_times(start: Start, watcher: Watcher):
    [port] = free_ports(1)
    with ngircd(port, password="right"):
        await start(port, nick="wrongbot", password="wrong")
        stopped = await watcher.wait("irc_stopped")
        assert "assword" in f"{stopped['reason']} {stopped['do']}"
        assert "password" in str(stopped["do"])
        numbers = watcher.metrics.networks["wrongbot"]
        assert sum(numbers.connects.values()) == 3
        await start(port, nick="rightbot", password="right")
        assert (await watcher.wait("irc_registered"))["nick"] == "rightbot"


async def test_tls_is_verified(start: Start, watcher: Watcher, tmp_path: Path):
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    good = TLSSettings(ca=tmp_path / "ca.pem")
    plain, tls = free_ports(2)
    with directory() as keys:  # ngircd reads them as the user nobody
        ca.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(keys / "both.pem")
        pin = fingerprint(der(keys / "both.pem"))
        with ngircd(plain, more=_TLS.format(file=keys / "both.pem", port=tls)):
            await attempt_tls(start, watcher, tls, good, pin)
            await require_registered_by_tls(plain)


@pytest.fixture
def port() -> Iterator[int]:
    with ExitStack() as stack:
        [port] = free_ports(1)
        stack.enter_context(ngircd(port))
        yield port


async def test_five_hundred_questions_and_an_honest_asker(port: int, start: Start, watcher: Watcher):
    await start(port, flood_seconds=0.5)
    await watcher.wait("irc_registered")
    async with person(port, "flooder") as flooder, person(port, "honest") as honest:
        await flooder.send(*(f"PRIVMSG fingerbot :user{number % 60}" for number in range(500)))
        await flooder.until("fingerbot!")
        assert await honest.ask("fingerbot", "moshez") == HAPPY
        await flooder.settled()
        answered = sum("fingerbot!" in line for line in flooder.seen)
    assert answered <= 20, "the flooder is muted after twenty questions"
    assert watcher.metrics.networks["fingerbot"].dropped["loop"] > 400
    assert not any(event == "irc_lost" for event, _ in watcher.seen)


async def test_two_bots_of_this_kind_exchange_two_lines_at_most(port: int, start: Start, watcher: Watcher):
    """A person asks one bot, and the other bot gets the person's nick while most of the answers still wait."""
    stopping, stopped = await start(port, nick="onebot", flood_seconds=0.5)
    await watcher.wait("irc_registered")
    async with person(port, "twobot") as asker:
        await start(port, nick="twobot", flood_seconds=0.5)
        assert (await watcher.wait("irc_registered"))["nick"] == "twobot1"
        await asker.send(*(f"PRIVMSG onebot :long{number}" for number in range(3)))
        await asker.until("onebot!")
        await asker.send("NICK asker")
        assert (await watcher.wait("irc_nick_changed"))["nick"] == "twobot"
        stopping.set()  # it sends the answers that wait
        await stopped.wait()
        sent = watcher.metrics.networks["twobot"].sent
        assert sent["answer"] + sent["notice"] <= 2
        assert await asker.ask("twobot", "moshez") == HAPPY


async def slowest_answer(one: Person, numbers: range) -> float:
    """Seconds, of questions one after the other."""
    slowest = 0.0
    for number in numbers:
        began = trio.current_time()
        assert await one.ask("calmbot", f"user{number}") == f"Status of user{number}: here"
        slowest = max(slowest, trio.current_time() - began)
    return slowest


async def test_a_server_that_is_killed_delays_no_answer_of_another(watcher: Watcher, people: FingerService):
    """By a tenth of a second at most, while the bot tries again and again. The best of three: the machine is busy."""
    delays = []
    for _ in range(3):
        doomed, calm = free_ports(2)
        async with AsyncExitStack() as stack:
            stack.enter_context(ngircd(calm))
            with ngircd(doomed):
                networks = [
                    NetworkSettings(
                        name=nick,
                        servers=(ServerAddress(host="127.0.0.1", port=port),),
                        login=Login(nick=nick),
                        flood_seconds=0.01,
                    )
                    for nick, port in (("doomedbot", doomed), ("calmbot", calm))
                ]
                times = IRCTimes(first_pause=0.02, longest_pause=0.02)
                front = IRCFrontend(service=people, observer=watcher, networks=networks, times=times)
                nursery = await stack.enter_async_context(trio.open_nursery())
                nursery.start_soon(front.serve, trio.Event())
                for _ in networks:
                    await watcher.wait("irc_registered")
                one = await stack.enter_async_context(person(calm, "alice"))
                before = await slowest_answer(one, range(8))
            await watcher.wait("irc_lost", network="doomedbot")
            delays.append(await slowest_answer(one, range(8, 16)) - before)
            assert watcher.metrics.networks["doomedbot"].connects["unreachable"] > 0
            nursery.cancel_scope.cancel()
        if delays[-1] <= 0.1:
            return
    assert min(delays) <= 0.1
