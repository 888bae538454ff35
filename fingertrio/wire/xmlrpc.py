"""XML-RPC messages: bytes in, values out, and back. The spec is https://xmlrpc.com/spec.md.

The standard library converts the values (`xmlrpc.client`); its unmarshaller believes whatever it is told, so a parser
stands in front of it that does not. That parser refuses every DOCTYPE, and with it every entity; takes a document's
word for its encoding only where expat itself knows it; and holds each element against the grammar below before the
unmarshaller hears of it. Bounded are the bytes, the elements, how many of them are open, and the digits of a number:
one pass over the bytes is all that any input costs, and what cannot be parsed raises XMLRPCError, whose code is the
fault to answer with.

Accepted beyond the spec: i8 and nil (bare, or with the prefix `ex:`), doubles with an exponent, space around numbers
and names, attributes, text where only elements belong (ignored). Sent: the spec and nothing else, except that a very
large or very small double has an exponent.

XML decides what text survives: CR LF is read as LF, and most control characters cannot be written at all.
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

# The longest honest call is a multicall of fifty; this is twenty times that.
BODY_LIMIT = 256 * 1024  # bytes

# What bounds the time: an element costs about a microsecond, a byte of text next to nothing. A body of BODY_LIMIT holds
# no more than 33,000; a longer response may list more than 20,000 users, at two elements each.
ELEMENT_LIMIT = 50_000

# Arrays and structs within each other. A multicall needs three; each adds three elements (value, array, data) to the
# five that stand around them (the document, methodCall, params, param, value).
NESTING_LIMIT = 32
OPEN_LIMIT = 5 + 3 * NESTING_LIMIT

# 1.8e308 written out in full, as C's printf("%f") does it, is 316 characters.
DOUBLE_LIMIT = 400

METHOD_NAME_LIMIT = 255

Value: TypeAlias = "bool | int | float | str | bytes | datetime | Sequence[Value] | Mapping[str, Value] | None"


class FaultCode(IntEnum):
    """The codes that servers agreed upon, http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php."""

    NOT_WELL_FORMED = -32700  # and what we do not let XML do: DOCTYPE, foreign encodings
    NOT_XMLRPC = -32600
    NO_SUCH_METHOD = -32601
    BAD_PARAMS = -32602
    INTERNAL = -32603
    APPLICATION = -32500


class XMLRPCError(ProtocolError):
    """The message cannot be taken. `code` is what a server answers it with; the text repeats nothing of the message."""

    def __init__(self, code: FaultCode, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class MethodCall:
    """What was called. A string among `params` has LF for line ends and may hold any character that XML can carry."""

    method: str
    params: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """The answer that is an error: a number for programs and a text for people, neither of them checked further."""

    code: int
    text: str


# The grammar: in this state, that element may come, and leads to this state. An element begins in the state that bears
# its name; it may end only in a state of _COMPLETE. "call" and "response" stand for what surrounds the root.
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

# The encodings that expat reads by itself. For any other it would import the Python codec of that name.
_ENCODINGS = frozenset({"utf-8", "us-ascii", "iso-8859-1", "utf-16", "utf-16le", "utf-16be"})

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z")
_DOUBLE = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\Z")
_METHOD_NAME = re.compile(r"[A-Za-z0-9_.:/]{1,255}\Z")
_UNSENDABLE = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")  # XML 1.0, production 2; CR is gone by then
_LINE_END = re.compile("\r\n?")


def parse_call(body: bytes) -> MethodCall:
    """The call in `body`, a whole <methodCall> document.

    Raises:
        XMLRPCError: NOT_WELL_FORMED or NOT_XMLRPC.
    """
    reader = _read(body, "call", BODY_LIMIT)
    method = reader.method().strip()
    if not 0 < len(method) <= METHOD_NAME_LIMIT:
        raise XMLRPCError(FaultCode.NOT_XMLRPC, f"a method name has 1 to {METHOD_NAME_LIMIT} characters")
    return MethodCall(method, reader.values())


def parse_response(body: bytes, *, limit: int = BODY_LIMIT) -> Value | Fault:
    """What `body`, a whole <methodResponse> document of at most `limit` bytes, answers: a value or a fault.

    Raises:
        XMLRPCError: it is neither.
    """
    reader = _read(body, "response", limit)
    try:
        values = reader.values()
    except xmlrpc.client.Fault as fault:
        if type(fault.faultCode) is not int or type(fault.faultString) is not str:
            raise XMLRPCError(FaultCode.NOT_XMLRPC, "a fault holds an int and a string") from None
        return Fault(fault.faultCode, fault.faultString)
    except TypeError as error:  # the fault's value is no struct, or has other members
        raise XMLRPCError(FaultCode.NOT_XMLRPC, "a fault holds an int and a string") from error
    if len(values) != 1:
        raise XMLRPCError(FaultCode.NOT_XMLRPC, "a response holds one value")
    return values[0]


def dump_call(method: str, params: Sequence[Value]) -> bytes:
    """A <methodCall> document.

    What is lost on the way: CR, control characters other than TAB and LF, microseconds; an aware datetime goes out in
    UTC, since the format has no time zone.

    Raises:
        ValueError: no method is called so, or XML-RPC has no words for one of `params`: None, integers of more than 32
            bits, infinity, deep nesting, objects.
    """
    if not _METHOD_NAME.match(method):
        raise ValueError("a method name is made of letters, digits and _ . : /")
    return _document("methodCall", f"<methodName>{method}</methodName>\n{_write(params)}")


def dump_response(value: Value) -> bytes:
    """A <methodResponse> document that answers `value`; losses and errors as for `dump_call`."""
    return _document("methodResponse", _write((value,)))


def dump_fault(code: int, text: str) -> bytes:
    """A <methodResponse> document that answers a fault."""
    fault = xmlrpc.client.Fault(int(code), _sendable(text, 0))
    return _document("methodResponse", xmlrpc.client.Marshaller().dumps(fault))


def _document(root: str, content: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>\n{content}</{root}>\n'.encode()


def _read(body: bytes, root: str, limit: int) -> _Reader:
    if len(body) > limit:
        raise XMLRPCError(FaultCode.NOT_XMLRPC, f"more than {limit} bytes")
    reader = _Reader(root)
    parser = expat.ParserCreate()
    parser.buffer_text = True  # one call for a text instead of one for each of its lines
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.XmlDeclHandler = _check_encoding
    parser.StartDoctypeDeclHandler = _refuse_doctype
    # Cannot be reached without a DOCTYPE: a second lock on the door through which the bombs come.
    parser.EntityDeclHandler = _refuse_doctype
    parser.ExternalEntityRefHandler = _refuse_doctype
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        where = f"line {error.lineno}, column {error.offset}"
        raise XMLRPCError(FaultCode.NOT_WELL_FORMED, f"{expat.ErrorString(error.code)}: {where}") from error
    except (ValueError, TypeError, IndexError) as error:  # how the unmarshaller says no
        raise XMLRPCError(FaultCode.NOT_XMLRPC, "a value that is none of its type") from error
    return reader


def _check_encoding(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding is not None and encoding.lower() not in _ENCODINGS:
        raise XMLRPCError(FaultCode.NOT_WELL_FORMED, "the encoding is not supported: use UTF-8")


def _refuse_doctype(*_declaration: object) -> int:
    raise XMLRPCError(FaultCode.NOT_WELL_FORMED, "a document type declaration is not allowed here")


class _Reader:
    """What expat reports goes through here to the standard unmarshaller, if grammar and limits let it pass."""

    def __init__(self, root: str) -> None:
        self._target = xmlrpc.client.Unmarshaller(use_builtin_types=True)
        self._target.xml(None, None)  # type: ignore[arg-type]  # None: expat decodes the text, as in ExpatParser
        self._open = [root]
        self._elements = 0
        self._text: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        after = _GRAMMAR.get(self._open[-1], _NOTHING).get(tag)
        if after is None:
            raise XMLRPCError(FaultCode.NOT_XMLRPC, "an element where XML-RPC has none of this name")
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
            raise XMLRPCError(FaultCode.NOT_XMLRPC, "an element that lacks a part")
        text = "".join(self._text)
        if (check := _CHECKS.get(tag)) is not None:
            text = check(text)
        self._target.end_dispatch(tag, text)

    def values(self) -> tuple[Value, ...]:
        """The parameters of a call, or the value of a response. Raises xmlrpc.client.Fault, TypeError for a fault."""
        return cast("tuple[Value, ...]", self._target.close())  # built-in types only, as asked for above

    def method(self) -> str:
        return self._target.getmethodname() or ""


def _integer(bits: int) -> Callable[[str], str]:
    """A check for integers of that size. It counts the digits before anything converts them."""
    bound = 1 << (bits - 1)

    def check(text: str) -> str:
        text = text.strip()
        if not _INTEGER.match(text) or not -bound <= int(text) < bound:
            raise XMLRPCError(FaultCode.NOT_XMLRPC, f"an integer that is none, or does not fit in {bits} bits")
        return text

    return check


def _double(text: str) -> str:
    text = text.strip()
    if len(text) > DOUBLE_LIMIT or not _DOUBLE.match(text) or math.isinf(float(text)):
        raise XMLRPCError(FaultCode.NOT_XMLRPC, "a double that is none, or too large")
    return text


# What the standard unmarshaller would take too much of: it reads "1_000", "nan" and integers of any length.
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
    except (TypeError, OverflowError) as error:  # how the marshaller says no
        raise ValueError(f"XML-RPC has no words for this value: {error}") from error


def _sendable(value: Value, depth: int) -> Any:
    """`value` in the types that the standard marshaller knows, without what it would write and no parser read."""
    match value:
        case str():
            return _UNSENDABLE.sub("", _LINE_END.sub("\n", value))
        case float() if not math.isfinite(value):
            raise ValueError("XML-RPC has neither infinity nor NaN")
        case datetime(tzinfo=zone) if zone is not None:
            return value.astimezone(UTC)
        case Mapping() | list() | tuple() if depth == 0:  # ends cycles, too
            raise ValueError(f"XML-RPC values are nested {NESTING_LIMIT} deep at most here")
        case Mapping():
            return {_sendable(name, 0): _sendable(member, depth - 1) for name, member in value.items()}
        case list() | tuple():
            return [_sendable(item, depth - 1) for item in value]
        case bool() | int() | float() | bytes() | datetime():
            return value
        case _:  # the marshaller would send any object, with all its attributes
            raise ValueError(f"XML-RPC has no words for {type(value).__name__}")
