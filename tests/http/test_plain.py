"""Which requests are plain, and that h11 reads every one of them in the same way."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fingertrio.http.limits import HEADER_LIMIT
from fingertrio.http.plain import BODY_LIMIT, HEAD_LIMIT, PlainRequest, read_plain
from fingertrio.http.request import vet, wants_websocket
from fingertrio.testing.hostile_http import OPENINGS


def read(data: bytes) -> PlainRequest | None:
    end = data.find(b"\r\n\r\n") + 4
    return None if end == 3 else read_plain(data, end)


def request(*lines: bytes, line: bytes = b"GET /moshez HTTP/1.1", body: bytes = b"") -> bytes:
    return b"\r\n".join([line, b"Host: test", *lines, b"", b""]) + body


POST = b"POST /RPC2 HTTP/1.1"


@pytest.mark.parametrize(
    "plain",
    [
        request(),
        request(line=b"HEAD / HTTP/1.1"),
        request(line=b"GET //x?a=b&c=%20'\"|\\^ HTTP/1.1"),
        request(b"Accept:*/*", b"X-Empty:", b"User-Agent:   Mozilla/5.0 (X11; Linux)  "),
        request(b"Connection: keep-alive"),
        request(b"CONNECTION: Close"),
        request(b'If-None-Match: W/"1"'),
        request(b'If-None-Match: "1"', b"If-Modified-Since: Sun, 29 Nov 2026 00:00:00 GMT"),
        request(b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: https"),
        request(b"Content-Length: 5", line=POST, body=b"hello"),
    ],
)
def test_these_are_plain(plain: bytes) -> None:
    found = read(plain)
    assert found is not None
    assert found.size == len(plain)


@pytest.mark.parametrize(
    "other",
    [
        request(line=b"GET /moshez HTTP/1.0"),
        request(line=b"get /moshez HTTP/1.1"),
        request(line=b"PUT /moshez HTTP/1.1"),
        request(line=b"GET  /moshez HTTP/1.1"),
        request(line=b"GET /moshez HTTP/1.1 "),
        request(line=b"GET /mo\tshez HTTP/1.1"),
        request(line=b"GET /\xff HTTP/1.1"),
        request(line=b"GET /a#b HTTP/1.1"),
        request(line=b"GET moshez HTTP/1.1"),
        request(line=b"GET http://test/moshez HTTP/1.1"),
        request(line=b"GET /%b HTTP/1.1" % (b"a" * 1000)),
        b"\r\n" + request(),
        request().replace(b"\r\n", b"\n"),
        request().replace(b"Host: test", b"Host: test\n"),
        b"GET / HTTP/1.1\r\n\r\n",
        request(*(b"x%d: y" % number for number in range(40))),
        request(b"Host: test"),
        request(b"host: other"),
        request(b"Accept: a", b"Accept: b"),
        b"GET / HTTP/1.1\r\nHost: te st\r\n\r\n",
        request(b"Accept: a\xff"),
        request(b"Accept: a\x00b"),
        request(b"Accept: a\tb"),
        request(b"Accept:\ta"),
        request(b"Accept : a"),
        request(b" folded"),
        request(b"no colon"),
        request(b": no name"),
        request(b"Cookie: a=b"),
        request(b"Authorization: Bearer x"),
        request(b"Range: bytes=0-1"),
        request(b'If-Range: "x"'),
        request(b'If-Match: "x"'),
        request(b"Upgrade: websocket", b"Connection: Upgrade"),
        request(b"Connection: keep-alive, close"),
        request(b"Connection: x"),
        request(b"Expect: 100-continue"),
        request(b"Transfer-Encoding: chunked"),
        request(b"Transfer-Encoding : chunked"),
        request(b"TE: trailers"),
        request(b"Content-Length: 0"),
        request(b"If-None-Match: *"),
        request(b'If-None-Match: "a", "b"'),
        request(line=POST),
        request(b"Content-Length: 0", line=POST),
        request(b"Content-Length: 05", line=POST, body=b"hello"),
        request(b"Content-Length: +5", line=POST, body=b"hello"),
        request(b"Content-Length: 5, 5", line=POST, body=b"hello"),
        request(b"Content-Length: 5", b"Content-Length: 5", line=POST, body=b"hello"),
        request(b"Content-Length: 5", b"Transfer-Encoding: chunked", line=POST, body=b"hello"),
        request(b"Content-Length: 5", b"Content-Encoding: gzip", line=POST, body=b"hello"),
        request(b"Content-Length: 5", b"Origin: https://example.net", line=POST, body=b"hello"),
        request(b"Content-Length: 5", b'If-None-Match: "a"', line=POST, body=b"hello"),
        request(b"Content-Length: %d" % (BODY_LIMIT + 1), line=POST, body=b"x" * (BODY_LIMIT + 1)),
    ],
)
def test_these_are_left_to_h11(other: bytes) -> None:
    assert read(other) is None


@pytest.mark.parametrize("opening", OPENINGS)
def test_hostile_openings_are_left_to_h11(opening: str) -> None:
    found = read(OPENINGS[opening])
    assert found is None or reads_alike(OPENINGS[opening], found)


def test_a_body_that_is_not_complete_shows_in_the_size() -> None:
    found = read(request(b"Content-Length: 5", line=POST, body=b"hel"))
    assert found is not None
    assert found.size == len(request(b"Content-Length: 5", line=POST, body=b"hello"))


def reads_alike(data: bytes, plain: PlainRequest) -> bool:
    """Whether h11, and what Http1 adds to it, find the same request in `data`."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_LIMIT)
    parser.receive_data(data)
    event = parser.next_event()
    assert isinstance(event, h11.Request)
    assert vet(event) is event  # nothing in it is refused or changed
    assert not wants_websocket(event)
    body = b""
    while isinstance(part := parser.next_event(), h11.Data):
        body += part.data
    return (
        (event.method, event.target, dict(event.headers), len(event.headers), event.http_version)
        == (plain.method, plain.target, plain.fields, len(plain.fields), b"1.1")
        and body == plain.body
        and isinstance(part, h11.EndOfMessage if plain.size <= len(data) else type)
        and parser.trailing_data[0] == data[plain.size :]
        and not parser.they_are_waiting_for_100_continue
    )


_PIECES = st.sampled_from(
    [
        b"GET ", b"HEAD ", b"POST ", b"/", b"/moshez", b"?", b"#", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r",
        b"Host: test", b"Host:", b"Accept: */*", b"Content-Length: 3", b"Content-Length: 03", b"abc", b" ", b"\t",
        b"Transfer-Encoding: chunked", b"transfer-encoding:chunked", b"Connection: close", b"Connection: keep-alive",
        b"Expect: 100-continue", b"Cookie: a=b", b'If-None-Match: "x"', b"\x00", b"\xff", b"\x0b", b"\x85", b": ",
        b"3\r\nabc\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: test\r\n\r\n",
    ]
)  # fmt: skip
_LINES = st.sampled_from(
    [
        b"Host: test", b"Host: a, b", b"Host:", b"Host: [::1]:80", b"Accept: a", b"accept:  b ", b"X: \x7f", b"X:\x0c",
        b"Content-Length: 3", b"content-length : 3", b"Content-Length: 1_0", b"Transfer-Encoding: identity",
        b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade", b"Upgrade: h2c", b"Expect: x",
        b'If-None-Match: "x"', b"If-None-Match: x", b"If-Modified-Since: now", b"Keep-Alive: 5", b"Origin: null",
        b"Content-Type: text/xml", b"X!#$%&'*+-.^_`|~: y", b"a b: c", b"(x): y",
    ]
)  # fmt: skip
_NEARLY_PLAIN = st.builds(
    lambda line, lines, body: b"\r\n".join([line, *lines, b"", body]),
    st.sampled_from([b"GET / HTTP/1.1", b"HEAD /a?b HTTP/1.1", b"POST /RPC2 HTTP/1.1", b"GET /\\ HTTP/1.1"]),
    st.lists(_LINES, max_size=4).map(lambda lines: [b"Host: test", *lines]) | st.lists(_LINES, max_size=4),
    st.sampled_from([b"", b"abc", b"ab", b"abcGET / HTTP/1.1\r\nHost: test\r\n\r\n"]),
)


@given(_NEARLY_PLAIN | st.lists(_PIECES, max_size=14).map(b"".join))
@example(request(b"Content-Length: 3", line=POST, body=b"abcd"))
def test_what_is_plain_is_read_in_the_same_way_by_h11(data: bytes) -> None:
    found = read(data)
    assert found is None or reads_alike(data, found)


def test_the_longest_head_is_within_what_h11_takes() -> None:
    assert HEAD_LIMIT < HEADER_LIMIT
