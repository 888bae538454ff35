"""XML-RPC without a transport: the bytes of a call in, the bytes of an answer out, and a failure is an answer too.

What can be called is a table of `Method`; the dispatcher adds the methods that tell of methods (system.*) and the one
that makes several calls at once. It knows neither HTTP nor finger.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import trio

from fingertrio.backend import INTERNAL_ERROR, BackendError
from fingertrio.observe.observer import Observer
from fingertrio.wire.text import clean_line
from fingertrio.wire.xmlrpc import Fault, FaultCode, Value, XMLRPCError, dump_fault, dump_response, parse_call

MULTICALL_LIMIT = 50  # calls

# Characters of all answers of a multicall, elements counted too: fifty of the longest statuses, or a few long lists of
# users. Without it, a request of 5 kB would be answered with fifty times all that there is.
MULTICALL_ANSWER_LIMIT = 1024 * 1024
_ELEMENT_SIZE = 40  # <value><string></string></value>

# Seconds for all calls of a multicall, which are made one after the other: twice the service's deadline for one.
MULTICALL_DEADLINE = 10.0

_ASKED_LIMIT = 200  # characters of a call that are logged

_NO_SUCH_METHOD = "no such method; system.listMethods names them all"

_PYTHON_TYPES: Mapping[str, type] = {"string": str, "int": int, "boolean": bool, "array": list, "struct": dict}

# Not all of these pages are still there, but by these addresses clients recognise what is meant.
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
    """What a call is answered with, and how the log calls that: "ok", "list", "unknown", "bad", "error"."""

    value: Value | Fault
    outcome: str = "ok"


@dataclass(frozen=True, slots=True)
class Dispatched:
    """What goes back for a call, and what the log is to say of it.

    Attributes:
        body: a <methodResponse> document.
        asked: the method and whatever strings it was called with; empty where that could not be read.
        outcome: as in `Reply`.
    """

    body: bytes
    asked: str
    outcome: str


_TOO_LONG = Reply(Fault(FaultCode.APPLICATION, "the answers to these calls are too long together"), "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A row of the table of what can be called.

    Attributes:
        name: on the wire.
        returns: the XML-RPC type of the answer.
        params: the XML-RPC types of the parameters, keys of _PYTHON_TYPES; checked before `handler` is called.
        help: for people, one line.
        handler: gets the parameters. XMLRPCError and BackendError become faults that say why, all else one that
            does not.
    """

    name: str
    returns: str
    params: tuple[str, ...]
    help: str
    handler: Callable[..., Awaitable[Reply]]


class XMLRPCDispatcher:
    """Answers calls of `methods`, and of system.* about them. One for the whole application; it keeps nothing.

    To read a body of the greatest length may take 20 ms, in which nobody else is answered. So bodies that arrive
    together are read one by one, and between two of them everybody else has a turn.
    """

    def __init__(self, methods: Iterable[Method], observer: Observer | None = None) -> None:
        self._observer = observer or Observer()
        self._reading = trio.Lock()
        self._methods = {method.name: method for method in (*methods, *self._system_methods())}

    async def dispatch(self, body: bytes) -> Dispatched:
        """The answer to the call in `body`, faults included."""
        asked = ""
        try:
            async with self._reading:
                call = parse_call(body)
        except XMLRPCError as error:
            reply = Reply(Fault(error.code, str(error)), "bad")
        else:
            asked = " ".join(islice(_strings((call.method, *call.params)), _ASKED_LIMIT))[:_ASKED_LIMIT]
            reply = await self._answer(call.method, call.params)
        try:
            answer = _dump(reply)
        except ValueError as error:
            reply = self._failed(asked, error)
            answer = _dump(reply)
        return Dispatched(answer, asked, reply.outcome)

    async def _answer(self, name: str, params: Sequence[Value]) -> Reply:
        """Whatever a call leads to, as a reply: what fails is a fault."""
        try:
            return await self._call(name, params)
        except XMLRPCError as error:
            return Reply(Fault(error.code, str(error)), "bad")
        except BackendError as error:
            return Reply(Fault(FaultCode.APPLICATION, clean_line(error.public_message)), "error")
        except Exception as error:  # noqa: BLE001 -- a method that is broken is one fault, whatever it raises
            return self._failed(name, error)

    async def _call(self, name: str, params: Sequence[Value]) -> Reply:
        method = self._methods.get(name)
        if method is None:
            raise XMLRPCError(FaultCode.NO_SUCH_METHOD, _NO_SUCH_METHOD)
        if [type(param) for param in params] != [_PYTHON_TYPES[kind] for kind in method.params]:
            raise XMLRPCError(
                FaultCode.BAD_PARAMS, f"{method.name} takes {', '.join(method.params) or 'no parameters'}"
            )
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
                help="What the method of this name does.",
                handler=self._method_help,
            ),
            Method(
                name="system.methodSignature",
                returns="array",
                params=("string",),
                help="The signatures of the method of this name: the type of its answer, then those of its parameters.",
                handler=self._method_signature,
            ),
            Method(
                name="system.getCapabilities",
                returns="struct",
                params=(),
                help="The specifications that this server keeps to.",
                handler=self._get_capabilities,
            ),
            Method(
                name="system.multicall",
                returns="array",
                params=("array",),
                help=(
                    f"The answers to at most {MULTICALL_LIMIT} calls, each a struct of methodName and params, made in "
                    "this order: for each an array of its one result, or the struct of its fault."
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
        return Reply([[method.returns, *method.params]])

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
        late = Reply(Fault(FaultCode.APPLICATION, "the calls before this one took all the time"))
        replies += [late] * (len(calls) - len(replies))
        return Reply([_entry(reply) for reply in replies])

    async def _answer_entry(self, call: Value) -> Reply:
        match call:
            case {"methodName": "system.multicall"}:
                return Reply(Fault(FaultCode.BAD_PARAMS, "a multicall within a multicall"))
            case {"methodName": str(method), "params": list(params)}:
                return await self._answer(method, params)
        return Reply(Fault(FaultCode.BAD_PARAMS, "a call within a multicall is a struct of methodName and params"))


def _dump(reply: Reply) -> bytes:
    if isinstance(reply.value, Fault):
        return dump_fault(reply.value.code, reply.value.text)
    return dump_response(reply.value)


def _entry(reply: Reply) -> Value:
    if isinstance(reply.value, Fault):
        return {"faultCode": int(reply.value.code), "faultString": reply.value.text}
    return [reply.value]


def _strings(value: Value | Fault) -> Iterator[str]:
    """Every string in `value`, in order: of a multicall, the methods and whom they were asked about."""
    match value:
        case str():
            yield value
        case Mapping():
            for member in value.values():
                yield from _strings(member)
        case list() | tuple():
            for item in value:
                yield from _strings(item)
