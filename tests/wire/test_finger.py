"""The query: each entry is parsed whole, byte by byte, and with trailing data, with the same result each time."""

from __future__ import annotations

import time
import timeit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fingertrio.names import is_user_name
from fingertrio.wire import ProtocolError
from fingertrio.wire.finger import QUERY_LIMIT, Query, encode_query, may_be_proxy_header, parse_query, query_line

Read = Query | str  # a query, or the error message


def whole(data: bytes, *, ended: bool = False) -> Read:
    try:
        # Two empty lines could be the beginning of a PROXY header: the front end waits a moment, and then asks this.
        line = query_line(data, ended=ended or may_be_proxy_header(data))
        assert line is not None, "more was wanted"
        return parse_query(line)
    except ProtocolError as error:
        return str(error)


def bytewise(data: bytes, *, ended: bool = False) -> Read:
    for size in range(len(data) + 1):
        try:
            line = query_line(data[:size])
        except ProtocolError as error:
            return str(error)
        if line is not None:
            return whole(data[:size])
    assert ended, "more was wanted"
    return whole(data, ended=True)


def every_way(data: bytes) -> Read:
    """The result for `data`, a line with its end."""
    result = whole(data)
    assert bytewise(data) == result
    for trailing in (b"\r\n", b"root\r\n", b"\x00\xff", b"x" * 10_000):
        assert whole(data + trailing) == result
    return result


GRAMMAR = [
    # RFC 1288 sections 2.3 and 4
    (b"", Query()),
    (b"/W", Query(verbose=True)),
    (b"moshez", Query("moshez")),
    (b"/W moshez", Query("moshez", verbose=True)),
    (b"moshez@host", Query("moshez", hosts=("host",))),
    (b"@host", Query(hosts=("host",))),
    (b"/W @host", Query(verbose=True, hosts=("host",))),
    (b"/W moshez@h1@h2", Query("moshez", verbose=True, hosts=("h1", "h2"))),
    (
        b"hedrick@math.rutgers.edu@pilot.njin.net",
        Query("hedrick", hosts=("math.rutgers.edu", "pilot.njin.net")),
    ),
    (b"u" + b"@h" * 250, Query("u", hosts=("h",) * 250)),
]
LIBERAL = [
    (b"/w moshez", Query("moshez", verbose=True)),  # lynx
    (b"/w", Query(verbose=True)),
    (b"moshez /W", Query("moshez", verbose=True)),  # RFC 1196
    (b"moshez@host /w", Query("moshez", verbose=True, hosts=("host",))),
    (b"/W moshez /W", Query("moshez", verbose=True)),
    (b" moshez", Query("moshez")),  # elinks
    (b"moshez ", Query("moshez")),
    (b"  /W   moshez  ", Query("moshez", verbose=True)),
    (b"\tmoshez\t", Query("moshez")),
    (b"/W\tmoshez", Query("moshez", verbose=True)),
    (b"/W ", Query(verbose=True)),  # Debian's finger -l @host
    (b"   ", Query()),
    ("józef".encode(), Query("józef")),
    ("山田@ホスト".encode(), Query("山田", hosts=("ホスト",))),
]
IMPOSSIBLE_NAMES = [b"../x", b"|id", b"-l", b"--", b";id", b"$(id)", b"`id`", b"a/W", b"0x00;", b"a" * 500]
REFUSED = [
    (b"/Wmoshez", "switch"),
    (b"/wmoshez", "switch"),
    (b"/W@host", "switch"),
    (b"/X moshez", "Unknown switch"),
    (b"/etc/passwd", "switch"),
    (b"a b", "One name"),
    (b"a b c d e f g h", "One name"),
    (b"a /W b", "One name"),
    (b"moshez @host", "One name"),
    (b"moshez@ host", "One name"),
    (b"moshez@", "host name"),
    (b"@", "host name"),
    (b"a@@b", "host name"),
    (b"@" * 500, "host name"),
    (b"@" * 4000, "too long"),
    (b"a" * 513, "too long"),
    (b"a" * 100_000, "too long"),
    (b"mos\x00hez", "printed"),
    (b"\x00", "printed"),
    (b"\x1b[2J", "printed"),
    (b"moshez\x7f", "printed"),
    (b"mos\rhez", "printed"),
    (b"a\x0bb", "printed"),
    ("mos\x9bhez".encode(), "printed"),
    ("mos\u202ehez".encode(), "printed"),
    ("mos\u00a0hez".encode(), "printed"),
    ("mos\u2028hez".encode(), "printed"),
    (b"\xff\xfb\x1f\xff\xfb\x20moshez", "UTF-8"),  # a telnet client introduces itself
    (b"\xff\xf4\xff\xfdmoshez", "UTF-8"),
    (b"j\xf3zef", "UTF-8"),
    (b"\xc0\xafetc", "UTF-8"),
    (b"\xed\xa0\x80", "UTF-8"),
]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r\r\n"], ids=repr)
@pytest.mark.parametrize(("line", "query"), GRAMMAR + LIBERAL)
def test_reads(line: bytes, query: Query, end: bytes) -> None:
    assert every_way(line + end) == query
    assert parse_query(line) == parse_query(line + end) == query


@pytest.mark.parametrize(("line", "query"), GRAMMAR + LIBERAL)
def test_end_of_input_ends_a_line(line: bytes, query: Query) -> None:
    for cut in (line, line + b"\r"):
        assert query_line(cut) is None
        assert whole(cut, ended=True) == bytewise(cut, ended=True) == query


@pytest.mark.parametrize("line", IMPOSSIBLE_NAMES)
def test_an_attack_is_an_impossible_name(line: bytes) -> None:
    query = every_way(line + b"\r\n")
    assert query == Query(line.decode())
    assert not is_user_name(line.decode())


@pytest.mark.parametrize(("line", "reason"), REFUSED)
def test_refuses(line: bytes, reason: str) -> None:
    words = every_way(line + b"\r\n")
    assert isinstance(words, str)
    assert reason in words
    assert words.isascii()
    assert words.isprintable()
    with pytest.raises(ProtocolError):
        parse_query(line)


def test_limit_is_for_the_line_without_its_end() -> None:
    name = b"a" * QUERY_LIMIT
    for end in (b"\r\n", b"\n"):
        assert every_way(name + end) == Query(name.decode())
        assert every_way(name + b"a" + end) == "Query too long"


def test_overlong_line_is_refused_before_it_ends() -> None:
    assert query_line(b"a" * QUERY_LIMIT) is None
    assert query_line(b"a" * QUERY_LIMIT + b"\r") is None
    for more in (b"a", b"\ra", b"a\r"):
        for ended in (False, True):
            with pytest.raises(ProtocolError, match="too long"):
                query_line(b"a" * QUERY_LIMIT + more, ended=ended)


def test_nothing_sent_is_the_empty_query_only_when_the_input_has_ended() -> None:
    assert query_line(b"") is None
    assert query_line(b"", ended=True) == b""


@given(st.binary(max_size=600), st.booleans())
@example(b"@" * 512, True)
def test_gives_a_query_or_a_protocol_error_and_nothing_else(data: bytes, ended: bool) -> None:
    try:
        line = query_line(data, ended=ended)
        if line is not None:
            assert b"\n" not in line
            query = parse_query(line)
            assert parse_query(encode_query(query)) == query
    except ProtocolError:
        pass


@example("\r\n")
@given(st.text(alphabet=st.sampled_from("ab/Ww@ \t-.\r\n\x00é日"), max_size=24))
def test_whatever_was_read_can_be_sent_and_reads_the_same(text: str) -> None:
    data = text.encode() + b"\r\n"
    result = every_way(data)
    if isinstance(result, Query):
        sent = encode_query(result)
        assert len(sent) <= QUERY_LIMIT + 2
        assert sent.count(b"\r") == sent.count(b"\n") == 1
        assert every_way(sent) == result
        assert all(result.hosts)


@given(st.from_regex(rb"\A[A-Za-z0-9_][A-Za-z0-9_.+$-]{0,63}\Z"))
def test_short_way_and_long_way_agree(name: bytes) -> None:
    assert parse_query(name) == parse_query(b" " + name)  # a leading blank needs the general parser


@pytest.mark.parametrize(
    ("query", "line"),
    [
        (Query(), b"\r\n"),
        (Query(verbose=True), b"/W\r\n"),
        (Query("moshez"), b"moshez\r\n"),
        (Query("moshez", verbose=True), b"/W moshez\r\n"),
        (Query("moshez", verbose=True, hosts=("h1", "h2")), b"/W moshez@h1@h2\r\n"),
        (Query(verbose=True, hosts=("h1",)), b"/W @h1\r\n"),
        (Query("józef"), "józef\r\n".encode()),
    ],
)
def test_writes_what_the_rfc_writes(query: Query, line: bytes) -> None:
    assert encode_query(query) == line


@pytest.mark.parametrize(
    "query",
    [
        Query("a\r\nb"),
        Query("a\n"),
        Query("a\r"),
        Query("a\x00"),
        Query("a b"),
        Query(" a"),
        Query("a@b"),
        Query("/W"),
        Query("/w", verbose=True),
        Query("/Wa"),
        Query("/W", hosts=("h",)),
        Query("a\x1b[2J"),
        Query("a\ud800"),
        Query("a", hosts=("",)),
        Query("a", hosts=("h\r\n",)),
        Query("a", hosts=("h@i",)),
        Query("a" * 513),
    ],
)
def test_refuses_to_write_what_would_be_read_as_something_else(query: Query) -> None:
    with pytest.raises(ValueError, match="not a finger query"):
        encode_query(query)


def test_forwarding_takes_the_rightmost_host() -> None:
    """RFC 1288 section 2.4: FOO@HOST1@HOST2 is sent to HOST2 as FOO@HOST1, with /W."""
    host, query = Query("FOO", verbose=True, hosts=("HOST1", "HOST2")).forward()
    assert (host, query) == ("HOST2", Query("FOO", verbose=True, hosts=("HOST1",)))
    host, query = query.forward()
    assert (host, query) == ("HOST1", Query("FOO", verbose=True))
    with pytest.raises(ValueError, match="without hosts"):
        query.forward()


@pytest.mark.speed
def test_usual_query_is_cheap() -> None:
    """Under 3 us of CPU. It takes about 1."""

    def parse() -> None:
        parse_query(query_line(b"moshez\r\n") or b"")

    best = min(timeit.repeat(parse, timer=time.process_time, number=2000, repeat=20)) / 2000
    assert best < 3e-6


# What HAProxy sends before a query: signature, version and command, family, length, addresses.
PROXY_V2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + b"\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x00\x4f"


@pytest.mark.parametrize("received", [PROXY_V2, PROXY_V2 + b"moshez\r\n", PROXY_V2[:12]])
def test_a_proxy_header_is_never_the_empty_query(received: bytes) -> None:
    with pytest.raises(ProtocolError, match="PROXY"):
        query_line(received)


@pytest.mark.parametrize("size", range(3, 12))
def test_the_beginning_of_a_proxy_header_is_waited_for(size: int) -> None:
    assert query_line(PROXY_V2[:size]) is None
    assert query_line(PROXY_V2[:size], ended=True) == b""


def test_the_line_of_version_1_is_named_in_the_refusal() -> None:
    with pytest.raises(ProtocolError, match="PROXY"):
        parse_query(b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 79\r\n")


@pytest.mark.parametrize("received", [b"\r\n", b"\r\n\n", b"\r\n\r\n\x00\xff", b"\r\nmoshez\r\n"])
def test_an_empty_line_is_the_empty_query_whatever_follows(received: bytes) -> None:
    assert query_line(received) == b""
