"""XML-RPC without a transport: the bytes of a call in, the bytes of a response out. Failures are fault responses.

The methods are a table of `Method`. The dispatcher adds introspection (system.*) and system.multicall. It knows neither
HTTP nor finger.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, zip_longest

import trio

from fingertrio.backend import INTERNAL_ERROR, BackendError
from fingertrio.observe.observer import Observer
from fingertrio.service.cache import Answer
from fingertrio.wire.text import clean_line
from fingertrio.wire.xmlrpc import Fault, FaultCode, Value, XMLRPCError, dump_fault, dump_response, parse_call

MULTICALL_LIMIT = 50  # calls

# Characters of all results of a multicall, elements included: fifty of the longest statuses, or a few long lists of
# users. Without this limit, a request of 5 kB could return the whole list of users fifty times.
MULTICALL_ANSWER_LIMIT = 1024 * 1024
_ELEMENT_SIZE = 40  # <value><string></string></value>

# Seconds for all calls of a multicall, which run one after the other: twice the service's deadline for one call.
MULTICALL_DEADLINE = 10.0

_ASKED_LIMIT = 200  # characters of a call that are logged

_NO_SUCH_METHOD = "no such method; system.listMethods returns all names"

_PYTHON_TYPES: Mapping[str, type] = {"string": str, "int": int, "boolean": bool, "array": list, "struct": dict}

# Some of these pages no longer exist, but clients identify the specifications by these URLs.
_CAPABILITIES: Mapping[str, Value] = {
    name: {"specUrl": url, "specVersion": version}
    for name, url, version in (
        ("xmlrpc", "http://www.xmlrpc.com/spec", 1),
        ("faults_interop", "http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php", 20010516),
        ("introspection", "http://xmlrpc-c.sourceforge.net/introspection.html", 1),
        ("system.multicall", "http://www.xmlrpc.com/discuss/msgReader$1208", 1),
    )
}


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of a call.

    Attributes:
        value: the result.
        outcome: the outcome to log: "ok", "list", "unknown", "bad" or "error".
        document: the <methodResponse> for `value`, if the method has one to share among its callers.
        source: what alone decides the result, so that it may be repeated while that holds.
    """

    value: Value | Fault
    outcome: str = "ok"
    document: bytes | None = None
    source: Answer[object] | None = None


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The response to a call, and what to log about it.

    Attributes:
        body: a <methodResponse> document.
        asked: the method and all strings in its parameters; empty if the call could not be parsed.
        outcome, source: see `Reply`.
    """

    body: bytes
    asked: str
    outcome: str
    source: Answer[object] | None = None


_TOO_LONG = Reply(Fault(FaultCode.APPLICATION, "the results of these calls are too long together"), "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method.

    Attributes:
        name: on the wire.
        returns: the XML-RPC type of the result.
        params: the XML-RPC types of the parameters, keys of _PYTHON_TYPES; checked before `handler` is called.
        optional: the types of parameters that may follow.
        help: one line for people.
        handler: called with the parameters. XMLRPCError and BackendError become faults with their message, other
            exceptions a fault without details.
    """

    name: str
    returns: str
    params: tuple[str, ...]
    help: str
    handler: Callable[..., Awaitable[Reply]]
    optional: tuple[str, ...] = ()

    @property
    def signatures(self) -> list[list[str]]:
        """The type of the result and of each parameter, for each number of parameters that it takes."""
        kinds = [self.returns, *self.params, *self.optional]
        return [kinds[: 1 + len(self.params) + more] for more in range(len(self.optional) + 1)]


class XMLRPCDispatcher:
    """Dispatches calls to `methods` and system.*. Stateless; one instance serves the whole application.

    Parsing a body of the maximum size can block the event loop for 20 ms. So bodies that arrive together are parsed one
    at a time, and other tasks run in between.
    """

    def __init__(self, methods: Iterable[Method], observer: Observer | None = None) -> None:
        self._observer = observer or Observer()
        self._parsing = trio.Lock()
        self._methods = {method.name: method for method in (*methods, *self._system_methods())}

    async def dispatch(self, body: bytes, charset: str | None = None) -> Dispatched:
        """Make the call in `body`, see `parse_call`. Every failure becomes a fault."""
        asked = ""
        try:
            async with self._parsing:
                call = parse_call(body, charset)
        except XMLRPCError as error:
            reply = Reply(Fault(error.code, str(error)), "bad")
        else:
            asked = " ".join(islice(_strings((call.method, *call.params)), _ASKED_LIMIT))[:_ASKED_LIMIT]
            reply = await self._answer(call.method, call.params)
        try:
            document = _dump(reply)
        except ValueError as error:
            reply = self._failed(asked, error)
            document = _dump(reply)
        return Dispatched(document, asked, reply.outcome, reply.source)

    async def _answer(self, name: str, params: Sequence[Value]) -> Reply:
        """Make one call. Every failure becomes a fault."""
        try:
            return await self._call(name, params)
        except XMLRPCError as error:
            return Reply(Fault(error.code, str(error)), "bad")
        except BackendError as error:
            return Reply(Fault(FaultCode.APPLICATION, clean_line(error.public_message)), "error")
        except Exception as error:  # noqa: BLE001 -- a bug in one method is a fault, and logged
            return self._failed(name, error)

    async def _call(self, name: str, params: Sequence[Value]) -> Reply:
        method = self._methods.get(name)
        if method is None:
            raise XMLRPCError(FaultCode.NO_SUCH_METHOD, _NO_SUCH_METHOD)
        kinds = [*method.params, *method.optional][: max(len(method.params), len(params))]
        params = [_as_text(param) if kind == "string" else param for kind, param in zip_longest(kinds, params)]
        if [type(param) for param in params] != [_PYTHON_TYPES[kind] for kind in kinds]:
            expected = " or ".join(", ".join(signature[1:]) or "no parameters" for signature in method.signatures)
            raise XMLRPCError(FaultCode.BAD_PARAMS, f"{method.name} takes {expected}")
        return await method.handler(*params)

    def _failed(self, asked: str, error: Exception) -> Reply:
        self._observer.error("xmlrpc_failed", exc=error, asked=asked)
        return Reply(Fault(FaultCode.INTERNAL, INTERNAL_ERROR), "error")

    def _system_methods(self) -> tuple[Method, ...]:
        return (
            Method(
                name="system.listMethods",
                returns="array",
                params=(),
                help="The names of all methods.",
                handler=self._list_methods,
            ),
            Method(
                name="system.methodHelp",
                returns="string",
                params=("string",),
                help="A description of the method with this name.",
                handler=self._method_help,
            ),
            Method(
                name="system.methodSignature",
                returns="array",
                params=("string",),
                help="The signatures of the method with this name: the type of the result, then of each parameter.",
                handler=self._method_signature,
            ),
            Method(
                name="system.getCapabilities",
                returns="struct",
                params=(),
                help="The specifications that this server implements.",
                handler=self._get_capabilities,
            ),
            Method(
                name="system.multicall",
                returns="array",
                params=("array",),
                help=(
                    f"Makes up to {MULTICALL_LIMIT} calls in order. Each is a struct of methodName and params; each "
                    "result is an array that holds one value, or the struct of a fault."
                ),
                handler=self._multicall,
            ),
        )

    async def _list_methods(self) -> Reply:
        return Reply(list(self._methods))

    async def _method_help(self, name: str) -> Reply:
        return Reply(self._named(name).help)

    async def _method_signature(self, name: str) -> Reply:
        method = self._named(name)
        return Reply(method.signatures)

    def _named(self, name: str) -> Method:
        if (method := self._methods.get(name)) is None:
            raise XMLRPCError(FaultCode.BAD_PARAMS, _NO_SUCH_METHOD)
        return method

    async def _get_capabilities(self) -> Reply:
        return Reply(_CAPABILITIES)

    async def _multicall(self, calls: list[Value]) -> Reply:
        if len(calls) > MULTICALL_LIMIT:
            raise XMLRPCError(FaultCode.BAD_PARAMS, f"more than {MULTICALL_LIMIT} calls")
        replies: list[Reply] = []
        room = MULTICALL_ANSWER_LIMIT
        with trio.move_on_after(MULTICALL_DEADLINE):
            for call in calls:
                reply = await self._answer_entry(call) if room >= 0 else _TOO_LONG
                room -= sum(len(string) + _ELEMENT_SIZE for string in _strings(reply.value))
                replies.append(reply if room >= 0 else _TOO_LONG)
        late = Reply(Fault(FaultCode.APPLICATION, "the deadline was reached before this call"))
        replies += [late] * (len(calls) - len(replies))
        return Reply([_entry(reply) for reply in replies])

    async def _answer_entry(self, call: Value) -> Reply:
        match call:
            case {"methodName": "system.multicall"}:
                return Reply(Fault(FaultCode.BAD_PARAMS, "a multicall cannot contain a multicall"))
            case {"methodName": str(method), "params": list(params)}:
                return await self._answer(method, params)
        return Reply(Fault(FaultCode.BAD_PARAMS, "each call in a multicall is a struct of methodName and params"))


def _as_text(value: Value) -> Value:
    """Text for an integer or for UTF-8 in base64: some clients choose the type by the value and send 42 or "zoë" so."""
    if type(value) is int:  # not bool
        return str(value)
    if isinstance(value, bytes):
        with suppress(UnicodeDecodeError):
            return value.decode()
    return value


def _dump(reply: Reply) -> bytes:
    if reply.document is not None:
        return reply.document
    if isinstance(reply.value, Fault):
        return dump_fault(reply.value.code, reply.value.text)
    return dump_response(reply.value)


def _entry(reply: Reply) -> Value:
    if isinstance(reply.value, Fault):
        return {"faultCode": int(reply.value.code), "faultString": reply.value.text}
    return [reply.value]


def _strings(value: Value | Fault) -> Iterator[str]:
    """Every string in `value`, in order. For a multicall: the method names and their string parameters."""
    match value:
        case str():
            yield value
        case Mapping():
            for member in value.values():
                yield from _strings(member)
        case list() | tuple():
            for item in value:
                yield from _strings(item)
