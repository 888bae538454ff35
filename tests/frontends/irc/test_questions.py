"""Which messages are answered, to whom, and when the bot stops."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
from trio.testing import MockClock

from fingertrio.backend import UserInfo
from fingertrio.observe.observer import Observer
from fingertrio.testing.fakes import FakeReader
from tests.frontends.irc.fakes import FakeServer, Log

HAPPY = "Status of moshez: Happy and well"
USAGE = "NOTICE alice :Send me a user name, and I answer with that user's status: /msg fingerbot NAME"


async def is_silent(server: FakeServer) -> None:
    """The client sends nothing more, not even later."""
    await server.settled()
    await trio.sleep(20)
    await server.settled()


# Questions of many people.


async def test_many_askers_are_answered_in_order_up_to_the_limit(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader, observer: Observer
) -> None:
    """41 questions in one segment, each for another user: 32 are answered, in order, the others get a refusal."""
    for number in range(41):
        backend.users[f"user{number}"] = UserInfo(f"user{number}", "here")
    backend.hold()
    await server.say(*(f":nick{n}!~u@host{n}.example PRIVMSG fingerbot user{n}" for n in range(41)))
    first = await server.lines(5)  # the tokens of the flood rule
    assert first == [f"NOTICE nick{n} :I am busy, please try again in a minute" for n in range(32, 37)]
    await server.settled()
    assert backend.calls["get_user"] == 16, "calls at the same time"
    backend.release()
    assert await server.lines(25) == [f"PRIVMSG nick{n} :Status of user{n}: here" for n in range(25)]
    assert observer.metrics.refusals["irc", "busy"] == 9


async def test_a_batch_is_answered_in_its_order(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader
) -> None:
    for number in range(20):
        backend.users[f"user{number}"] = UserInfo(f"user{number}", "here")
    await server.say(*(f":nick{n}!~u@host{n}.example PRIVMSG fingerbot user{n}" for n in range(20)))
    assert await server.lines(20) == [f"PRIVMSG nick{n} :Status of user{n}: here" for n in range(20)]


async def test_an_honest_asker_is_not_kept_out_by_people_with_several_questions(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader, observer: Observer
) -> None:
    """Twenty people ask three questions each: all places are taken, another person is answered after their first."""
    for number in range(60):
        backend.users[f"user{number}"] = UserInfo(f"user{number}", "here")
    for number in range(60):
        await server.say(f":nick{number % 20}!~u@host{number % 20}.example PRIVMSG fingerbot user{number}")
    await server.lines(5)  # the tokens of the flood rule; 32 questions wait
    await server.ask("moshez", nick="honest")
    soon = await server.lines(20)
    assert f"PRIVMSG honest :{HAPPY}" in soon
    assert observer.metrics.refusals["irc", "busy"] == 60 - 5 - 32 + 1


async def test_the_limit_of_log_lines_keeps_no_honest_asker_out(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader, log: Log
) -> None:
    """Questions that were taken back have used up the log lines. New askers get the places and the lines of others."""
    for number in range(60):
        backend.users[f"user{number}"] = UserInfo(f"user{number}", "here")
    for number in range(50):
        await server.ask("moshez", nick=f"gone{number}")
        await server.say(f":irc.test 401 fingerbot gone{number} :No such nick")
    for number in range(60):
        await server.say(f":nick{number % 20}!~u@host{number % 20}.example PRIVMSG fingerbot user{number}")
    for number in range(8):
        await server.ask("moshez", nick=f"honest{number}")
    seen: list[str] = []
    with trio.move_on_after(100):  # until every reply has been sent or dropped
        while True:
            seen += await server.lines(1)
            if seen[-1].startswith("PING"):
                await server.say(":irc.test PONG irc.test fingertrio")
    for number in range(8):
        assert f"PRIVMSG honest{number} :{HAPPY}" in seen[:30], "behind those who asked for more"
    assert 64 <= len(log.records("query")) <= 66, "as many as there are in advance, and the one of the first second"


async def test_busy_is_told_once_a_minute(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader, observer: Observer
) -> None:
    backend.hold()
    for number in range(6):
        await server.ask(f"user{number}")
    assert await server.line() == "NOTICE alice :I am busy, please try again in a minute"
    await server.settled()
    assert observer.metrics.refusals["irc", "flood"] == 3


async def test_a_reply_that_waited_too_long_is_dropped(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader, observer: Observer
) -> None:
    """For the flood rule: a server that sends PING all the time makes us wait."""
    for number in range(60):
        await server.say(f"PING {number}")
    await server.lines(60)
    await server.ask("moshez")
    for _ in range(4):
        await trio.sleep(50)
        await server.settled()
    assert observer.metrics.refusals["irc", "stale"] == 1


# Nicks that are gone, or belong to another person.


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (":irc.test 401 fingerbot alice :No such nick/channel", "gone"),
        (":irc.test 401 fingerbot ALICE :No such nick/channel", "gone"),
        (":irc.test 406 fingerbot alice :There was no such nickname", "gone"),
        (":alice!~alice@alice.example QUIT :a.example b.example", "gone"),
        (":irc.test KILL alice :(why)", "gone"),
        (":alice!~other@other.example PRIVMSG fingerbot :help", "gone"),
        (":alice!~other@other.example NOTICE fingerbot :Status of 1: No such user", "gone"),
        (":irc.test 716 fingerbot alice :is in +g mode", "refused"),
        (":irc.test 531 fingerbot alice :You are not permitted to send private messages", "refused"),
    ],
)
async def test_nothing_more_is_sent_to_a_nick_that_is_gone(
    autojump_clock: MockClock,
    server: FakeServer,
    backend: FakeReader,
    observer: Observer,
    line: str,
    reason: str,
) -> None:
    for number in range(3):
        backend.users[f"long{number}"] = UserInfo(f"long{number}", "1\n2\n3\n4\n5")
        await server.ask(f"long{number}")
    await server.lines(5)  # ten more wait
    await server.say(line)
    await server.settled()
    server.ignored.add(USAGE)
    await server.idle(60)
    assert observer.metrics.refusals["irc", reason] == 2


async def test_a_reply_follows_a_nick_change(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader
) -> None:
    backend.hold()
    await server.ask("moshez")
    await server.say(":alice!~alice@alice.example NICK :alice_away")
    await server.settled()
    backend.release()
    assert await server.line() == f"PRIVMSG alice_away :{HAPPY}"


async def test_the_servers_case_mapping_decides_which_nicks_are_the_same(
    autojump_clock: MockClock, server: FakeServer, observer: Observer
) -> None:
    """bot[x] and bot{x} are one nick under rfc1459, and two under ascii."""
    server.ignored.add("NICK fingerbot")
    await server.say(":fingerbot!f@h NICK bot[x]")
    await server.ask("moshez", me="BOT{X}")
    assert await server.line() == f"PRIVMSG alice :{HAPPY}"
    await server.say(":irc.test 005 bot[x] CASEMAPPING=ascii :are supported by this server")
    await server.ask("plan", nick="bob", me="bot{x}")
    await is_silent(server)
    await server.ask("moshez", nick="bob", me="BOT[X]")
    assert await server.line() == f"PRIVMSG bob :{HAPPY}"


async def test_decisions_are_made_line_by_line(autojump_clock: MockClock, server: FakeServer) -> None:
    """One segment: a question, our new nick, a question to the old nick, one to the new."""
    question = "!~{0}@{0}.example PRIVMSG"
    server.ignored.add("NICK fingerbot")
    await server.say(
        f":alice{question.format('alice')} fingerbot moshez",
        ":fingerbot!f@h NICK other",
        f":bob{question.format('bob')} fingerbot moshez",
        f":carol{question.format('carol')} other moshez",
    )
    assert await server.lines(2) == [f"PRIVMSG alice :{HAPPY}", f"PRIVMSG carol :{HAPPY}"]
    await is_silent(server)


# Help.


@pytest.mark.parametrize("text", ["help", "HELP", "?", "\x02help\x02"])
async def test_help_is_answered_each_time(autojump_clock: MockClock, server: FakeServer, text: str) -> None:
    for _ in range(2):
        await server.ask(text)
        assert await server.line() == USAGE
        await server.idle(31)


async def test_what_cannot_be_a_name_is_answered_by_the_usage_once_in_ten_minutes(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader, log: Log
) -> None:
    await server.ask("how are you?")
    assert await server.line() == USAGE
    await server.ask("../etc/passwd")
    await is_silent(server)
    assert backend.calls["get_user"] == 0
    assert [record["outcome"] for record in log.records("query")] == ["bad"]
    await server.idle(590)
    await server.ask("-l; id")
    assert await server.line() == USAGE


# Programs that answer us.


async def test_our_own_answers_mute_their_sender(
    autojump_clock: MockClock, server: FakeServer, observer: Observer
) -> None:
    """Also the lines that follow: "moshez" could be the second line of a status."""
    await server.ask(f"{HAPPY}")
    await server.ask("moshez")
    await server.ask("\x02Status of plan: one")
    await is_silent(server)
    assert observer.metrics.refusals["irc", "loop"] == 3
    await server.idle(590)
    await server.ask("moshez")
    assert await server.line() == f"PRIVMSG alice :{HAPPY}"


async def test_a_person_may_write_status_of(autojump_clock: MockClock, server: FakeServer) -> None:
    await server.ask("Status of moshez")
    assert await server.line() == USAGE


async def test_the_same_question_is_not_answered_again_at_once(autojump_clock: MockClock, server: FakeServer) -> None:
    await server.ask("moshez")
    assert await server.line() == f"PRIVMSG alice :{HAPPY}"
    await server.ask("moshez")
    await is_silent(server)
    await trio.sleep(11)
    await server.ask("moshez")
    assert await server.line() == f"PRIVMSG alice :{HAPPY}"


async def test_unknown_names_in_a_row_mute_their_sender(autojump_clock: MockClock, server: FakeServer) -> None:
    """A program that sends one word for each of our answers."""
    for number in range(5):
        await server.ask(f"word{number}")
        assert await server.line() == f"NOTICE alice :Status of word{number}: No such user"
        await trio.sleep(2)
    await server.ask("word5")
    await server.ask("moshez")
    await is_silent(server)


async def test_more_questions_than_a_person_asks_mute_their_sender(
    autojump_clock: MockClock, server: FakeServer
) -> None:
    """A program that asks for two names in turn, every 16 seconds, is not answered after 20 questions."""
    for _ in range(10):
        for name in ("moshez", "colors"):
            await server.ask(name)
            assert (await server.line()).startswith(f"PRIVMSG alice :Status of {name}: ")
            await trio.sleep(16)
    await server.ask("moshez")
    await is_silent(server)


async def test_two_bots_do_not_talk_to_each_other(
    autojump_clock: MockClock, server: FakeServer, backend: FakeReader
) -> None:
    """Whatever starts it: the other bot sends each of our lines back to us, as PRIVMSG."""
    backend.users["loop"] = UserInfo("loop", "loop\nmoshez\nplan\nloop")
    await server.ask("loop", nick="bot")
    rounds = 0
    with trio.move_on_after(600):
        while True:
            line = await server.line()
            if line.startswith("PING"):
                await server.say("PONG x")
                continue
            rounds += 1
            await server.ask(line.split(" ", 2)[2].removeprefix(":"), nick="bot")
    assert rounds == 4, "one answer of four lines, and nothing to its echo"


# Bots, services and replays.


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("@bot :alice!~a@h PRIVMSG fingerbot :moshez", "bot"),
        ("@inspircd.org/service :alice!~a@h PRIVMSG fingerbot :moshez", "bot"),
        (":NickServ!services@services.example PRIVMSG fingerbot :moshez", "bot"),
        (":alice!~a@h PRIVMSG fingerbot :[12:34:56] moshez", "replay"),
        (":alice!~a@h PRIVMSG fingerbot :[12:34] moshez", "replay"),
        (":alice!~a@h PRIVMSG fingerbot :12:34:56> moshez", "replay"),
        (":alice!~a@h PRIVMSG fingerbot :[2026-01-02 12:34:56] moshez", "replay"),
        ("@time=2020-01-01T00:00:00.000Z :alice!~a@h PRIVMSG fingerbot :moshez", "replay"),
    ],
)
async def test_bots_and_replays_are_not_answered(
    autojump_clock: MockClock, server: FakeServer, observer: Observer, line: str, reason: str
) -> None:
    await server.say(line)
    await is_silent(server)
    assert observer.metrics.refusals["irc", reason] == 1


@pytest.mark.parametrize("kind", ["chathistory", "znc.in/playback", "netjoin", "unknown.example/batch"])
async def test_batches_of_old_messages_are_not_answered(
    autojump_clock: MockClock, server: FakeServer, observer: Observer, kind: str
) -> None:
    await server.say(
        f":irc.test BATCH +a {kind} fingerbot",
        "@batch=a :irc.test BATCH +b labeled-response",
        "@batch=a :alice!~a@h PRIVMSG fingerbot :moshez",
        "@batch=b :alice!~a@h PRIVMSG fingerbot :moshez",
        ":irc.test BATCH -b",
        ":irc.test BATCH -a",
    )
    await is_silent(server)
    assert observer.metrics.refusals["irc", "replay"] == 2
    await server.say("@batch=a :alice!~alice@alice.example PRIVMSG fingerbot :moshez")
    assert await server.line() == f"PRIVMSG alice :{HAPPY}"


@pytest.mark.parametrize("seconds", [-3600, 0, 30])
async def test_a_recent_time_is_not_a_replay(autojump_clock: MockClock, server: FakeServer, seconds: int) -> None:
    stamp = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    await server.say(f"@time={stamp} :alice!~a@h PRIVMSG fingerbot :moshez")
    assert await server.line() == f"PRIVMSG alice :{HAPPY}"


async def test_a_nick_without_an_address_is_answered_only_if_the_server_never_shows_any(
    autojump_clock: MockClock, server: FakeServer
) -> None:
    await server.say(":alice PRIVMSG fingerbot :moshez")
    assert await server.line() == f"PRIVMSG alice :{HAPPY}"
    await server.say(":irc.test 005 fingerbot NICKLEN=30 :are supported by this server")
    await server.say(":bob PRIVMSG fingerbot :moshez")
    await is_silent(server)


async def test_a_server_cannot_flood_the_log_with_questions_it_takes_back(
    autojump_clock: MockClock, server: FakeServer, log: Log
) -> None:
    for number in range(500):
        await server.ask("moshez", nick=f"nick{number}")
        await server.say(f":irc.test 401 fingerbot nick{number} :No such nick")
    await server.stream.send_all(b"PING x\r\n")
    await trio.sleep(1)
    assert len(log.records("query")) <= 66
