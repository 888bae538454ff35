"""One connection, from the server's side."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from fingertrio.backend import BackendError, UserInfo
from fingertrio.observe.observer import Observer
from fingertrio.testing.fakes import FakeReader
from fingertrio.wire.irc_login import Login
from tests.frontends.irc.fakes import FakeNetwork, FakeServer, Log, Slow, Stuck


async def test_answers_a_private_message(autojump_clock: MockClock, server: FakeServer) -> None:
    await server.ask("moshez")
    assert await server.line() == "PRIVMSG alice :Status of moshez: Happy and well"


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("  moshez \t", "Status of moshez: Happy and well"),
        ("\x02moshez\x02", "Status of moshez: Happy and well"),
        ("\x0304moshez", "Status of moshez: Happy and well"),
        ("\x0304,12mos\x03\x1dhez\x0f", "Status of moshez: Happy and well"),
        ("\x04ff0000moshez\x11", "Status of moshez: Happy and well"),
        ("colors", "Status of colors: red and green"),
        ("\x02mo\x1b[31mshez\u202e", "Status of moshez: Happy and well"),
    ],
)
async def test_the_name_is_the_text_without_formatting_and_controls(
    autojump_clock: MockClock, server: FakeServer, asked: str, answer: str
) -> None:
    await server.ask(asked)
    assert await server.line() == f"PRIVMSG alice :{answer}"


async def test_everything_but_a_status_is_a_notice(autojump_clock: MockClock, server: FakeServer) -> None:
    await server.ask("nobody")
    assert await server.line() == "NOTICE alice :Status of nobody: No such user"


async def test_lines_become_messages_without_blank_ones(autojump_clock: MockClock, server: FakeServer) -> None:
    await server.ask("plan")
    assert await server.lines(3) == [
        "PRIVMSG alice :Status of plan: one",
        "PRIVMSG alice two",
        "PRIVMSG alice three",
    ]


async def test_five_messages_at_most_and_the_last_says_so(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader
) -> None:
    backend.users["five"] = UserInfo("five", "1\n2\n3\n4\n5")
    backend.users["six"] = UserInfo("six", "1\n2\n3\n4\n5\n6")
    await server.ask("five")
    assert (await server.lines(5))[-1] == "PRIVMSG alice 5"
    await server.ask("six")
    assert (await server.lines(5))[-1] == "PRIVMSG alice :5 (more was cut)"
    await server.settled()


async def test_no_status_becomes_a_command(autojump_clock: MockClock, server: FakeServer, backend: FakeReader) -> None:
    backend.users["evil"] = UserInfo("evil", "x\r\nQUIT :bye\rJOIN #a\0\x01DCC SEND\x01\u2028NICK z")
    await server.ask("evil")
    assert await server.lines(4) == [
        "PRIVMSG alice :Status of evil: x",
        "PRIVMSG alice :QUIT :bye",
        "PRIVMSG alice :JOIN #aDCC SEND",
        "PRIVMSG alice :NICK z",
    ]


async def test_a_long_status_arrives_whole(autojump_clock: MockClock, server: FakeServer, backend: FakeReader) -> None:
    status = " ".join(["grüße"] * 150)
    backend.users["long"] = UserInfo("long", status)
    await server.ask("long")
    lines = await server.lines(3)
    assert all(len(f":fingerbot!~fingertrio@{'h' * 63} {line}\r\n".encode()) <= 512 for line in lines)
    texts = [line.removeprefix("PRIVMSG alice ").removeprefix(":") for line in lines]
    assert "".join(texts) == f"Status of long: {status}"


async def test_a_failing_backend_shows_its_public_message(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader
) -> None:
    backend.failure = BackendError("Try again later")
    await server.ask("moshez")
    assert await server.line() == "NOTICE alice :Status of moshez: Try again later"
    backend.failure = RuntimeError("private")
    await server.ask("moshez")
    assert await server.line() == "NOTICE alice :Status of moshez: Internal error in server"


async def test_a_slow_question_does_not_delay_others(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader
) -> None:
    await server.ask("moshez")
    await server.line()
    backend.hold()
    await server.ask("plan")
    await server.ask("moshez", nick="bob")  # the service caches this answer for another second
    assert await server.line() == "PRIVMSG bob :Status of moshez: Happy and well"
    backend.release()
    assert await server.line() == "PRIVMSG alice :Status of plan: one"


@pytest.mark.parametrize(
    "line",
    [
        ":alice!~a@h PRIVMSG #fingerbot :moshez",
        ":alice!~a@h NOTICE fingerbot :moshez",
        ":alice!~a@h NOTICE fingerbot :\x01VERSION\x01",
        ":fingerbot!~a@h PRIVMSG fingerbot :moshez",
        ":irc.test PRIVMSG fingerbot :moshez",
        ":alice!~a@h PRIVMSG fingerbot :   ",
        ":alice!~a@h PRIVMSG fingerbot :Status of moshez: Happy and well",
        ":alice!~a@h PRIVMSG fingerbot :\x01ACTION waves\x01",
        "PRIVMSG fingerbot :moshez",
        ":alice!~a@h JOIN #chan",
        ":",
    ],
)
async def test_other_messages_are_not_answered(autojump_clock: MockClock, server: FakeServer, line: str) -> None:
    await server.say(line)
    await server.settled()
    await trio.sleep(20)
    await server.settled()


async def test_ctcp_is_answered_by_notice_and_not_often(
    autojump_clock: MockClock, server: FakeServer, observer: Observer
) -> None:
    for number in range(6):
        await server.ask(f"\x01PING {number}\x01", nick=f"nick{number}")
    assert await server.lines(3) == [f"NOTICE nick{number} :\x01PING {number}\x01" for number in range(3)]
    await trio.sleep(10)
    await server.ask("\x01VERSION\x01")
    assert await server.line() == "NOTICE alice :\x01VERSION fingertrio\x01"
    assert observer.metrics.refusals["irc", "ctcp"] == 3


async def test_five_answers_at_once_then_one_every_two_seconds(autojump_clock: MockClock, server: FakeServer) -> None:
    start = trio.current_time()
    for number in range(8):
        await server.ask("moshez", nick=f"nick{number}")
    arrived = []
    for _ in range(8):
        assert (await server.line()).endswith(" :Status of moshez: Happy and well")
        arrived.append(trio.current_time() - start)
    assert arrived == [0, 0, 0, 0, 0, 2, 4, 6]


async def test_pong_is_sent_before_waiting_replies(autojump_clock: MockClock, server: FakeServer) -> None:
    start = trio.current_time()
    for number in range(8):
        await server.ask("moshez", nick=f"nick{number}")
    await server.lines(5)
    await server.settled()
    assert trio.current_time() == start


async def test_pongs_count_as_lines(autojump_clock: MockClock, server: FakeServer) -> None:
    """The server counts them too: eight cost sixteen seconds, and it allows ten in advance."""
    start = trio.current_time()
    for _ in range(8):
        await server.settled()
    await server.ask("moshez")
    await server.line()
    assert trio.current_time() - start == 8


async def test_lines_from_two_tasks_never_mix(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event
) -> None:
    """Replies and PONGs come from different tasks; the slow stream fails if both send at the same time."""
    await (await network.accept()).stream.aclose()
    network.wrap = Slow
    server = await network.accept()
    await server.welcome()
    for number in range(6):
        await server.ask("moshez", nick=f"nick{number}")
        await server.say(f"PING {number}")
    lines = await server.lines(12)
    assert [line for line in lines if line.startswith("PONG")] == [f"PONG {number}" for number in range(6)]
    assert sum(line.endswith(" :Status of moshez: Happy and well") for line in lines) == 6


async def test_a_flooding_asker_is_limited_and_others_are_answered(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader, observer: Observer
) -> None:
    for number in range(20):
        backend.users[f"plan{number}"] = backend.users["plan"]
    backend.hold()
    for number in range(20):
        await server.ask(f"plan{number}")
    await server.ask("moshez", nick="bob")
    assert (await server.line()).startswith("NOTICE alice :I am busy")
    await server.settled()
    assert observer.metrics.refusals["irc", "flood"] == 17
    backend.release()
    lines = await server.lines(10)  # three answers of three lines to alice, one to bob, whose turn is second
    assert "PRIVMSG bob :Status of moshez: Happy and well" in lines[:3]


async def test_a_nick_change_does_not_reset_the_limits(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader, observer: Observer
) -> None:
    backend.hold()
    for number in range(5):
        await server.say(f":nick{number}!~al@host.example PRIVMSG fingerbot user{number}")
    assert await server.line() == "NOTICE nick3 :I am busy, please try again in a minute"
    await server.settled()
    assert observer.metrics.refusals["irc", "flood"] == 2
    backend.release()


async def test_every_question_is_logged_with_its_outcome(
    autojump_clock: MockClock, server: FakeServer, log: Log, backend: FakeReader
) -> None:
    await server.ask("moshez")
    await server.ask("no\x1b one", nick='a\\"')
    await server.lines(2)
    backend.failure = BackendError("gone")
    await server.ask("plan")
    await server.line()
    await server.settled()
    first, second, third = log.records("query")
    size = len("PRIVMSG alice :Status of moshez: Happy and well\r\n")
    assert first | {"timestamp": ""} == {
        "event": "query",
        "door": "irc",
        "peer": "alice!~alice@alice.example",
        "asked": "moshez",
        "outcome": "ok",
        "ms": 0.0,
        "bytes": size,
        "level": "info",
        "timestamp": "",
    }
    assert (second["asked"], second["outcome"]) == ("no\\x1b one", "unknown")
    assert second["peer"] == 'a\\"!~a\\"@a\\".example'
    assert third["outcome"] == "error"


async def test_a_question_without_an_answer_is_logged_too(
    autojump_clock: MockClock, server: FakeServer, log: Log, backend: FakeReader, network: FakeNetwork
) -> None:
    backend.hold()
    await server.ask("moshez")
    await server.settled()
    await server.stream.aclose()
    await network.accept()
    [record] = log.records("query")
    assert (record["asked"], record["outcome"], record["bytes"]) == ("moshez", "error", 0)


async def test_follows_its_nick(autojump_clock: MockClock, server: FakeServer) -> None:
    await server.say(":fingerbot!~f@h NICK Guest77")
    await server.ask("moshez")
    await server.ask("moshez", me="guest77")
    assert await server.line() == "PRIVMSG alice :Status of moshez: Happy and well"
    await server.settled()


async def test_pings_a_silent_server(autojump_clock: MockClock, server: FakeServer, network: FakeNetwork) -> None:
    start = trio.current_time()
    server.shows_pings = True
    await server.say(":x.y NOTICE fingerbot :the last word")
    assert await server.line() == "PING fingertrio"
    assert trio.current_time() - start == 30, "a minute after the registration"
    await trio.sleep(29)
    await server.say(":irc.test PONG irc.test :fingertrio")
    assert await server.line() == "PING fingertrio"
    assert trio.current_time() - start == 30 + 60
    assert await server.rest() == []
    assert trio.current_time() - start == 30 + 60 + 30
    assert len(network.attempts) == 1


async def test_an_active_server_is_pinged_for_its_lag_once_a_minute(
    autojump_clock: MockClock, server: FakeServer, observer: Observer
) -> None:
    pings = 0
    server.shows_pings = True
    for _ in range(30):
        await server.say("PING :barrier")
        while (line := await server.line()) != "PONG barrier":
            assert line == "PING fingertrio"
            await trio.sleep(3)
            await server.say(":irc.test PONG irc.test :fingertrio")
            pings += 1
        await trio.sleep(20)
    assert pings == 10
    assert observer.metrics.networks["test"].lag >= 3


async def test_asks_for_its_nick_again(autojump_clock: MockClock, serving: trio.Event, network: FakeNetwork) -> None:
    server = await network.accept()
    await server.introduced()
    await server.say(":irc.test 433 * fingerbot :Nickname is already in use")
    assert await server.line() == "NICK fingerbo1"
    await server.say(":irc.test 001 fingerbo1 :Welcome")
    assert await server.lines(2) == ["USERHOST fingerbo1", "NICK fingerbot"]
    await server.say(":fingerbo1!~f@h NICK :fingerbot")
    await server.ask("moshez")
    assert (await server.line()).startswith("PRIVMSG alice ")


async def test_answers_ping_during_registration(
    autojump_clock: MockClock, serving: trio.Event, network: FakeNetwork
) -> None:
    server = await network.accept()
    await server.introduced()
    await server.say("NOTICE * :*** Checking ident", "PING :84C1D2")
    assert await server.line() == "PONG 84C1D2"
    await server.say(":irc.test 001 fingerbot :Welcome")
    assert await server.line() == "USERHOST fingerbot"
    await server.ask("moshez")
    assert (await server.line()).startswith("PRIVMSG alice ")


async def test_a_server_that_does_not_read_is_disconnected(
    autojump_clock: MockClock, serving: trio.Event, network: FakeNetwork, log: Log
) -> None:
    """Meanwhile the client does not read, so its memory use does not grow."""
    first = await network.accept()
    await first.welcome()
    network.wrap = Stuck
    await first.stream.aclose()
    second = await network.accept()
    start = trio.current_time()
    with trio.fail_after(100):
        assert await second.stream.receive_some() == b""
    assert trio.current_time() - start == 30
    await network.accept()
    assert log.records("irc_still_unreachable")[-1]["reason"] == "send timed out"


def test_rejects_arguments_that_cannot_be_sent() -> None:
    """An invalid configuration fails at once, not at every connection."""
    with pytest.raises(ValueError):
        Login(nick="finger bot")


async def test_a_server_that_floods_cannot_block_other_tasks(
    autojump_clock: MockClock, server: FakeServer, log: Log, nursery: trio.Nursery
) -> None:
    """2,000 NICK lines in one piece are handled in turns of at most 2 KiB."""
    lines, nick = [], "fingerbot"
    for number in range(2000):
        lines.append(f":{nick}!f@h NICK n{number}")
        nick = f"n{number}"
    turns = 0

    scope = trio.CancelScope()

    async def other() -> None:
        nonlocal turns
        with scope:
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

    await server.say(*lines)
    nursery.start_soon(other)
    await server.settled()
    scope.cancel()
    assert turns >= len("".join(lines)) / 2048


async def test_a_server_cannot_flood_the_log(
    autojump_clock: MockClock, server: FakeServer, log: Log, observer: Observer
) -> None:
    for number in range(0, 1000, 2):
        await server.say(f":fingerbot!f@h NICK n{number}", f":n{number}!f@h NICK fingerbot")
        await server.say(":irc.test 001 other :Welcome again", ":irc.test 001 fingerbot :Welcome again")
    await server.settled()
    assert len(log.records("irc_nick_changed", "irc_registered")) == 1 + 5
    assert observer.metrics.refusals["irc", "log"] == 1995
    await trio.sleep(10)
    await server.say(":fingerbot!f@h NICK last")
    await server.settled()
    assert log.records("irc_nick_changed")[-1]["suppressed"] == 1995
