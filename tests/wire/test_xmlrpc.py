"""XML-RPC messages, with Python's xmlrpc.client as the independent peer. Bombs get a fault in a limited time."""

from __future__ import annotations

import contextlib
import time
import xmlrpc.client
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.xmlrpc import (
    BODY_LIMIT,
    NESTING_LIMIT,
    Fault,
    FaultCode,
    MethodCall,
    Value,
    XMLRPCError,
    dump_call,
    dump_fault,
    dump_response,
    parse_call,
    parse_response,
)


def call_of(params: str | bytes) -> bytes:
    inner = params.encode() if isinstance(params, str) else params
    return b"<methodCall><methodName>getUser</methodName><params>" + inner + b"</params></methodCall>"


def value_of(xml: str) -> Value:
    (value,) = parse_call(call_of(f"<param><value>{xml}</value></param>")).params
    return value


def refusal(body: bytes, parse: Callable[[bytes], object] = parse_call) -> FaultCode:
    with pytest.raises(XMLRPCError) as caught:
        parse(body)
    assert str(caught.value).isprintable()
    return caught.value.code


# Values that every XML-RPC can express: no CR (XML reads it as LF), no control characters, no microseconds, 32 bits.
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\ufffe\uffff", min_codepoint=0x20)
    | st.sampled_from("\t\n")
)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
    st.binary(),
    st.datetimes().map(lambda moment: moment.replace(microsecond=0)),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5), max_leaves=20
)


# What it reads


def test_a_call() -> None:
    assert parse_call(call_of("<param><value><string>moshez</string></value></param>")) == MethodCall(
        "getUser", ("moshez",)
    )


@pytest.mark.parametrize("params", ["", "<params/>", "<params></params>"])
def test_a_call_without_parameters(params: str) -> None:
    assert parse_call(f"<methodCall><methodName>getUsers</methodName>{params}</methodCall>".encode()).params == ()


@pytest.mark.parametrize(
    ("xml", "value"),
    [
        ("<int>1</int>", 1),
        ("<i4>-2147483648</i4>", -(2**31)),
        ("<i4> +7\n</i4>", 7),
        ("<i8>9223372036854775807</i8>", 2**63 - 1),
        ("<ex:i8>1</ex:i8>", 1),
        ("<boolean>1</boolean>", True),
        ("<boolean>0</boolean>", False),
        ("<string>a &lt; b</string>", "a < b"),
        ("<string/>", ""),
        ("<string><![CDATA[<b>]]></string>", "<b>"),
        ("no type means string", "no type means string"),
        ("", ""),
        ("<double>-12.53</double>", -12.53),
        ("<double>.5</double>", 0.5),
        ("<double>1e+22</double>", 1e22),
        (
            "<dateTime.iso8601>19980717T14:08:55</dateTime.iso8601>",
            datetime.fromisoformat("1998-07-17T14:08:55"),  # the format has no time zone
        ),
        ("<base64>\nSGFwcHkg\nYW5kIHdlbGw=\n</base64>", b"Happy and well"),
        ("<nil/>", None),
        ("<ex:nil/>", None),
        ("<array><data/></array>", []),
        ("<array><data><value>a</value><value><int>1</int></value></data></array>", ["a", 1]),
        ("<struct/>", {}),
        ("<struct><member><name>a</name><value>b</value></member></struct>", {"a": "b"}),
        ("\n  <array>\n <data>\n <value>\n<int>1</int>\n</value>\n</data>\n</array>\n", [1]),
    ],
)
def test_every_type_is_read(xml: str, value: Value) -> None:
    read = value_of(xml)
    assert read == value
    assert type(read) is type(value)


@given(values)
def test_what_the_standard_library_sends_is_read(value: Any) -> None:
    assert parse_call(xmlrpc.client.dumps((value, value), "getUser").encode()) == MethodCall("getUser", (value, value))
    assert parse_response(xmlrpc.client.dumps((value,), methodresponse=True).encode()) == value


@pytest.mark.parametrize("encoding", ["utf-8", "utf8", "us-ascii", "iso-8859-1", "latin1", "koi8-r", "utf-16"])
def test_a_declared_encoding(encoding: str) -> None:
    text = {"us-ascii": "plain", "koi8-r": "\u0442\u0438\u0445\u043e"}.get(encoding, "B\u00fccher")
    body = f"<?xml version='1.0' encoding='{encoding}'?>" + call_of(f"<param><value>{text}</value></param>").decode()
    assert parse_call(body.encode(encoding)).params == (text,)


def test_the_charset_of_the_content_type_counts_before_the_declaration() -> None:
    call = call_of("<param><value>zo\u00eb</value></param>").decode()
    assert parse_call(call.encode("latin-1"), "ISO-8859-1").params == ("zo\u00eb",)
    assert parse_call(b'<?xml version="1.0" encoding="utf-8"?>' + call.encode("latin-1"), "latin1").params == (
        "zo\u00eb",
    )
    response = dump_response("zo\u00eb").decode().encode("cp1252")
    assert parse_response(response, "windows-1252") == "zo\u00eb"
    assert refusal(call.encode("latin-1"), lambda body: parse_call(body, "utf-8")) is FaultCode.NOT_WELL_FORMED


def test_crlf_in_a_string_is_read_as_lf() -> None:
    assert value_of("<string>a\r\nb\rc</string>") == "a\nb\nc"


# What it refuses


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"getUser moshez\r\n",
        b"<methodCall>",
        call_of("<param><value>&nbsp;</value></param>"),
        call_of("<param><value>\x01</value></param>"),
        call_of("<param><value>&#1;</value></param>"),
        call_of(b"<param><value>\xff\xfe</value></param>"),
        call_of("<param></value></param>"),
        call_of("") + b"<methodCall/>",
        b'<?xml version="1.0" encoding="nonsense"?>' + call_of(""),
        b'<?xml version="1.0" encoding="utf-7"?>' + call_of(""),
        b'<?xml version="1.0" encoding="us-ascii"?>'
        + call_of("<param><value>\xc3\xbc</value></param>".encode("latin-1")),
        b'<?xml version="1.0" encoding="unicode_escape"?>' + call_of(""),
        b"<!DOCTYPE methodCall>" + call_of(""),
        b'<!DOCTYPE methodCall SYSTEM "http://127.0.0.1:1/x.dtd">' + call_of(""),
        b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + call_of("<param><value>&e;</value></param>"),
    ],
)
def test_what_is_no_xml_or_more_xml_than_we_take_is_a_parse_error(body: bytes) -> None:
    assert refusal(body) is FaultCode.NOT_WELL_FORMED


@pytest.mark.parametrize(
    "body",
    [
        b"<html/>",
        b"<methodCall/>",
        b"<methodCall><methodName/></methodCall>",
        b"<methodCall><methodName> </methodName></methodCall>",
        b"<methodCall><methodName>" + b"x" * 256 + b"</methodName></methodCall>",
        b"<methodCall><params/><methodName>getUser</methodName></methodCall>",
        b"<methodCall><methodName>a</methodName><methodName>b</methodName></methodCall>",
        b"<methodCall><methodName>a</methodName><params/><params/></methodCall>",
        b"<methodResponse><params><param><value/></param></params></methodResponse>",
        call_of("<value/>"),
        call_of("<param/>"),
        call_of("<param><value/><value/></param>"),
        call_of("<param><value><int>1</int><int>2</int></value></param>"),
        call_of("<param><value><array/></value></param>"),
        call_of("<param><value><array><value/></array></value></param>"),
        call_of("<param><value><struct><member><name>a</name></member></struct></value></param>"),
        call_of("<param><value><struct><member><value/><name>a</name></member></struct></value></param>"),
        call_of("<param><value><biginteger>1</biginteger></value></param>"),
        call_of("<param><value><string><b>x</b></string></value></param>"),
    ],
)
def test_what_is_xml_but_not_xml_rpc_is_an_invalid_request(body: bytes) -> None:
    assert refusal(body) is FaultCode.NOT_XMLRPC


@pytest.mark.parametrize(
    "xml",
    [
        "<int/>",
        "<int>x</int>",
        "<int>1.0</int>",
        "<int>1_000</int>",
        "<int>٣</int>",
        "<int>2147483648</int>",
        "<i8>9223372036854775808</i8>",
        "<int>00000000000000000001</int>",
        "<boolean>true</boolean>",
        "<boolean>2</boolean>",
        "<double>nan</double>",
        "<double>inf</double>",
        "<double>1e999</double>",
        "<double>1_0</double>",
        "<double>.</double>",
        f"<double>{'0' * 400}1</double>",
        "<dateTime.iso8601>yesterday</dateTime.iso8601>",
        "<dateTime.iso8601>19981317T14:08:55</dateTime.iso8601>",
        "<base64>A</base64>",
        "<base64>ü</base64>",
    ],
)
def test_a_value_that_is_none_of_its_type_is_an_invalid_request(xml: str) -> None:
    with pytest.raises(XMLRPCError) as caught:
        value_of(xml)
    assert caught.value.code is FaultCode.NOT_XMLRPC


def test_nesting_is_limited_to_what_the_constant_says() -> None:
    def nested(levels: int) -> str:
        return "<array><data><value>" * levels + "<int>1</int>" + "</value></data></array>" * levels

    value = value_of(nested(NESTING_LIMIT))
    assert dump_response(value)
    with pytest.raises(XMLRPCError):
        value_of(nested(NESTING_LIMIT + 1))
    with pytest.raises(ValueError, match="nested"):
        dump_response([value])


def test_a_response_may_be_longer_than_a_call_where_its_reader_says_so() -> None:
    users = [f"user{number:05}" for number in range(20_000)]
    body = dump_response(users)
    assert len(body) > BODY_LIMIT
    assert refusal(body, parse_response) is FaultCode.NOT_XMLRPC
    assert parse_response(body, limit=1024 * 1024) == users


@pytest.mark.speed
def test_the_elements_of_a_long_response_are_limited() -> None:
    values = b"<value/>" * 60_000
    body = b"<methodResponse><params>" + ARRAY + values + END + b"</params></methodResponse>"
    started = time.process_time()
    assert refusal(body, lambda body: parse_response(body, limit=1024 * 1024)) is FaultCode.NOT_XMLRPC
    assert time.process_time() - started < 0.2


def filled(unit: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    """As many `unit` as a body can hold."""
    return call_of(before + unit * ((BODY_LIMIT - len(call_of(before + after))) // len(unit)) + after)


ARRAY, END = b"<param><value><array><data>", b"</data></array></value></param>"
STRUCT, STRUCT_END = b"<param><value><struct>", b"</struct></value></param>"
LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (level, b"&l%d;" % (level - 1) * 10) for level in range(1, 10))
BIG = b"A" * 100_000
PARSE, INVALID = FaultCode.NOT_WELL_FORMED, FaultCode.NOT_XMLRPC
BOMBS: dict[str, tuple[bytes, FaultCode | None]] = {  # None: a valid call with very many empty elements
    "billion laughs": (b'<!DOCTYPE l [<!ENTITY l0 "lol">%s]>' % LAUGHS + call_of("<param><value>&l9;"), PARSE),
    "quadratic entity": (b'<!DOCTYPE l [<!ENTITY l "%s">]>' % BIG + call_of(b"<param><value>" + b"&l;" * 9999), PARSE),
    "20,000 unknown elements in each other": (b"<a>" * 20_000 + b"</a>" * 20_000, INVALID),
    "arrays in each other": (call_of(b"<param>" + b"<value><array><data>" * 13_000), INVALID),
    "structs in each other": (call_of(b"<param>" + b"<value><struct><member><name/>" * 8_000), INVALID),
    "an int of 5,000 digits": (call_of(b"<param><value><int>" + b"9" * 5000 + b"</int></value></param>"), INVALID),
    "an int of 250,000 digits": (call_of(b"<param><value><i8>" + b"9" * 250_000 + b"</i8></value></param>"), INVALID),
    "a long double": (call_of(b"<param><value><double>" + b"9" * 250_000 + b"</double></value></param>"), INVALID),
    "spaces before an int": (call_of(b"<param><value><int>" + b" " * 250_000 + b"x</int></value></param>"), INVALID),
    "almost doubles": (filled(b"<value><double>" + b"1" * 399 + b"x</double></value>", ARRAY, END), INVALID),
    "attributes": (b"<methodCall %s/>" % b" ".join(b'a%d=""' % number for number in range(20_000)), INVALID),
    "100,000 parameters": (call_of(b"<param><value/></param>" * 100_000), INVALID),  # too large
    "parameters": (filled(b"<param><value/></param>"), None),
    "values": (filled(b"<value/>", ARRAY, END), None),
    "arrays": (filled(b"<value><array><data/></array></value>", ARRAY, END), None),
    "members": (filled(b"<member><name/><value/></member>", STRUCT, STRUCT_END), None),
    "dates": (filled(b"<value><dateTime.iso8601>19980717T14:08:55</dateTime.iso8601></value>", ARRAY, END), None),
    "line ends": (call_of(b"<param><value>" + b"\n" * 250_000 + b"</value></param>"), None),
    "character references": (call_of(b"<param><value>" + b"&#10;" * 50_000 + b"</value></param>"), None),
    "comments": (call_of(b"<!---->" * 37_000), None),
}  # fmt: skip


@pytest.mark.speed
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_has_its_fault_and_costs_a_tenth_of_a_second_at_most(name: str) -> None:
    body, code = BOMBS[name]
    seconds = []
    for _ in range(3):  # the best of three, because of other load
        started = time.process_time()
        if code is None:
            assert parse_call(body).method == "getUser"
        else:
            assert refusal(body) is code
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.1


def test_the_bombs_are_no_larger_than_a_body_may_be() -> None:
    assert {name for name, (body, _) in BOMBS.items() if len(body) > BODY_LIMIT} == {"100,000 parameters"}


@given(st.binary())
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    for parse in (parse_call, parse_response):
        with contextlib.suppress(XMLRPCError):
            parse(body)


_TAGS = (
    *("methodCall", "methodName", "methodResponse", "params", "param", "fault", "value"),
    *("int", "boolean", "string", "double", "dateTime.iso8601", "base64", "nil"),
    *("array", "data", "struct", "member", "name"),
)
_PIECES = st.sampled_from(
    [f"<{tag}>" for tag in _TAGS]
    + [f"</{tag}>" for tag in _TAGS]
    + [f"<{tag}/>" for tag in _TAGS]
    + ["1", "x", "faultCode", " "]
)
_TREES = st.recursive(
    st.sampled_from(["", "1", "x", "faultCode", "19980717T14:08:55", "AAAA"]),
    lambda inner: st.builds(
        lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>", st.sampled_from(_TAGS), st.lists(inner, max_size=3)
    ),
)


@given(st.lists(_PIECES, max_size=30).map("".join) | _TREES)
def test_any_elements_in_any_order_are_parsed_or_refused(inner: str) -> None:
    bodies = (
        inner,
        f"<methodResponse>{inner}</methodResponse>",
        call_of(inner).decode(),
        call_of(f"<param><value>{inner}</value></param>").decode(),
    )
    for body in bodies:
        for parse in (parse_call, parse_response):
            with contextlib.suppress(XMLRPCError):
                parse(body.encode())


@given(st.data(), values)
def test_a_damaged_message_is_parsed_or_refused(data: st.DataObject, value: Value) -> None:
    body = bytearray(dump_response(value))
    position = data.draw(st.integers(0, len(body) - 1))
    body[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(XMLRPCError):
        parse_response(bytes(body))


# Responses and faults


def test_a_fault_is_a_value() -> None:
    assert parse_response(dump_fault(FaultCode.BAD_PARAMS, "one\r\ntwo\x00")) == Fault(-32602, "one\ntwo")


@pytest.mark.parametrize(
    "fault",
    [
        "<value/>",
        "<value><struct/></value>",
        "<value><struct><member><name>faultCode</name><value><int>1</int></value></member></struct></value>",
        (
            "<value><struct><member><name>faultCode</name><value>1</value></member>"
            "<member><name>faultString</name><value>no int</value></member></struct></value>"
        ),
        "<value><struct><member><name>self</name><value>1</value></member></struct></value>",
    ],
)
def test_a_fault_without_code_or_text_is_refused(fault: str) -> None:
    body = f"<methodResponse><fault>{fault}</fault></methodResponse>".encode()
    assert refusal(body, parse_response) is FaultCode.NOT_XMLRPC


@pytest.mark.parametrize("params", ["<params/>", "<params><param><value/></param><param><value/></param></params>", ""])
def test_a_response_holds_exactly_one_value(params: str) -> None:
    assert refusal(f"<methodResponse>{params}</methodResponse>".encode(), parse_response) is FaultCode.NOT_XMLRPC


# What it sends


@given(values)
def test_what_is_sent_is_read_by_us_and_by_the_standard_library(value: Value) -> None:
    assert parse_response(dump_response(value)) == value
    assert parse_call(dump_call("a.b:c/D_1", [value, value])) == MethodCall("a.b:c/D_1", (value, value))
    for body, method in ((dump_response(value), None), (dump_call("getUser", [value]), "getUser")):
        assert xmlrpc.client.loads(body, use_builtin_types=True) == ((value,), method)


def test_what_is_sent_is_utf_8_and_says_so() -> None:
    for body in (dump_response("Bücher"), dump_fault(1, "Bücher"), dump_call("a", ["Bücher"])):
        assert body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n')
        assert "Bücher".encode() in body


def test_a_fault_is_read_by_the_standard_library() -> None:
    with pytest.raises(xmlrpc.client.Fault) as caught:
        xmlrpc.client.loads(dump_fault(FaultCode.APPLICATION, "gone & <lost>"))
    assert (caught.value.faultCode, caught.value.faultString) == (-32500, "gone & <lost>")


@given(st.text(), st.text())
def test_any_text_is_sent_so_that_it_can_be_read(name: str, text: str) -> None:
    read = parse_response(dump_response({name: text}))
    assert isinstance(read, dict)
    assert all(char in text or char == "\n" for char in read.popitem()[1])


def test_characters_that_xml_cannot_carry_are_left_out() -> None:
    assert parse_response(dump_response("a\x00\x1b[31m\x7f\ud800\ufffe\tb\r\nc\rd")) == "a[31m\x7f\tb\nc\nd"


def test_an_aware_time_goes_out_in_utc() -> None:
    moment = datetime(2024, 5, 1, 14, 30, 5, 999, tzinfo=timezone(timedelta(hours=2)))
    assert parse_response(dump_response(moment)) == datetime(2024, 5, 1, 12, 30, 5, tzinfo=UTC).replace(tzinfo=None)


class Thing:
    def __init__(self) -> None:
        self.password = "secret"

    def __repr__(self) -> str:
        return "Thing()"  # the same in each process: pytest-xdist compares the names of tests


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [
        None,
        2**31,
        -(2**31) - 1,
        float("nan"),
        float("inf"),
        Thing(),
        {1: "a"},
        {("a",): "b"},
        CYCLE,
        {"a": CYCLE},
        [Thing()],
        {"a"},
    ],
    ids=str,
)
def test_what_xml_rpc_has_no_words_for_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match="XML-RPC"):
        dump_response(value)


@pytest.mark.parametrize("method", ["", "get user", "a</methodName>", "a" * 256, "über", "a\n"])
def test_no_method_is_called_so(method: str) -> None:
    with pytest.raises(ValueError, match="method name"):
        dump_call(method, [])
