"""Several networks: isolation, conditions, stopping, reload; the end of each kind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from fingertrio.frontends.irc import ChannelSettings, IRCFrontend, NetworkSettings, ServerAddress
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.wire.irc_channel import ChannelPlan
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_secrets import Secret
from tests.frontends.irc.fakes import FakeNetwork, FakeServer, Log

BOT = Login(nick="fingerbot")


class World:
    """Several fake networks by host."""

    def __init__(self, *hosts: str) -> None:
        self.networks = {host: FakeNetwork() for host in hosts}
        for host, network in self.networks.items():
            network.address = host

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        return await self.networks[host].connect(host, port)

    async def enter(self, host: str, *, settle: bool = True) -> FakeServer:
        server = await self.networks[host].accept()
        await server.welcome()
        if settle:
            await server.settled()
        return server


def settings(name: str, *hosts: str, **options) -> NetworkSettings:
    servers = tuple(ServerAddress(host=host, port=6667) for host in hosts or (name,))
    return NetworkSettings(**{"name": name, "servers": servers, "login": BOT, **options})


@pytest.fixture
def world() -> World:
    return World("a.test", "b.test", "c.test")


@pytest.fixture
def start(nursery: trio.Nursery, world: World, service: FingerService, observer: Observer):
    async def start(*networks: NetworkSettings) -> IRCFrontend:
        front = IRCFrontend(
            service=service,
            observer=observer,
            networks=networks,
            connect=world.connect,
            jitter=lambda least, most: (least + most) / 2,
        )
        await nursery.start(front.serve, trio.Event())
        return front

    return start


async def answers(server: FakeServer, nick: str = "alice") -> None:
    await server.ask("moshez", nick=nick)
    assert await server.line() == f"PRIVMSG {nick} :Status of moshez: Happy and well"


async def test_one_network_that_stops_does_not_touch_another(
    autojump_clock: MockClock, start, world: World, observer: Observer, log: Log
):
    await start(settings("a.test"), settings("b.test"))
    first = await world.networks["a.test"].accept()
    assert await first.line() == "CAP LS 302"
    await first.say(":a.test 464 * :Password incorrect")
    second = await world.enter("b.test")
    await answers(second)
    await second.idle(3600)
    await answers(second, "bob")
    assert world.networks["a.test"].attempts == [0]
    assert observer.metrics.conditions["irc_stopped:a.test"].reason == "Password incorrect"
    assert observer.metrics.ready
    [record] = log.records("irc_stopped")
    assert (record["level"], record["network"], record["reason"]) == ("error", "a.test", "Password incorrect")
    assert "irc_connection:b.test" not in observer.metrics.conditions


async def test_a_bug_in_one_network_does_not_touch_another(
    autojump_clock: MockClock, start, world: World, observer: Observer, log: Log, monkeypatch
):
    front = await start(settings("a.test"), settings("b.test"))
    first, second = await world.enter("a.test"), await world.enter("b.test")

    def fail(*_args: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(front.networks["a.test"].session.questions, "hear", fail)
    await first.ask("moshez")
    await answers(second)
    first = await world.enter("a.test")
    await answers(first)
    assert len(log.records("irc_network_failed")) == 1


async def test_an_essential_network_makes_the_program_unready(
    autojump_clock: MockClock, start, world: World, observer: Observer
):
    await start(settings("a.test", essential=True))
    ready = [observer.metrics.ready]
    server = await world.enter("a.test")
    ready.append(observer.metrics.ready)
    await server.stream.aclose()
    await world.networks["a.test"].accept()
    ready.append(observer.metrics.ready)
    assert ready == [False, True, False]


async def test_the_servers_of_a_list_follow_each_other(autojump_clock: MockClock, start, world: World):
    for network in world.networks.values():
        network.failure = OSError("refused")
    await start(settings("n", "a.test", "b.test", "c.test"))
    await trio.sleep(10)
    times = [(host, time) for host, network in world.networks.items() for time in network.attempts]
    assert (
        sorted(times, key=lambda each: each[1])[:5]
        == [
            ("a.test", 0),
            ("b.test", 2),
            ("c.test", 4),
            ("a.test", 9),
        ][:5]
    )


async def refuse(server: FakeServer, *lines: str) -> None:
    assert await server.line() == "CAP LS 302"
    await server.say(*lines)


@pytest.mark.parametrize(
    ("lines", "attempts"),
    [
        ([":s.x 465 * :You are banned", "ERROR :Closing Link"], 1),
        ([":s.x 464 * :Invalid password"], 1),  # and no ERROR, no close
        (["ERROR :Closing link: (f@h) [K-Lined: no bots]"], 1),
        (["ERROR :Access denied: Bad password?"], 3),
        ([":s.x FAIL * ACCOUNT_REQUIRED :log in"], 1),
        (["ERROR :Trying to reconnect too fast"], 5),  # 0, 60, 180, 420, 900
        (["ERROR :too many connections"], 4),  # each 5 min
    ],
)
async def test_attempts_in_twenty_minutes(
    autojump_clock: MockClock, start, world: World, nursery: trio.Nursery, lines: list[str], attempts: int
):
    network = world.networks["a.test"]

    async def server() -> None:
        while True:
            one = await network._receive.receive()
            nursery.start_soon(refuse, one, *lines)

    nursery.start_soon(server)
    await start(settings("a.test"))
    await trio.sleep(1190)
    assert len(network.attempts) == attempts
    nursery.cancel_scope.cancel()


async def test_a_killed_bot_waits_ten_minutes_and_the_third_kill_in_a_day_stops(
    autojump_clock: MockClock, start, world: World, observer: Observer
):
    await start(settings("a.test"))
    for _ in range(3):
        server = await world.enter("a.test")
        await server.say(":oper!o@h KILL fingerbot :oper.test!oper (spamming)", "ERROR :Closing Link")
        await server.rest()
    await trio.sleep(80_000)
    assert world.networks["a.test"].attempts == [0, 600, 1200]
    assert "irc_stopped:a.test" in observer.metrics.conditions


async def test_after_excess_flood_the_next_session_sends_two_at_once(autojump_clock: MockClock, start, world: World):
    await start(settings("a.test"))
    server = await world.enter("a.test")
    await server.say("ERROR :Closing link: [Excess Flood]")
    server = await world.enter("a.test")
    await server.idle(30)
    began, times = trio.current_time(), []
    for number in range(4):
        await server.ask("moshez", nick=f"nick{number}")
    for _ in range(4):
        await server.line()
        times.append(trio.current_time() - began)
    assert times[:2] == [times[0], times[0]] or times[0] <= 2
    assert times[3] - times[0] >= 4


async def test_a_lost_nick_is_a_condition_and_comes_back(
    autojump_clock: MockClock, start, world: World, observer: Observer, log: Log
):
    await start(settings("a.test"))
    server = await world.enter("a.test")
    assert observer.metrics.networks["a.test"].nick_wished
    await server.say(":fingerbot!f@h NICK Guest1")
    await server.settled()
    assert "irc_nick:a.test" in observer.metrics.conditions
    began = trio.current_time()
    for _ in range(4):  # whoever talks meanwhile
        await trio.sleep(3)
        await server.ask("help", me="Guest1", nick=f"n{trio.current_time():.0f}")
        await server.line()
    assert await server.line() == "NICK fingerbot"
    assert trio.current_time() - began == 15
    await server.say(":Guest1!f@h NICK fingerbot")
    await server.settled()
    assert "irc_nick:a.test" not in observer.metrics.conditions
    assert [record["event"] for record in log.records("irc_degraded", "irc_recovered")] == [
        "irc_degraded",
        "irc_recovered",
    ]


# Reload.


async def test_a_reload_changes_what_a_session_can_change(autojump_clock: MockClock, start, world: World):
    one = settings("a.test", channels=(ChannelSettings(plan=ChannelPlan("#a")),))
    front = await start(one)
    server = await world.enter("a.test", settle=False)
    assert await server.line() == "JOIN #a"
    await server.say(":fingerbot!f@h JOIN #a")
    await server.idle(20)
    changed = replace(
        one,
        login=Login(nick="status"),
        channels=(ChannelSettings(plan=ChannelPlan("#b")),),
        ignore=("*!*@alice.example",),
        reply="NOTICE",
    )
    front.prepare([changed])()
    lines = [await server.line() for _ in range(3)]
    assert sorted(lines) == ["JOIN #b", "NICK status", "PART #a"]
    await server.say(":fingerbot!f@h NICK status")
    await server.ask("moshez", me="status")
    await server.ask("moshez", me="status", nick="bob")
    assert await server.line() == "NOTICE bob :Status of moshez: Happy and well"
    assert world.networks["a.test"].attempts == [0]


async def test_a_reload_adds_removes_and_reconnects_networks(
    autojump_clock: MockClock, start, world: World, observer: Observer
):
    front = await start(settings("a.test"), settings("b.test"))
    first, second = await world.enter("a.test"), await world.enter("b.test")
    front.prepare([settings("b.test", login=Login(nick="fingerbot", username="other")), settings("c.test")])()
    assert await first.line() == "QUIT reconfigured"
    assert await second.line() == "QUIT reconfigured"
    await first.stream.aclose()
    await second.stream.aclose()
    again = await world.networks["b.test"].accept()
    assert await again.line() == "CAP LS 302"
    await again.say("421 * CAP :?")
    assert (await again.lines(2))[1].startswith("USER other")
    third = await world.enter("c.test")
    await answers(third)
    assert set(front.networks) == {"b.test", "c.test"}
    assert set(observer.metrics.networks) == {"b.test", "c.test"}
    assert not any("a.test" in name for name in observer.metrics.conditions)


async def test_a_reload_starts_a_stopped_network_again(
    autojump_clock: MockClock, start, world: World, observer: Observer
):
    one = settings("a.test", login=Login(nick="fingerbot", password=Secret("wrong")))
    front = await start(one)
    await refuse(await world.networks["a.test"].accept(), ":s.x 464 * :Password incorrect")
    await trio.sleep(1000)
    front.prepare([replace(one, login=Login(nick="fingerbot", password=Secret("right")))])()
    server = await world.networks["a.test"].accept()
    assert await server.line() == "CAP LS 302"
    await server.say("421 * CAP :?")
    assert await server.line() == "PASS right"


async def test_a_reload_ends_an_attempt_to_connect_and_a_session_that_the_server_does_not_close(
    autojump_clock: MockClock, start, world: World
):
    world.networks["a.test"].hang = True
    front = await start(settings("one", "a.test"))
    await trio.sleep(1)
    front.prepare([settings("one", "b.test")])()
    server = await world.enter("b.test")
    assert trio.current_time() < 2
    front.prepare([settings("one", "c.test")])()
    assert await server.line() == "QUIT reconfigured"
    await answers(await world.enter("c.test"))  # although b.test never closes
    assert trio.current_time() < 5


async def test_a_refused_reload_changes_nothing(autojump_clock: MockClock, start, world: World, tmp_path):
    front = await start(settings("a.test"))
    server = await world.enter("a.test")
    bad = settings("a.test")
    bad = replace(bad, tls=replace(bad.tls, ca=tmp_path / "missing.pem"))
    with pytest.raises(ValueError, match="tls_ca"):
        front.prepare([bad])
    await answers(server)


# Secrets.


async def test_no_secret_is_in_the_log_at_any_level(
    autojump_clock: MockClock, nursery: trio.Nursery, world: World, service: FingerService, log: Log
):
    observer = Observer(log.stream, human=False, level="debug")
    secret = "s3cr3t-Wort"
    login = Login(
        nick="fingerbot",
        password=Secret(secret),
        account="acc",
        account_password=Secret(secret),
        sasl=("plain",),
        services="NickServ",
    )
    channels = (ChannelSettings(plan=ChannelPlan("#a", Secret(secret))),)
    one = settings("a.test", login=login, channels=channels, insecure=True)
    front = IRCFrontend(service=service, observer=observer, networks=[one], connect=world.connect)
    await nursery.start(front.serve, trio.Event())
    server = await world.networks["a.test"].accept()
    await server.line()
    await server.say(":s.x CAP * LS :sasl=PLAIN")
    await server.lines(4)
    await server.say(":s.x CAP * ACK :sasl")
    await server.line()
    await server.say("AUTHENTICATE +")
    assert (await server.line()).startswith("AUTHENTICATE ")
    await server.say(":s.x 904 * :no", ":s.x 001 fingerbot :hi", ":s.x 376 fingerbot :end")
    lines = await server.lines(3)
    assert lines[-1] == f"JOIN #a {secret}", "what SASL has refused is not sent by message"
    text = log.stream.getvalue()
    assert len(log.records("irc_line")) > 10
    assert secret not in text
    assert "YWNj" not in text, "nor in base64"
    assert secret not in repr(one)


async def test_an_account_that_is_lost_is_a_condition_until_services_are_back(
    autojump_clock: MockClock, start, world: World, observer: Observer, log: Log
):
    login = Login(nick="fingerbot", account="acc", account_password=Secret("pw"), sasl=("plain",))
    await start(settings("a.test", login=login, insecure=True))
    server = await world.networks["a.test"].accept()
    await server.welcome_with("batch")
    await server.settled()
    condition = "irc_account:a.test"
    numbers = observer.metrics.networks["a.test"]
    logged_in = [numbers.logged_in]
    assert "offers no way" in observer.metrics.conditions[condition].reason
    await server.say(":s.x CAP fingerbot NEW :sasl=PLAIN")
    assert await server.line() == "CAP REQ sasl"
    await server.say(":s.x CAP fingerbot ACK :sasl")
    assert await server.line() == "AUTHENTICATE PLAIN"
    await server.say("AUTHENTICATE +")
    await server.line()
    await server.say(":s.x 900 fingerbot x!y@z acc :in", ":s.x 903 fingerbot :ok")
    await server.settled()
    logged_in.append(numbers.logged_in)
    assert logged_in == [False, True]
    await server.say(":s.x 901 fingerbot x!y@z :out")
    await server.settled()
    assert observer.metrics.conditions[condition].reason == "logged out by the network's services"
    await server.say(":s.x 900 fingerbot x!y@z acc :in")
    await server.settled()
    assert condition not in observer.metrics.conditions
    events = [record["event"] for record in log.records("irc_degraded", "irc_recovered")]
    assert events == ["irc_degraded", "irc_recovered"] * 2
