"""IRC messages: parsing and encoding."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fingertrio.wire import ProtocolError
from fingertrio.wire.irc import (
    LINE_LIMIT,
    MESSAGE_LIMIT,
    NICK_LIMIT,
    TAGS_LIMIT,
    Message,
    Source,
    encode,
    is_nick,
    parse_message,
)
from fingertrio.wire.lines import LineBuffer


def read(data: bytes, *, step: int) -> list[bytes]:
    """The lines of `data`, which arrives in pieces of `step` bytes."""
    buffer = LineBuffer(LINE_LIMIT)
    lines = []
    for start in range(0, len(data), step):
        buffer.feed(data[start : start + step])
        while (line := buffer.take()) is not None:
            lines.append(line)
    return lines


def every_way(line: bytes) -> Message:
    """Parse `line` received whole, byte by byte, and with trailing data; the message must be the same."""
    expected = parse_message(line)
    assert [parse_message(one) for one in read(line + b"\r\n", step=10_000)] == [expected]
    assert [parse_message(one) for one in read(line + b"\n", step=1)] == [expected]
    trailed = read(line + b"\r\nPING :next\r\nPRIVMSG un", step=10_000)
    assert [parse_message(one) for one in trailed] == [expected, Message("PING", ("next",))]
    return expected


ALICE = Source("alice", "~al", "host.example")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"PING", Message("PING")),
        (b"PING :irc.example.net", Message("PING", ("irc.example.net",))),
        (b"PING irc.example.net", Message("PING", ("irc.example.net",))),
        (b"ping :two words", Message("PING", ("two words",))),
        (b"QUIT :", Message("QUIT", ("",))),
        (b":alice!~al@host.example PRIVMSG bot :moshez", Message("PRIVMSG", ("bot", "moshez"), ALICE)),
        (b":alice!~al@host.example PRIVMSG bot ::-) :x", Message("PRIVMSG", ("bot", ":-) :x"), ALICE)),
        (b":alice!~al@host.example PRIVMSG bot :", Message("PRIVMSG", ("bot", ""), ALICE)),
        (b":alice!~al@host.example PRIVMSG bot : x ", Message("PRIVMSG", ("bot", " x "), ALICE)),
        (b":irc.example.net 001 bot :Hello", Message("001", ("bot", "Hello"), Source("irc.example.net"))),
        (b":irc.example.net  433   *  bot  :Taken ", Message("433", ("*", "bot", "Taken "), Source("irc.example.net"))),
        (b"  NOTICE a b  ", Message("NOTICE", ("a", "b"))),
        (b":a@h NICK b", Message("NICK", ("b",), Source("a", None, "h"))),
        (b":a!u NICK b", Message("NICK", ("b",), Source("a", "u", None))),
        (b":a!@ NICK b", Message("NICK", ("b",), Source("a", "", ""))),
        (b"X a:b c:", Message("X", ("a:b", "c:"))),
        (b"X a\tb", Message("X", ("a\tb",))),
        (b"X " + b"p " * 20 + b":t", Message("X", (*["p"] * 20, "t"))),
        (b"@id=1 PING x", Message("PING", ("x",), None, {"id": "1"})),
        (b"@a=1;b;c= PING x", Message("PING", ("x",), None, {"a": "1", "b": "", "c": ""})),
        (b"@a=1;a=2;=3;; :s.x  PING x", Message("PING", ("x",), Source("s.x"), {"a": "2"})),
        (rb"@a=\:\s\\\r\n\b\ PING x", Message("PING", ("x",), None, {"a": "; \\\r\nb"})),
        ("@k=ä PRIVMSG bot :שלום".encode(), Message("PRIVMSG", ("bot", "שלום"), None, {"k": "ä"})),
        (b"PRIVMSG bot :gr\xfc\xdfe", Message("PRIVMSG", ("bot", "grüße"), encoding="latin-1")),
    ],
)
def test_reads(line: bytes, message: Message) -> None:
    assert every_way(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"   ",
        b":",
        b":only.a.source",
        b": PING x",
        b":!u@h PING x",
        b":s :trailing",
        b"@a=1",
        b"@a=1 ",
        b"@",
        b"12 x",
        b"1234 x",
        b"PR1V x",
        "PÄNG x".encode(),
        "\u0661\u0662\u0663 x".encode(),  # digits, but not ASCII
        b"PING a\0b",
        b"PING a\rb",
        b"PING a\nb",
        b"@a=\0 PING",
    ],
)
def test_rejects_invalid_messages(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_message(line)


def test_lengths_are_exact() -> None:
    tags = b"@" + b"t" * (TAGS_LIMIT - 2) + b" "
    rest = b"X " + b"p" * (MESSAGE_LIMIT - 4)
    assert len(tags) == 8191
    assert len(rest) + 2 == 512
    assert every_way(tags + rest).params == ("p" * 508,)
    with pytest.raises(ProtocolError, match="message"):
        parse_message(rest + b"p")
    with pytest.raises(ProtocolError, match="tags"):
        parse_message(b"@t" + tags[1:] + b"X")


def test_a_source_formats_as_received() -> None:
    for line in (b":a!u@h X", b":a@h X", b":a!u X", b":irc.example.net X", b":a!@ X"):
        source = parse_message(line).source
        assert str(source).encode() == line[1:-2]
        assert source is not None
        assert source.is_server == (b"irc" in line)


@example(b"@:")
@example(b"@ : :")
@given(
    st.binary(max_size=60) | st.lists(st.sampled_from([b"@", b":", b" ", b"a", b"=", b";", b"!", b"\\"])).map(b"".join)
)
def test_parses_or_raises_protocol_error(line: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        message = parse_message(line)
        assert message.command
        assert all(message.params[:-1])


words = st.text(st.characters(exclude_characters=" \r\n\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
middles = words.filter(lambda word: not word.startswith(":"))
trailings = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=60)


@given(st.lists(middles, max_size=4), trailings)
def test_encoded_messages_parse_to_the_same_message(params: list[str], trailing: str) -> None:
    line = encode("PRIVMSG", *params, trailing)
    assert every_way(line.removesuffix(b"\r\n")) == Message("PRIVMSG", (*params, trailing))


@example("PRIVMSG", ["a", "hi\r\nQUIT"])
@example("QUIT\r\nX", [])
@given(st.text(max_size=10) | st.just("PRIVMSG"), st.lists(st.text(max_size=300), max_size=5))
def test_writes_one_line_of_at_most_512_bytes_or_raises_value_error(command: str, params: list[str]) -> None:
    with contextlib.suppress(ValueError):
        line = encode(command, *params)
        assert len(line) <= 512
        assert line.endswith(b"\r\n")
        assert not set(line[:-2]) & set(b"\r\n\0")
        assert parse_message(line[:-2]).params == tuple(params)


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("PRIVMSG", ("alice", "hi\r\nQUIT")),
        ("PRIVMSG", ("alice", "hi\rQUIT")),
        ("PRIVMSG", ("alice", "hi\nQUIT")),
        ("PRIVMSG", ("alice", "hi\0")),
        ("PRIVMSG", ("alice\n", "hi")),
        ("PRIVMSG", ("alice bob", "hi")),
        ("PRIVMSG", ("", "hi")),
        ("PRIVMSG", (":alice", "hi")),
        ("PRIVMSG", ("alice", "\ud800")),
        ("PRIVMSG", ("alice", "x" * 497)),
        ("PRIVMSG x", ()),
        ("PING\n", ()),
        ("", ()),
        ("42", ()),
    ],
)
def test_params_cannot_add_a_command(command: str, params: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        encode(command, *params)


def test_a_server_may_announce_longer_lines() -> None:
    line = encode("PRIVMSG", "alice", "x" * 2000, limit=2048)
    assert len(line) == 2000 + 16
    assert parse_message(line[:-2], 2048).params == ("alice", "x" * 2000)
    with pytest.raises(ProtocolError):
        parse_message(line[:-2], 2015)


def test_writes_up_to_the_limit() -> None:
    assert len(encode("PRIVMSG", "alice", "x" * 496)) == 512
    assert encode("PONG", "é", encoding="latin-1") == b"PONG \xe9\r\n"


def test_a_nick_is_one_person() -> None:
    for nick in ("alice", "_[]{}|\\^-", "a-", "a.b", "zoë", "x" * NICK_LIMIT):
        assert is_nick(nick)
    for text in ("", "#chan", "&chan", "+chan", "@#chan", "$*.net", "a,b", "a b", "a!b", "a@b", "*", "a?", ":a", "a\n"):
        assert not is_nick(text)
    assert not is_nick("x" * (NICK_LIMIT + 1))
    assert not is_nick("é" * (NICK_LIMIT // 2 + 1))
