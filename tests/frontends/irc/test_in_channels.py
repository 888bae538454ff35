"""Questions and announcements in channels."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fingertrio.accounts.writer import unproved
from fingertrio.backend import UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.irc import ChannelSettings, IRCFrontend
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing.fakes import FakeReader
from fingertrio.wire.irc_channel import ChannelPlan
from tests.frontends.irc.fakes import FakeNetwork, FakeServer, Log

A = ChannelSettings(plan=ChannelPlan("#a"))
HAPPY = "Status of moshez: Happy and well"


async def enter(network: FakeNetwork, *names: str) -> FakeServer:
    server = await network.accept()
    await server.welcome()
    assert await server.line() == f"JOIN {','.join(names)}"
    await server.say(*(f":fingerbot!f@h JOIN {name}" for name in names))
    await server.settled()
    await trio.sleep(30)
    return server


@pytest.fixture
def open_server(nursery: trio.Nursery, make: Callable[..., IRCFrontend], network: FakeNetwork):
    async def open_server(*channels: ChannelSettings, **settings: Any) -> FakeServer:
        await nursery.start(make(channels=channels or (A,), **settings).serve, trio.Event())
        return await enter(network, *(channel.plan.name for channel in channels or (A,)))

    return open_server


async def say(server: FakeServer, text: str, *, nick: str = "alice", to: str = "#a") -> None:
    await server.say(f":{nick}!~{nick}@{nick}.example PRIVMSG {to} :{text}")


async def silent(server: FakeServer) -> None:
    await server.idle(20)


async def test_a_question_by_name_is_answered_there(autojump_clock: MockClock, open_server):
    server = await open_server()
    await say(server, "fingerbot: moshez")
    assert await server.line() == f"PRIVMSG #a :alice: {HAPPY}"
    await say(server, "@FingerBot plan", nick="bob")
    assert await server.line() == "PRIVMSG #a :bob: Status of plan: one (more: /msg fingerbot plan)"


async def test_a_question_to_the_operators_is_answered_to_them(autojump_clock: MockClock, open_server):
    server = await open_server()
    await server.say(":irc.test 005 fingerbot STATUSMSG=@+ :are supported")
    await say(server, "fingerbot: moshez", to="@#a")
    assert await server.line() == f"PRIVMSG @#a :alice: {HAPPY}"


async def test_an_unknown_name_is_told_to_the_asker_alone(autojump_clock: MockClock, open_server):
    server = await open_server()
    await say(server, "fingerbot: nobody")
    assert await server.line() == "NOTICE alice :Status of nobody: No such user"
    await say(server, "fingerbot: what is this", nick="bob")
    assert (await server.line()).startswith("NOTICE bob :Send me a user name")


@pytest.mark.parametrize(
    "line",
    [
        ":alice!~a@h PRIVMSG #a :moshez",
        ":alice!~a@h PRIVMSG #a :ask fingerbot: moshez",
        ":alice!~a@h NOTICE #a :fingerbot: moshez",
        ":alice!~a@h PRIVMSG #a :\x01VERSION\x01",
        ":alice!~a@h PRIVMSG #a :\x01ACTION fingerbot: moshez\x01",
        "@bot :alice!~a@h PRIVMSG #a :fingerbot: moshez",
        ":fingerbot!~a@h PRIVMSG #a :fingerbot: moshez",
        f":other!~a@h PRIVMSG #a :fingerbot: {HAPPY}",
        ":alice!~a@h TAGMSG #a",
        ":alice!~a@h PRIVMSG #a :!finger moshez",
    ],
)
async def test_everything_else_in_a_channel_is_ignored(autojump_clock: MockClock, open_server, line: str):
    server = await open_server()
    await server.say(line)
    await silent(server)


async def test_a_channel_can_have_a_prefix_or_no_answers(autojump_clock: MockClock, open_server):
    server = await open_server(
        ChannelSettings(plan=ChannelPlan("#a"), prefix="!"), ChannelSettings(plan=ChannelPlan("#b"), answer=False)
    )
    await say(server, "!finger moshez")
    assert await server.line() == f"PRIVMSG #a :alice: {HAPPY}"
    await say(server, "fingerbot: moshez", to="#b")
    await silent(server)


async def test_a_long_status_is_one_message_in_a_channel(autojump_clock: MockClock, open_server, backend: FakeReader):
    backend.users["long"] = UserInfo("long", "grüße " * 200)
    server = await open_server()
    await say(server, "fingerbot: long")
    line = await server.line()
    assert line.endswith("(more: /msg fingerbot long)")
    assert len(f":fingerbot!~fingertrio@{'h' * 63} {line}\r\n".encode()) <= 512
    await silent(server)


async def test_botlist_once_in_thirty_seconds(autojump_clock: MockClock, open_server):
    server = await open_server(owner="alice (#a)")
    await say(server, "!botlist")
    expected = (
        "PRIVMSG #a :Maintainer: alice (#a). I know people's statuses. Commands: fingerbot: NAME; /msg fingerbot NAME"
    )
    assert await server.line() == "NOTICE" + expected.removeprefix("PRIVMSG")
    await say(server, "!rollcall", nick="bob")
    await silent(server)
    await trio.sleep(11)
    await say(server, "!rollcall", nick="bob")
    assert (await server.line()).startswith("NOTICE #a :Maintainer")


async def test_ignored_masks_get_no_answer(autojump_clock: MockClock, open_server, observer: Observer):
    server = await open_server(ignore=("*!*@spam.example",))
    await server.say(":eve!e@spam.example PRIVMSG fingerbot :moshez")
    await silent(server)
    assert observer.metrics.networks["test"].dropped["ignored"] == 1


async def test_two_bots_of_this_kind_exchange_two_lines_at_most(
    autojump_clock: MockClock, nursery: trio.Nursery, make: Callable[..., IRCFrontend], network: FakeNetwork
):
    """Each hears the other in a channel and in private, and each is named in what the other says."""
    servers = []
    for _ in range(2):
        await nursery.start(make(channels=(A,)).serve, trio.Event())
        servers.append(await enter(network, "#a"))
    count = 0
    lines = ["PRIVMSG #a :fingerbot: moshez"]
    for turn in range(12):
        server, said = servers[turn % 2], []
        for line in lines:
            await server.say(f":bot{turn % 2}!~b@b{turn % 2}.example {line.replace('alice', 'fingerbot')}")
        await server.say("PING :barrier")
        while (line := await server.line()) != "PONG barrier":
            said.append(line)
        with trio.move_on_after(20):
            said.append(await server.line())
        lines = [line.replace(f"bot{turn % 2}:", "fingerbot:") for line in said if "PONG" not in line]
        count += len(lines)
    assert count <= 2


# Announcements.


@pytest.fixture
async def memory(observer: Observer) -> AsyncIterator[FingerService]:
    users = {"ann": "here", **{f"user{number}": "x" for number in range(50)}}
    async with FingerService.open(MemoryBackend(users), observer=observer) as service:
        yield service


@pytest.fixture
async def announcing(
    nursery: trio.Nursery, memory: FingerService, observer: Observer, network: FakeNetwork, make, service
):
    front = make(channels=(ChannelSettings(plan=ChannelPlan("#a"), announce=("*",)),), quiet_names=False)
    front._follower._service = memory
    for one in front.networks.values():
        one._service = memory
    await nursery.start(front.serve, trio.Event())
    return await enter(network, "#a")


async def change(service: FingerService, user: str, status: str) -> None:
    await service.set_user(user, status, writer=unproved("test"))


async def test_a_change_is_announced_once_and_an_undone_one_is_not(
    autojump_clock: MockClock, announcing: FakeServer, memory: FingerService
):
    began = trio.current_time()
    await change(memory, "ann", "lnch")
    await change(memory, "ann", "\x02lunch\x02\nand more")
    assert await announcing.line() == "PRIVMSG #a :ann is now: lunch"
    assert trio.current_time() - began == 5
    await change(memory, "ann", "away")
    await trio.sleep(1)
    await change(memory, "ann", "lunch")
    await silent(announcing)


async def test_answers_come_before_announcements(
    autojump_clock: MockClock, announcing: FakeServer, memory: FingerService
):
    for number in range(50):
        await change(memory, f"user{number}", "y")
    await trio.sleep(5)
    for number in range(7):
        await announcing.ask("ann", nick=f"nick{number}")
    lines = [await announcing.line() for _ in range(8)]
    assert "#a" not in lines[1]
    assert sum("#a" in line for line in lines) == 1
    assert "50 changed: user0" in next(line for line in lines if "#a" in line)


@pytest.mark.parametrize(
    "line", [":op!u@h KICK #a fingerbot :out", ":irc.test 404 fingerbot #a :Cannot send to channel (+m)"]
)
async def test_a_channel_that_does_not_want_us_hears_nothing(
    autojump_clock: MockClock, announcing: FakeServer, memory: FingerService, line: str, observer: Observer
):
    await announcing.say(line)
    await announcing.settled()
    await change(memory, "ann", "away")
    await silent(announcing)
    assert observer.metrics.networks["test"].announcements == {"dropped": 1}


async def test_nothing_of_the_past_after_a_reconnect(
    autojump_clock: MockClock, announcing: FakeServer, memory: FingerService, network: FakeNetwork
):
    await change(memory, "ann", "away")
    await announcing.stream.aclose()
    await change(memory, "user1", "away")
    server = await enter(network, "#a")
    await silent(server)
    await change(memory, "user2", "away")
    assert await server.line() == "PRIVMSG #a :user2 is now: away"


async def test_a_kick_is_shown_to_the_operator(autojump_clock: MockClock, open_server, observer: Observer, log: Log):
    server = await open_server()
    assert observer.metrics.networks["test"].channels_in == 1
    await server.say(":op!u@h KICK #a fingerbot :no bots here")
    await server.settled()
    assert observer.metrics.conditions["irc_channel:test"].reason == "not in #a"
    assert log.records("irc_not_in_channel")[0]["reason"] == "kicked: no bots here"
    assert observer.metrics.networks["test"].channels_in == 0
