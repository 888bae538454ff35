"""Parses and serializes XML-RPC messages. Sans-IO. The spec is https://xmlrpc.com/spec.md.

The standard library converts the values (`xmlrpc.client`), but its unmarshaller trusts its input, so a strict parser
stands in front of it. The parser rejects every DOCTYPE, and so every entity, and checks each element against the
grammar below before the unmarshaller sees it. The number of bytes, elements, open elements and digits is limited. Any
input costs a fixed number of passes over its bytes. Input that cannot be parsed raises XMLRPCError, whose code is the
fault to answer with.

Accepted beyond the spec: i8 and nil (bare, or with the prefix `ex:`), doubles with an exponent, space around numbers
and names, attributes, text where only elements belong (ignored). Sent: only the spec, except that a very large or very
small double has an exponent.

XML limits which text survives: CR LF is read as LF, and most control characters cannot be written.
"""

from __future__ import annotations

import math
import re
import xmlrpc.client
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, TypeAlias, cast
from xml.parsers import expat

from fingertrio.wire import ProtocolError
from fingertrio.wire.charset import xml_to_utf_8

# The longest legitimate call is a multicall of fifty; this is twenty times that.
BODY_LIMIT = 256 * 1024  # bytes

# Bounds the time: an element costs about a microsecond, a byte of text almost nothing. A body of BODY_LIMIT holds at
# most 33,000 elements; a longer response may list more than 20,000 users, with two elements each.
ELEMENT_LIMIT = 50_000

# Arrays and structs inside each other. A multicall needs three levels; each level adds three elements (value, array,
# data) to the five around them (the document, methodCall, params, param, value).
NESTING_LIMIT = 32
OPEN_LIMIT = 5 + 3 * NESTING_LIMIT

# 1.8e308 written in full, as by C's printf("%f"), has 316 characters.
DOUBLE_LIMIT = 400

METHOD_NAME_LIMIT = 255

Value: TypeAlias = "bool | int | float | str | bytes | datetime | Sequence[Value] | Mapping[str, Value] | None"


class FaultCode(IntEnum):
    """The codes of "Specification for Fault Code Interoperability", xmlrpc-epi.sourceforge.net."""

    NOT_WELL_FORMED = -32700  # also for XML features that are not allowed here: DOCTYPE, other encodings
    NOT_XMLRPC = -32600
    NO_SUCH_METHOD = -32601
    BAD_PARAMS = -32602
    INTERNAL = -32603
    APPLICATION = -32500


class XMLRPCError(ProtocolError):
    """The message is invalid. `code` is the fault code for the answer; the text repeats nothing of the message."""

    def __init__(self, code: FaultCode, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class MethodCall:
    """A call. Strings in `params` have LF for line ends and may contain any character that XML allows."""

    method: str
    params: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """An error answer: a code for programs and a text for people, both unchecked."""

    code: int
    text: str


# The grammar: state -> allowed element -> next state. An element starts in the state of its own name and may end only
# in a state of _COMPLETE. "call" and "response" are the states around the root element.
_SCALARS = ("int", "i4", "i8", "ex:i8", "boolean", "string", "double", "dateTime.iso8601", "base64", "nil", "ex:nil")
_GRAMMAR: Mapping[str, Mapping[str, str]] = {
    "call": {"methodCall": "full"},
    "methodCall": {"methodName": "named call"},
    "named call": {"params": "full"},
    "response": {"methodResponse": "full"},
    "methodResponse": {"params": "full", "fault": "full"},
    "params": {"param": "params"},
    "param": {"value": "full"},
    "fault": {"value": "full"},
    "value": dict.fromkeys((*_SCALARS, "array", "struct"), "full"),
    "array": {"data": "full"},
    "data": {"value": "data"},
    "struct": {"member": "struct"},
    "member": {"name": "named member"},
    "named member": {"value": "full"},
}
_NOTHING: Mapping[str, str] = {}
_COMPLETE = frozenset({*_SCALARS, "full", "named call", "methodName", "name", "params", "value", "data", "struct"})

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z")
_DOUBLE = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\Z")
_METHOD_NAME = re.compile(r"[A-Za-z0-9_.:/]{1,255}\Z")
_UNSENDABLE = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")  # XML 1.0, production 2; CR is replaced first
_LINE_END = re.compile("\r\n?")


def parse_call(body: bytes, charset: str | None = None) -> MethodCall:
    """The call in `body`, a complete <methodCall> document.

    Args:
        body: as received.
        charset: the parameter of the Content-Type, if there was one.

    Raises:
        XMLRPCError: with NOT_WELL_FORMED or NOT_XMLRPC.
    """
    reader = _read(body, charset, "call", BODY_LIMIT)
    method = reader.method().strip()
    if not 0 < len(method) <= METHOD_NAME_LIMIT:
        raise XMLRPCError(FaultCode.NOT_XMLRPC, f"a method name has 1 to {METHOD_NAME_LIMIT} characters")
    return MethodCall(method, reader.values())


def parse_response(body: bytes, charset: str | None = None, *, limit: int = BODY_LIMIT) -> Value | Fault:
    """The value or fault in `body`, a complete <methodResponse> document of at most `limit` bytes.

    Args:
        body: as received.
        charset: the parameter of the Content-Type, if there was one.
        limit: bytes of the body.

    Raises:
        XMLRPCError: the body contains neither.
    """
    reader = _read(body, charset, "response", limit)
    try:
        values = reader.values()
    except xmlrpc.client.Fault as fault:
        if type(fault.faultCode) is not int or type(fault.faultString) is not str:
            raise XMLRPCError(FaultCode.NOT_XMLRPC, "a fault has an int and a string") from None
        return Fault(fault.faultCode, fault.faultString)
    except TypeError as error:  # the fault's value is not a struct, or has other members
        raise XMLRPCError(FaultCode.NOT_XMLRPC, "a fault has an int and a string") from error
    if len(values) != 1:
        raise XMLRPCError(FaultCode.NOT_XMLRPC, "a response has exactly one value")
    return values[0]


def dump_call(method: str, params: Sequence[Value]) -> bytes:
    """A <methodCall> document.

    Lost: CR, control characters other than TAB and LF, microseconds. An aware datetime is sent in UTC, because the
    format has no time zone.

    Raises:
        ValueError: the method name is invalid, or XML-RPC cannot express one of `params`: None, integers of more than
            32 bits, infinity, deep nesting, objects.
    """
    if not _METHOD_NAME.match(method):
        raise ValueError("a method name is made of letters, digits and _ . : /")
    return _document("methodCall", f"<methodName>{method}</methodName>\n{_write(params)}")


def dump_response(value: Value) -> bytes:
    """A <methodResponse> document with `value`; losses and errors as for `dump_call`."""
    return _document("methodResponse", _write((value,)))


def dump_fault(code: int, text: str) -> bytes:
    """A <methodResponse> document with a fault."""
    fault = xmlrpc.client.Fault(int(code), _sendable(text, 0))
    return _document("methodResponse", xmlrpc.client.Marshaller().dumps(fault))


def _document(root: str, content: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>\n{content}</{root}>\n'.encode()


def _read(body: bytes, charset: str | None, root: str, limit: int) -> _Reader:
    if len(body) > limit:
        raise XMLRPCError(FaultCode.NOT_XMLRPC, f"more than {limit} bytes")
    try:
        body = xml_to_utf_8(body, charset)
    except ValueError as error:
        raise XMLRPCError(FaultCode.NOT_WELL_FORMED, str(error)) from error
    reader = _Reader(root)
    parser = expat.ParserCreate("utf-8")  # instead of the encoding that the document declares
    parser.buffer_text = True  # one call for a text instead of one for each line
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    # Unreachable without a DOCTYPE; a second check against entity bombs.
    parser.EntityDeclHandler = _refuse_doctype
    parser.ExternalEntityRefHandler = _refuse_doctype
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        where = f"line {error.lineno}, column {error.offset}"
        raise XMLRPCError(FaultCode.NOT_WELL_FORMED, f"{expat.ErrorString(error.code)}: {where}") from error
    except (ValueError, TypeError, IndexError) as error:  # raised by the unmarshaller
        raise XMLRPCError(FaultCode.NOT_XMLRPC, "a value does not match its type") from error
    return reader


def _refuse_doctype(*_declaration: object) -> int:
    raise XMLRPCError(FaultCode.NOT_WELL_FORMED, "a document type declaration is not allowed here")


class _Reader:
    """Passes expat's events to the standard unmarshaller after checking grammar and limits."""

    def __init__(self, root: str) -> None:
        self._target = xmlrpc.client.Unmarshaller(use_builtin_types=True)
        self._target.xml("", None)  # no encoding: expat has decoded the text already
        self._open = [root]
        self._elements = 0
        self._text: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        after = _GRAMMAR.get(self._open[-1], _NOTHING).get(tag)
        if after is None:
            raise XMLRPCError(FaultCode.NOT_XMLRPC, "unexpected element")
        self._elements += 1
        if self._elements > ELEMENT_LIMIT:
            raise XMLRPCError(FaultCode.NOT_XMLRPC, f"more than {ELEMENT_LIMIT} elements")
        if len(self._open) > OPEN_LIMIT:
            raise XMLRPCError(FaultCode.NOT_XMLRPC, "nested too deeply")
        self._open[-1] = after
        self._open.append(tag)
        self._text.clear()
        self._target.start(tag, attributes)

    def data(self, text: str) -> None:
        self._text.append(text)

    def end(self, tag: str) -> None:
        if self._open.pop() not in _COMPLETE:
            raise XMLRPCError(FaultCode.NOT_XMLRPC, "incomplete element")
        text = "".join(self._text)
        if (check := _CHECKS.get(tag)) is not None:
            text = check(text)
        self._target.end_dispatch(tag, text)

    def values(self) -> tuple[Value, ...]:
        """The parameters of a call, or the value of a response. Raises xmlrpc.client.Fault, TypeError for a fault."""
        return cast("tuple[Value, ...]", self._target.close())  # built-in types only (use_builtin_types)

    def method(self) -> str:
        return self._target.getmethodname() or ""


def _integer(bits: int) -> Callable[[str], str]:
    """A check for integers of that size. It limits the digits before they are converted."""
    bound = 1 << (bits - 1)

    def check(text: str) -> str:
        text = text.strip()
        if not _INTEGER.match(text) or not -bound <= int(text) < bound:
            raise XMLRPCError(FaultCode.NOT_XMLRPC, f"not a valid integer, or out of range for {bits} bits")
        return text

    return check


def _double(text: str) -> str:
    text = text.strip()
    if len(text) > DOUBLE_LIMIT or not _DOUBLE.match(text) or math.isinf(float(text)):
        raise XMLRPCError(FaultCode.NOT_XMLRPC, "not a valid double, or out of range")
    return text


# Checks for types where the standard unmarshaller accepts too much: "1_000", "nan" and integers of any length.
_CHECKS: Mapping[str, Callable[[str], str]] = {
    "int": _integer(32),
    "i4": _integer(32),
    "i8": _integer(64),
    "ex:i8": _integer(64),
    "double": _double,
    "dateTime.iso8601": str.strip,
}


def _write(values: Sequence[Value]) -> str:
    try:
        return xmlrpc.client.Marshaller().dumps([_sendable(value, NESTING_LIMIT) for value in values])
    except (TypeError, OverflowError) as error:  # raised by the marshaller
        raise ValueError(f"XML-RPC cannot express this value: {error}") from error


def _sendable(value: Value, depth: int) -> Any:
    """`value` in types for the standard marshaller, without characters that would make the XML invalid."""
    match value:
        case str():
            return _UNSENDABLE.sub("", _LINE_END.sub("\n", value))
        case float() if not math.isfinite(value):
            raise ValueError("XML-RPC cannot express infinity or NaN")
        case datetime(tzinfo=zone) if zone is not None:
            return value.astimezone(UTC)
        case Mapping() | list() | tuple() if depth == 0:  # also stops cycles
            raise ValueError(f"XML-RPC values may be nested at most {NESTING_LIMIT} deep")
        case Mapping():
            return {_sendable(name, 0): _sendable(member, depth - 1) for name, member in value.items()}
        case list() | tuple():
            return [_sendable(item, depth - 1) for item in value]
        case bool() | int() | float() | bytes() | datetime():
            return value
        case _:  # the marshaller would send all attributes of any object
            raise ValueError(f"XML-RPC cannot express {type(value).__name__}")
