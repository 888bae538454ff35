"""The setter protocol: valid requests, invalid requests, and encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.names import USER_NAME_LIMIT
from fingertrio.wire import PROXY_REFUSAL, ProtocolError, TooLongError
from fingertrio.wire.setter import (
    NAME_LINE_LIMIT,
    REQUEST_LIMIT,
    STATUS_LINE_LIMIT,
    SetRequest,
    encode_error,
    encode_request,
    is_whole,
    parse_request,
)
from fingertrio.wire.status import STATUS_LIMIT


@pytest.mark.parametrize(
    ("data", "request_"),
    [
        (b"moshez\r\nIn the garden\r\n", SetRequest("moshez", "In the garden")),
        (b"moshez\nIn the garden\n", SetRequest("moshez", "In the garden")),
        (b"moshez\r\nIn the garden\n", SetRequest("moshez", "In the garden")),
        (b"moshez\n  two  spaces \n", SetRequest("moshez", "  two  spaces ")),
        (b"s\xc3\xb8ren\r\nL\xc3\xa6ser\r\n", SetRequest("s\u00f8ren", "L\u00e6ser")),
        (b"\r\n\r\n", SetRequest("", "")),  # syntactically valid; the service rejects them
        (b"-l\n|id\n", SetRequest("-l", "|id")),
        (b"AUTH ft_x\nada\nWeaving\n", SetRequest("ada", "Weaving", token="ft_x")),
        (b"AUTH \r\nada\r\nWeaving\r\n", SetRequest("ada", "Weaving", token="")),
        (b"AUTH\nada\n", SetRequest("AUTH", "ada")),  # a user called AUTH
        (b"ada\nAUTH x\n", SetRequest("ada", "AUTH x")),
        (b"ada\nWeaving\nuntil: 17:00\n", SetRequest("ada", "Weaving", "17:00")),
        (b"ada\nWeaving\nuntil:17:00\n", SetRequest("ada", "Weaving", "17:00")),
        (b"ada\none\nmore: two\nmore:three\nmore:\nmore:   four\n", SetRequest("ada", "one\ntwo\nthree\n\n  four")),
        (b"AUTH t\nada\none\nmore: two\nuntil: 2h\n", SetRequest("ada", "one\ntwo", "2h", "t")),
        (b"ada\nuntil: 2h\n", SetRequest("ada", "until: 2h")),
        (b"ada\nWeaving\nend:\n", SetRequest("ada", "Weaving")),
        (b"AUTH t\r\nada\r\none\r\nmore: two\r\nuntil: 2h\r\nend:\r\n", SetRequest("ada", "one\ntwo", "2h", "t")),
        (b"ada\nend:\n", SetRequest("ada", "end:")),
    ],
)
def test_requests(data: bytes, request_: SetRequest):
    assert parse_request(data) == request_


TOO_MANY = "more than two lines; further ones start with more:, until: or end:"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "expected two lines: a user name and a status"),
        (b"moshez\r\n", "expected two lines: a user name and a status"),
        (b"moshez", "the last line is incomplete: it has no line end"),
        (b"moshez\r\nIn the gar", "the last line is incomplete: it has no line end"),
        (b"moshez\r\nIn the garden\r", "the last line is incomplete: it has no line end"),
        (b"moshez\r\nIn\r\nthe garden\r\n", TOO_MANY),
        (b"moshez\r\nIn the garden\r\n\r\n", TOO_MANY),
        (b"moshez\r\nIn the garden\r\nx", "the last line is incomplete: it has no line end"),
        (b"ada\nWeaving\nuntil: 17:00\nmore: x\n", TOO_MANY),
        (b"ada\nWeaving\nuntil: 17:00\nuntil: 18:00\n", TOO_MANY),
        (b"AUTH t\nAUTH t\nada\nWeaving\n", TOO_MANY),
        (b"ada\nWeaving\nend:\nuntil: 2h\n", TOO_MANY),
        (b"ada\nWeaving\nend:\nend:\n", TOO_MANY),
        (b"AUTH t\nada\n", "expected two lines: a user name and a status"),
        (b"AUTH " + b"x" * 600 + b"\nada\nx\n", "line too long"),
        (b"m" * (NAME_LINE_LIMIT + 1) + b"\nwell\n", "line too long"),
        (b"moshez\n" + b"x" * (STATUS_LINE_LIMIT + 1) + b"\n", "line too long"),
        (b"moshez\nIn the g\xe4rden\n", "not UTF-8"),
        (b"\xff\nwell\n", "not UTF-8"),
        (b"moshez\n\xed\xa0\x80\n", "not UTF-8"),  # a surrogate, encoded
        (b"moshez\nIn the\rgarden\n", "line end inside a line"),
        (b"moshez\nIn the\xc2\x85garden\n", "line end inside a line"),
        (b"mos\rhez\nIn the garden\r\n", "line end inside a line"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + b"moshez\r\nAway\r\n", PROXY_REFUSAL),
    ],
)
def test_everything_else_is_refused_with_its_reason(data: bytes, reason: str):
    with pytest.raises(ProtocolError) as refusal:
        parse_request(data)
    assert str(refusal.value) == reason


def test_the_limits_allow_what_the_service_accepts():
    """A smaller limit than the service's would reject a status that every other door accepts."""
    request = SetRequest("\U00020000" * USER_NAME_LIMIT, "\u00e9" * (STATUS_LIMIT // 2))
    data = encode_request(request.user, request.status)
    assert len(data) <= REQUEST_LIMIT
    assert parse_request(data) == request
    parse_request(b"m" * NAME_LINE_LIMIT + b"\r\n" + b"x" * STATUS_LINE_LIMIT + b"\r\n")


PIECES = [b"a", b"\r", b"\n", b"\xff", b"\xc3\xa9", b"AUTH ", b"more:", b"until: ", b" "]


@given(st.binary(max_size=60) | st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_parses_or_raises_protocol_error(data: bytes):
    try:
        request = parse_request(data)
    except ProtocolError:
        return
    assert "\n" not in request.user + (request.until or "") + (request.token or "")
    assert data.endswith(b"\n")
    assert data.count(b"\n") >= 2


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"ada\nWeaving\nend:\n", True),
        (b"ada\r\nWeaving\r\nend:\r\n", True),
        (b"AUTH t\nada\nWeaving\nend:\n", True),
        (b"ada\nWeaving\nend:", False),
        (b"ada\nWeaving\nsend:\n", False),
        (b"ada\nend:\n", False),  # the status
        (b"AUTH t\nada\nend:\n", False),
        (b"end:\n", False),
    ],
)
def test_an_end_line_ends_a_request_that_has_its_two_lines(data: bytes, whole: bool):
    assert is_whole(data) is whole


LINES = st.text(st.characters(exclude_categories=["Cs"]))


@given(LINES, LINES, st.none() | LINES.map(str.strip), st.none() | LINES, st.booleans())
def test_encoded_requests_parse_to_the_same_request(
    user: str, status: str, until: str | None, token: str | None, ends: bool
):
    try:
        data = encode_request(user, status, until=until, token=token, ends=ends)
    except ValueError:
        assert {"\r", "\n", "\x85"} & set(user + status + (until or "") + (token or "")) or user.startswith("AUTH ")
        return
    try:
        assert parse_request(data) == SetRequest(user, status, until, token)
    except TooLongError:
        assert len(data) > NAME_LINE_LIMIT


def test_the_secret_is_not_in_the_repr():
    assert "ft_secret" not in repr(parse_request(b"AUTH ft_secret\nada\nx\n"))


@pytest.mark.parametrize(("user", "status"), [("mo\nshez", "x"), ("moshez\r", "x"), ("moshez", "x\ry")])
def test_the_client_cannot_be_made_to_send_another_line(user: str, status: str):
    with pytest.raises(ValueError, match="must each be one line"):
        encode_request(user, status)


def test_lone_surrogates_cannot_be_sent():
    with pytest.raises(ValueError, match="surrogates"):
        encode_request("moshez", "\ud800")


def test_an_error_is_one_line():
    assert encode_error("line too long") == b"ERROR line too long\r\n"
