"""The targets of the fuzzer: each parser that any client reaches. A target raises if and only if there is a bug.

The invariant: parse the bytes, or raise the parser's documented error; never anything else. If the result can be
written again, parsing that returns the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import h11

from fingertrio.http.request import is_proper, vet
from fingertrio.names import check_user_name, is_user_name
from fingertrio.wire import PROXY_HEADER, ProtocolError
from fingertrio.wire.finger import encode_query, parse_query, query_line
from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_events import CTCPRequest, PrivateMessage
from fingertrio.wire.irc_login import Login
from fingertrio.wire.lines import LineBuffer
from fingertrio.wire.proxy import HEADER_LIMIT, read_header
from fingertrio.wire.setter import encode_request, parse_request
from fingertrio.wire.text import clean, clean_line, decode, escape, first_line, to_wire
from fingertrio.wire.xmlrpc import XMLRPCError, dump_call, dump_response, parse_call, parse_response


def finger(data: bytes) -> None:
    """A query line, with and without its end."""
    for ended in (False, True):
        with suppress(ProtocolError):
            if (line := query_line(data, ended=ended)) is not None:
                query = parse_query(line)
                encoded = encode_query(query)  # what was parsed can be encoded
                assert parse_query(encoded) == query
                if query.hosts:
                    assert query.forward()[0] == query.hosts[-1]


def setter(data: bytes) -> None:
    """The two lines of the setter."""
    with suppress(ProtocolError):
        request = parse_request(data)
        with suppress(ValueError):  # a lone CR is not a line end: it can be read but not written
            assert parse_request(encode_request(request.user, request.status)) == request


def proxy(data: bytes) -> None:
    """A PROXY header is the same however much follows it, and is never waited for beyond its limit."""
    for sent in (data, PROXY_HEADER + data, b"PROXY " + data):
        with suppress(ProtocolError):
            header = read_header(sent)
            if header is None:
                assert len(sent) < HEADER_LIMIT
            else:
                assert read_header(sent[: header.size] + b"x") == header
                assert read_header(sent[: header.size - 1]) is None


def lines(data: bytes) -> None:
    """A line buffer returns the same lines however its input is split."""
    limit = data[0] if data else 0
    assert _lines([data], limit) == _lines([data[n : n + 1] for n in range(len(data))], limit)


def _lines(chunks: list[bytes], limit: int) -> list[bytes | None]:
    buffer = LineBuffer(limit)
    found: list[bytes | None] = []
    try:
        for chunk in chunks:
            buffer.feed(chunk)
            while (line := buffer.take()) is not None:
                found.append(line)
    except ProtocolError:
        found.append(None)
    return found


def irc(data: bytes) -> None:
    """A whole session from its registration on, with its replies."""
    client = IRCClient(Login(nick="fingerbot"))
    with suppress(ProtocolError):
        for event in client.receive(b":irc.test 001 fingerbot :hello\r\n" + data):
            text = None
            if isinstance(event, CTCPRequest):
                text = client.ctcp_reply(event)
            elif isinstance(event, PrivateMessage):
                text = clean_line(event.text)
            if text is not None and isinstance(event, CTCPRequest | PrivateMessage):
                with suppress(ValueError):
                    for line in client.message("NOTICE", event.source.nick, text):
                        _check_line(line)
    for line in client.take_urgent():
        _check_line(line)


def _check_line(line: bytes | None) -> None:
    assert line is None or (
        len(line) <= 4096 and line.endswith(b"\r\n") and line.count(b"\n") == line.count(b"\r") == 1
    )
    assert line is None or b"\0" not in line


def xmlrpc_call(data: bytes) -> None:
    """A call, as the server reads it. The first byte decides the charset of the Content-Type."""
    charset = (None, "latin1", "utf-16", "shift_jis")[data[0] % 4] if data else None
    with suppress(XMLRPCError):
        call = parse_call(data[1:], charset)
        with suppress(ValueError):  # XML-RPC reads more than it can write
            dump_call(call.method, call.params)


def xmlrpc_response(data: bytes) -> None:
    """A response, as the client reads it."""
    with suppress(XMLRPCError):
        value: Any = parse_response(data)
        with suppress(ValueError):
            dump_response(value)  # a fault is no value, and raises ValueError


def text(data: bytes) -> None:
    """Text for a terminal, a log or a line."""
    even = data[: len(data) // 2 * 2]
    decoded = (decode(data, cut=cut) for cut in (False, True))
    for found in (data.decode("utf-8", "surrogateescape"), even.decode("utf-16-le", "surrogatepass"), *decoded):
        shown = clean(found)
        assert clean(shown) == shown
        assert "\n" not in clean_line(found)
        assert "\n" not in first_line(found)
        assert escape(found).isascii()
        assert escape(found).isprintable()
        wire = to_wire(found)
        assert wire.endswith(b"\r\n")
        assert wire.count(b"\n") == wire.count(b"\r")
        assert not set(wire) & ({*range(32)} - {9, 10, 13} | {127})


def names(data: bytes) -> None:
    """A name that can be set can be queried."""
    found = data.decode("utf-8", "replace")
    with suppress(ValueError):
        assert is_user_name(check_user_name(found))


def http(data: bytes) -> None:
    """An HTTP/1 request as h11 parses it, and our own checks."""
    connection = h11.Connection(h11.SERVER)
    with suppress(h11.RemoteProtocolError):
        connection.receive_data(data)
        event = connection.next_event()
        if isinstance(event, h11.Request):
            assert vet(event).target.startswith(b"/")
    cut = len(data) // 2
    is_proper([(b":method", data[:cut]), (b":path", data[cut:])])


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (finger, setter, proxy, lines, irc, xmlrpc_call, xmlrpc_response, text, names, http)
}

# Initial inputs. Without them, the fuzzer would need long to find the grammar.
SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "finger": (b"/W moshez@a@b\r\n", b"moshez\n"),
    "setter": (b"moshez\r\nHappy and well\r\n",),
    "proxy": (
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 79\r\n",
        b"PROXY TCP6 ::1 ::1 1 2\r\n",
        b"\x21\x11\x00\x17" + bytes(12) + b"\x03\x00\x04\0\0\0\0\x04\x00\x01x",
        b"\x20\x00\x00\x00",
    ),
    "lines": (b"\x05one\r\ntwo\nthree",),
    "irc": (b"@a=b :x!y@z PRIVMSG fingerbot :\x01PING 1\x01\r\nPING :1\r\n:x!y@z PRIVMSG fingerbot :moshez\r\n",),
    "xmlrpc_call": (b"\0" + dump_call("getUser", ["moshez", 1, 1.5, True, [b"x", {"a": "b"}]]),),
    "xmlrpc_response": (dump_response([{"a": 1}, "b"]),),
    "text": (
        "Grüße \x1b[31m\r\n\x85\u202e".encode(),
        "\x1b]0;title\x07N\bNA\bA \x1bPq\x1b\\ \x9b1m\x0c\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e007f".encode(),
        "Grüße".encode("utf-16"),
    ),
    "names": (b"moshez", "Zoë".encode(), "山田".encode()),
    "http": (b"POST http://test/RPC2 HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nUpgrade: h2c\r\n\r\nx",),
}
