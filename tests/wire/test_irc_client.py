"""One session without a network. The server's lines are received whole, byte by byte, and with trailing data."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fingertrio.wire import ProtocolError
from fingertrio.wire.irc import LINE_LIMIT, LINELEN_LIMIT, Source, parse_message
from fingertrio.wire.irc_channel import ChannelPlan
from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_ends import Ended, Verdict
from fingertrio.wire.irc_events import (
    CTCPRequest,
    Event,
    Malformed,
    NickChanged,
    Ponged,
    PrivateMessage,
    PrivateNotice,
    Registered,
    Undeliverable,
    UserGone,
    UserRenamed,
)
from fingertrio.wire.irc_login import Login
from fingertrio.wire.irc_nicks import nick_candidates
from fingertrio.wire.irc_secrets import Secret

ALICE = Source("alice", "~al", "host.example")
WELCOME = b":irc.example.net 001 fingerbot :Welcome\r\n"


def make(nick: str = "fingerbot") -> IRCClient:
    client = IRCClient(Login(nick=nick, realname="A bot"), version="fingertrio 1")
    client.start()
    client.take_urgent()
    return client


def registered(nick: str = "fingerbot") -> IRCClient:
    client = make(nick)
    client.receive(f":irc.example.net 001 {nick} :Welcome\r\n".encode())
    assert client.take_urgent() == [f"USERHOST {nick}\r\n".encode()]
    return client


def every_way(data: bytes, nick: str = "fingerbot", *, fresh: bool = False) -> tuple[list[Event], bytes]:
    """The events and the urgent lines for `data`, which must not depend on how it is received."""
    results = []
    for step in (len(data), 1):
        client = make(nick) if fresh else registered(nick)
        events: list[Event] = []
        for start in range(0, len(data), step):
            events += client.receive(data[start : start + step])
        results.append((events, b"".join(client.take_urgent())))
    client = make(nick) if fresh else registered(nick)
    results.append((client.receive(data + b"PING :un"), b"".join(client.take_urgent())))
    assert results[0] == results[1] == results[2]
    return results[0]


def test_registers_at_once() -> None:
    client = IRCClient(Login(nick="fingerbot", realname="A bot"))
    client.start()
    assert client.take_urgent() == [b"CAP LS 302\r\n", b"NICK fingerbot\r\n", b"USER fingertrio 0 * :A bot\r\n"]
    assert client.take_urgent() == []
    assert not client.registered


@pytest.mark.parametrize(
    ("nick", "username", "realname"),
    [
        ("#bot", "u", "r"),
        ("b ot", "u", "r"),
        ("bot", "two words", "r"),
        ("bot", "x" * 17, "r"),
        ("bot", "é", "r"),
        ("bot", "", "r"),
        ("bot", "u", "real\r\nQUIT"),
        ("bot", "u", "x" * 500),
    ],
)
def test_rejects_arguments_that_cannot_be_sent(nick: str, username: str, realname: str) -> None:
    with pytest.raises(ValueError):
        Login(nick=nick, username=username, realname=realname)


def test_the_nick_is_the_one_in_the_welcome() -> None:
    events, sent = every_way(b":irc.example.net 001 fingerb :Welcome\r\n", fresh=True)
    assert events == [Registered("fingerb")]
    assert sent == b"USERHOST fingerb\r\n"
    client = make()
    client.receive(b":irc.example.net 001 fingerb :Welcome\r\n")
    assert (client.nick, client.registered) == ("fingerb", True)
    assert client.is_me("FingerB")
    assert not client.is_me("fingerbot")


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize(
    ("ping", "pong"),
    [
        (b"PING :irc.example.net", b"PONG irc.example.net"),
        (b"PING 12345", b"PONG 12345"),
        (b":irc.example.net PING :two  words ", b"PONG :two  words "),
        (b"PING ::colon", b"PONG ::colon"),
        (b"PING :", b"PONG :"),
        (b"PING token server.two", b"PONG server.two"),
        (b"PING :\xff\xfe", b"PONG \xff\xfe"),
        (b"PING " + b"x" * 505, b"PONG " + b"x" * 505),
        (b"@time=x PING y", b"PONG y"),
    ],
)
def test_answers_ping_with_its_token_also_before_registration(ping: bytes, pong: bytes, fresh: bool) -> None:
    assert every_way(ping + b"\r\n", fresh=fresh) == ([], pong + b"\r\n")


def test_takes_another_nick_while_the_server_refuses_and_the_same_ones_each_time() -> None:
    refusal = b":irc.example.net 433 * fingerbot :Nickname is already in use\r\n"
    events, sent = every_way(refusal + refusal, fresh=True)
    assert events == []
    assert sent == b"NICK fingerbo1\r\nNICK fingerbo2\r\n"


@pytest.mark.parametrize("numeric", [432, 433, 436, 437])
def test_every_refusal_of_a_nick_counts(numeric: int) -> None:
    assert every_way(b":s.x %d * bot :no\r\n" % numeric, "bot", fresh=True) == ([], b"NICK bot1\r\n")
    events, sent = every_way(b":s.x %d bot other :no\r\n" % numeric, "bot")
    assert sent == b"", "we have one"
    assert events == ([Undeliverable("other")] if numeric == 437 else [])


def test_gives_up_when_no_nick_is_accepted() -> None:
    events, sent = every_way(b":s.x 433 * x :no\r\n" * 10, "bot", fresh=True)
    assert events == [Ended("no nickname was accepted", Verdict.LATER, 300)]
    assert sent.count(b"NICK") == 9
    assert sent.endswith(b"QUIT :no nickname left to try\r\n")


def test_candidates_fit_every_nicklen() -> None:
    assert list(nick_candidates("fingerbot"))[:3] == ["fingerbot", "fingerbo1", "fingerbo2"]
    assert list(nick_candidates("statusserver"))[:4] == ["statusserver", "statusser", "statusse1", "statusse2"]
    for wish in ("b", "fingerbot", "statusserver"):
        candidates = list(nick_candidates(wish))
        assert len(candidates) == len(set(candidates)) == 10
        assert all(len(nick) <= 9 for nick in candidates[1:])


def test_follows_its_own_nick_changes_only() -> None:
    client = registered()
    events = client.receive(b":alice!~al@h NICK bob\r\n:FINGERBOT!~f@h NICK Guest1\r\n")
    assert events == [UserRenamed("alice", "bob"), NickChanged("Guest1")]
    assert client.nick == "Guest1"
    assert client.receive(b":Guest1!~f@h NICK #x\r\n:x!x@y NICK #z\r\n") == [Malformed("invalid nickname")] * 2
    assert client.nick == "Guest1"


def test_reports_messages_and_of_a_notice_only_its_sender() -> None:
    events, sent = every_way(
        b":alice!~al@host.example PRIVMSG fingerbot :moshez\r\n"
        b":alice!~al@host.example PRIVMSG #chan :moshez\r\n"
        b":alice!~al@host.example NOTICE fingerbot :moshez\r\n"
        b"NOTICE * :*** Looking up your hostname\r\n"
    )
    assert events == [
        PrivateMessage(ALICE, "moshez"),
        PrivateMessage(ALICE, "moshez", channel="#chan"),
        PrivateNotice(ALICE),
    ]
    assert sent == b""


def test_messages_without_an_answerable_source_are_ignored() -> None:
    lines = [b"PRIVMSG fingerbot :x", b":irc.example.net PRIVMSG fingerbot :x", b":a,b!u@h PRIVMSG fingerbot :x"]
    lines.append(b":fingerbot!u@h PRIVMSG fingerbot :x")
    assert every_way(b"\r\n".join(lines) + b"\r\n") == ([], b"")


def test_ends_with_error() -> None:
    assert every_way(b"ERROR :Closing link\r\n") == ([Ended("Closing link")], b"")
    assert every_way(b"ERROR\r\n", fresh=True) == ([Ended("")], b"")


@pytest.mark.parametrize("numeric", [463, 464, 465, 466])
def test_ends_when_the_server_rejects_the_registration(numeric: int) -> None:
    line = b":s.x %d * :Password incorrect\r\n" % numeric
    [end], sent = every_way(line, fresh=True)
    assert isinstance(end, Ended)
    assert (end.reason, sent) == ("Password incorrect", b"")
    assert end.verdict is (Verdict.STOP if numeric in {463, 464} else Verdict.BANNED)
    assert every_way(line) == ([], b"")


@pytest.mark.parametrize("params", [b"irc.example.net fingertrio", b":irc.example.net", b"fingertrio"])
def test_any_pong_answers_the_ping(params: bytes) -> None:
    """`irc.server` of PyPI answers with its own name instead of the token."""
    assert every_way(b":irc.example.net PONG " + params + b"\r\n") == ([Ponged()], b"")


def test_skips_invalid_messages() -> None:
    events, sent = every_way(b"\r\n  \r\n:x\r\nPRIVMSG\r\nPING\r\n001\r\nNOTICE x\r\n372 :motd\r\nJOIN\r\nPING a\r\n")
    assert events == [Malformed("message without a command"), *[Malformed("message without its params")] * 4]
    assert sent == b"PONG a\r\n"


def test_a_line_without_end_ends_the_session() -> None:
    client = registered()
    assert client.receive(b"x" * LINE_LIMIT) == []
    with pytest.raises(ProtocolError):
        client.receive(b"xx")


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("\x01VERSION\x01", "\x01VERSION fingertrio 1\x01"),
        ("\x01version\x01", "\x01VERSION fingertrio 1\x01"),
        ("\x01PING 1234 5678\x01", "\x01PING 1234 5678\x01"),
        ("\x01PING 1\x01trailing", "\x01PING 1\x01"),
        ("\x01PING 1", "\x01PING 1\x01"),
        ("\x01CLIENTINFO\x01", "\x01CLIENTINFO CLIENTINFO PING VERSION\x01"),
        ("\x01ACTION waves\x01", None),
        ("\x01DCC SEND x 1 2 3\x01", None),
        ("\x01\x01", None),
        ("\x01PING " + "x" * 65 + "\x01", None),
    ],
)
def test_ctcp_is_answered_by_notice(text: str, reply: str | None) -> None:
    events, sent = every_way(f":alice!~al@host.example PRIVMSG fingerbot :{text}\r\n".encode())
    assert sent == b"", "the reply waits its turn"
    [request] = events
    assert isinstance(request, CTCPRequest)
    line = registered().ctcp_reply(request)
    if reply is None:
        assert line is None
    else:
        assert line == reply


def test_ctcp_is_never_answered_in_a_channel_nor_to_a_notice() -> None:
    for command in (b"PRIVMSG #chan", b"NOTICE fingerbot"):
        events, sent = every_way(b":alice!~al@host.example " + command + b" :\x01VERSION\x01\r\n")
        assert sent == b""
        assert not any(isinstance(event, CTCPRequest) for event in events)


texts = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=900)


@example("x" * 2000, "fingerbot", "a")
@example("x" * 2000, "x" * 64, "y" * 64)
@given(texts, st.sampled_from(["b", "fingerbot", "x" * 64]), st.sampled_from(["a", "zoë", "y" * 64]))
def test_no_piece_is_truncated_by_the_server(text: str, nick: str, target: str) -> None:
    """The server relays at most 512 bytes including our source, and truncates the rest."""
    client = registered(nick)
    lines = client.message("PRIVMSG", target, text)
    relayed = [f":{nick}!~fingertrio@{'h' * 63} ".encode() + line for line in lines]
    assert all(len(line) <= 512 for line in relayed)
    messages = [parse_message(line.removesuffix(b"\r\n")) for line in relayed]
    assert "".join(message.params[1] for message in messages) == text
    assert all(message.params[0] == target for message in messages)


def welcomed(*lines: str) -> IRCClient:
    client = registered()
    client.receive("".join(f"{line}\r\n" for line in lines).encode())
    return client


@pytest.mark.parametrize(
    ("lines", "user", "host"),
    [
        ((), 11, 63),
        ((":s.x 005 fingerbot HOSTLEN=64 USERLEN=12 :are supported by this server",), 13, 64),
        ((f":s.x 302 fingerbot :alice=+u@h fingerbot*=-{'u' * 13}@{'h' * 70}",), 13, 70),
        ((f":s.x 396 fingerbot {'h' * 90} :is now your displayed host",), 11, 90),
        ((f":fingerbot!{'u' * 12}@{'h' * 64} NICK fingerbot",), 12, 64),
    ],
)
def test_no_piece_is_truncated_whatever_source_the_server_puts_before_it(
    lines: tuple[str, ...], user: int, host: int
) -> None:
    client = welcomed(*lines)
    pieces = client.message("PRIVMSG", "alice", "x" * 2000)
    source = f":fingerbot!{'u' * user}@{'h' * host} ".encode()
    assert all(len(source + piece) <= 512 for piece in pieces)


def test_a_source_of_any_length_leaves_room_for_text() -> None:
    client = welcomed(
        ":s.x 005 fingerbot HOSTLEN=99999 USERLEN=-1 LINELEN=1 NICKLEN=x :are supported by this server",
        f":s.x 302 fingerbot :fingerbot=+{'u' * 200}@{'h' * 200}",
    )
    assert client.room("PRIVMSG", "y" * 64) >= 200


def test_a_longer_line_length_is_used() -> None:
    client = welcomed(":s.x 005 fingerbot LINELEN=2048 :are supported by this server")
    [piece] = client.message("PRIVMSG", "alice", "x" * 1900)
    assert len(piece) > 1900
    assert client.receive(b":a!b@c PRIVMSG fingerbot :" + b"x" * 1500 + b"\r\n") != []


def test_reports_nicks_that_are_gone_and_targets_that_do_not_accept_messages() -> None:
    events, _ = every_way(
        b":s.x 401 fingerbot alice :No such nick\r\n"
        b":alice!u@h QUIT :bye\r\n"
        b":s.x KILL alice :bad\r\n"
        b":s.x 716 fingerbot alice :is in +g mode\r\n"
        b":fingerbot!u@h QUIT :bye\r\n"
        b":s.x 401 fingerbot\r\n"
    )
    assert events == [UserGone("alice")] * 3 + [Undeliverable("alice")]


def test_a_second_welcome_changes_the_nick_only() -> None:
    assert every_way(b":s.x 001 other :Welcome back\r\n") == ([NickChanged("other")], b"")


@pytest.mark.parametrize("target", ["#a,#b", "#", "@#chan", "a,b", "a b", "$*.net", "", "x" * 65])
def test_sends_only_to_one_person_or_channel(target: str) -> None:
    with pytest.raises(ValueError):
        registered().message("PRIVMSG", target, "hi")


@pytest.mark.parametrize("text", ["hi\r\nQUIT", "hi\nQUIT", "hi\rQUIT", "hi\0"])
def test_a_text_cannot_add_a_command(text: str) -> None:
    with pytest.raises(ValueError):
        registered().message("PRIVMSG", "alice", text)


verbs = st.sampled_from(
    [
        "302",
        "396",
        "401",
        "403",
        "404",
        "354",
        "315",
        "437",
        "470",
        "471",
        "473",
        "475",
        "477",
        "900",
        "901",
        "903",
        "904",
        "730",
        "731",
        "734",
        "005",
        "376",
        "001",
        "433",
        "432",
        "BATCH",
        "QUIT",
        "PING",
        "PONG",
        "PRIVMSG",
        "NOTICE",
        "NICK",
        "JOIN",
        "PART",
        "KICK",
        "INVITE",
        "KILL",
        "CAP",
        "AUTHENTICATE",
        "FAIL",
        "ACCOUNT",
        "CHGHOST",
        "ERROR",
        ":a!b@c",
        ":fingerbot!x@y",
        "#chan",
        "fingerbot",
        "MONITOR=1",
        "WHOX",
    ]
)
parts = st.lists(verbs | st.text(max_size=8) | st.sampled_from([":", "@x", "\x01", "fingerbot", "a,b", "#c"]))
streams = st.lists(parts.map(" ".join), max_size=12).map("\r\n".join).map(lambda text: text.encode(errors="ignore"))


@example([b"PING " + b"x" * 505 + b"\r\n"])
@given(st.lists(streams | st.binary(max_size=40), max_size=6))
def test_whatever_a_server_sends_is_events_or_a_protocol_error(chunks: list[bytes]) -> None:
    login = Login(nick="fingerbot", account="a", account_password=Secret("p"), sasl=("plain",), services="NickServ")
    client = IRCClient(login, channels=[ChannelPlan("#chan", Secret("key"))], accept=None, rejoin=60.0, secure=True)
    client.start()
    with contextlib.suppress(ProtocolError):
        for number, chunk in enumerate(chunks):
            now = 40.0 * number
            for event in [*client.receive(chunk, now), *client.tick(now + 30)]:
                if isinstance(event, CTCPRequest):
                    client.ctcp_reply(event)
                elif isinstance(event, PrivateMessage):
                    client.message("NOTICE", event.source.nick, event.text)
    for line in client.take_urgent():
        assert len(line) <= LINELEN_LIMIT
        assert line.endswith(b"\r\n")
        assert line.count(b"\n") == line.count(b"\r") == 1
