"""The dispatcher alone: what is answered, and with which fault."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from io import StringIO
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fingertrio.backend import BackendError
from fingertrio.frontends.web.xmlrpc_dispatcher import (
    MULTICALL_DEADLINE,
    MULTICALL_LIMIT,
    Method,
    Reply,
    XMLRPCDispatcher,
)
from fingertrio.observe.observer import Observer
from fingertrio.wire.xmlrpc import BODY_LIMIT, Fault, MethodCall, Value, dump_call, parse_call, parse_response

SYSTEM = [f"system.{name}" for name in ("listMethods", "methodHelp", "methodSignature", "getCapabilities", "multicall")]


async def echo(value: Value) -> Reply:
    return Reply(value)


async def nap(value: str) -> Reply:
    await trio.sleep(float(value))
    return Reply(value)


async def people() -> Reply:
    return Reply([f"somebody{number:05}" for number in range(5000)])


async def gone(*_params: Value) -> Reply:
    raise BackendError("the \x1b[31mlibrary\r\nburned down") from OSError("secret")


async def broken() -> Reply:
    raise ZeroDivisionError("secret")


async def unsayable() -> Reply:
    return Reply(None)


def row(handler: Callable[..., Awaitable[Reply]], *params: str) -> Method:
    return Method(name=handler.__name__, returns="string", params=params, help="Helps.", handler=handler)


METHODS = [row(echo, "string"), row(nap, "string"), row(people), row(gone), row(broken), row(unsayable)]


class Dispatching:
    """A dispatcher, its log, and what it reported about the last call."""

    asked: str
    outcome: str

    def __init__(self) -> None:
        self.log = StringIO()
        self.observer = Observer(self.log, human=False)
        self._dispatcher = XMLRPCDispatcher(METHODS, self.observer)

    async def send(self, body: bytes) -> Value | Fault:
        done = await self._dispatcher.dispatch(body)
        self.asked, self.outcome = done.asked, done.outcome
        return parse_response(done.body, limit=2**20)

    async def call(self, method: str, *params: Any) -> Any:
        return await self.send(dump_call(method, params))

    async def multicall(self, *calls: tuple[str, Sequence[Value]]) -> Any:
        return await self.call("system.multicall", [{"methodName": name, "params": params} for name, params in calls])


@pytest.fixture
def dispatching() -> Dispatching:
    return Dispatching()


async def test_a_call_is_answered_and_its_line_in_the_log_left_to_whoever_carries_it(dispatching: Dispatching) -> None:
    assert await dispatching.call("echo", "one\ntwo") == "one\ntwo"
    assert (dispatching.asked, dispatching.outcome) == ("echo one\ntwo", "ok")
    assert dispatching.log.getvalue() == ""
    assert not dispatching.observer.metrics.queries


@pytest.mark.parametrize(
    ("body", "code", "outcome"),
    [
        (b"", -32700, "bad"),
        (b"<methodCall>", -32700, "bad"),
        (b"<!DOCTYPE x><methodCall><methodName>gone</methodName></methodCall>", -32700, "bad"),
        (b"<methodCall/>", -32600, "bad"),
        (b" " * (BODY_LIMIT + 1), -32600, "bad"),
        (dump_call("no.such", []), -32601, "bad"),
        (dump_call("__init__", []), -32601, "bad"),
        (dump_call("echo", []), -32602, "bad"),
        (dump_call("echo", ["a", "b"]), -32602, "bad"),
        (dump_call("echo", [True]), -32602, "bad"),
        (dump_call("echo", [1.5]), -32602, "bad"),
        (dump_call("echo", [b"\xff"]), -32602, "bad"),
        (dump_call("echo", [["a"]]), -32602, "bad"),
        (dump_call("system.multicall", ["a"]), -32602, "bad"),
        (dump_call("system.methodHelp", ["no.such"]), -32602, "bad"),
        (dump_call("system.methodSignature", ["no.such"]), -32602, "bad"),
        (dump_call("gone", []), -32500, "error"),
        (dump_call("broken", []), -32603, "error"),
        (dump_call("unsayable", []), -32603, "error"),
    ],
)
async def test_each_failure_has_its_fault(dispatching: Dispatching, body: bytes, code: int, outcome: str) -> None:
    fault = await dispatching.send(body)
    assert isinstance(fault, Fault)
    assert fault.code == code
    assert fault.text.isprintable()
    assert "secret" not in fault.text
    assert dispatching.outcome == outcome


async def test_a_backend_error_says_what_is_public_and_no_more(dispatching: Dispatching) -> None:
    assert await dispatching.call("gone") == Fault(-32500, "the library burned down")


async def test_a_broken_method_is_logged_with_its_traceback_and_tells_nothing(dispatching: Dispatching) -> None:
    assert await dispatching.call("broken") == Fault(-32603, "Internal error in server")
    assert "xmlrpc_failed" in dispatching.log.getvalue()
    assert "ZeroDivisionError: secret" in dispatching.log.getvalue()


async def test_a_wrong_parameter_is_told_what_is_wanted(dispatching: Dispatching) -> None:
    assert await dispatching.call("echo", 1.5) == Fault(-32602, "echo takes string")
    assert await dispatching.call("gone", 1) == Fault(-32602, "gone takes no parameters")


@pytest.mark.parametrize(("value", "text"), [(42, "42"), (-7, "-7"), ("zoë".encode(), "zoë"), (b"", "")])
async def test_an_integer_or_base64_is_taken_as_the_string_that_is_expected(
    dispatching: Dispatching, value: Value, text: str
) -> None:
    assert await dispatching.call("echo", value) == text
    assert await dispatching.multicall(("echo", [value])) == [[text]]


async def test_a_truth_value_is_no_int() -> None:
    dispatcher = XMLRPCDispatcher([row(echo, "int")])
    assert parse_response((await dispatcher.dispatch(dump_call("echo", [7]))).body) == 7
    assert isinstance(parse_response((await dispatcher.dispatch(dump_call("echo", [True]))).body), Fault)


async def test_what_can_be_called_is_told(dispatching: Dispatching) -> None:
    assert await dispatching.call("system.listMethods") == [
        "echo",
        "nap",
        "people",
        "gone",
        "broken",
        "unsayable",
        *SYSTEM,
    ]
    assert await dispatching.call("system.methodHelp", "echo") == "Helps."
    assert await dispatching.call("system.methodSignature", "echo") == [["string", "string"]]
    for name in SYSTEM:
        assert (await dispatching.call("system.methodHelp", name)).endswith(".")
        ((returns, *params),) = await dispatching.call("system.methodSignature", name)
        assert {returns, *params} <= {"string", "array", "struct"}


async def test_capabilities_name_specifications_with_their_versions(dispatching: Dispatching) -> None:
    capabilities = await dispatching.call("system.getCapabilities")
    assert capabilities.keys() == {"xmlrpc", "faults_interop", "introspection", "system.multicall"}
    for capability in capabilities.values():
        assert capability.keys() == {"specUrl", "specVersion"}
        assert type(capability["specVersion"]) is int


async def test_a_multicall_answers_each_call_in_its_place(dispatching: Dispatching) -> None:
    results = await dispatching.multicall(
        ("echo", ["a"]), ("no.such", []), ("gone", []), ("broken", []), ("echo", ["b"])
    )
    assert results[0] == ["a"]
    assert [result["faultCode"] for result in results[1:4]] == [-32601, -32500, -32603]
    assert results[4] == ["b"]
    assert dispatching.asked == "system.multicall echo a no.such gone broken echo b"


async def test_a_multicall_takes_fifty_calls_and_no_more(dispatching: Dispatching) -> None:
    fifty = [("echo", ["a"])] * MULTICALL_LIMIT
    assert await dispatching.multicall(*fifty) == [["a"]] * 50
    fault = await dispatching.multicall(*fifty, ("echo", ["a"]))
    assert isinstance(fault, Fault)
    assert fault.code == -32602
    assert await dispatching.multicall() == []


async def test_a_multicall_within_a_multicall_is_refused_and_the_others_are_answered(dispatching: Dispatching) -> None:
    refused, answered = await dispatching.multicall(("system.multicall", [[]]), ("echo", ["a"]))
    assert refused["faultCode"] == -32602
    assert answered == ["a"]


@pytest.mark.parametrize(
    "call",
    ["echo", 1, [], {}, {"methodName": "echo"}, {"methodName": 1, "params": []}, {"methodName": "echo", "params": "a"}],
)
async def test_what_is_no_call_within_a_multicall_is_a_fault_in_its_place(
    dispatching: Dispatching, call: Value
) -> None:
    good = {"methodName": "echo", "params": ["a"]}
    refused, answered = await dispatching.call("system.multicall", [call, good])
    assert refused["faultCode"] == -32602
    assert answered == ["a"]


async def test_a_multicall_that_takes_too_long_answers_what_it_has(
    dispatching: Dispatching, autojump_clock: MockClock
) -> None:
    half = str(MULTICALL_DEADLINE * 0.5 - 1)
    results = await dispatching.multicall(*[("nap", [half])] * 4)
    assert trio.current_time() == MULTICALL_DEADLINE
    assert results[:2] == [[half], [half]]
    assert [result["faultCode"] for result in results[2:]] == [-32500, -32500]


async def test_a_multicall_is_not_answered_at_any_length(dispatching: Dispatching) -> None:
    first, *others, last = await dispatching.multicall(*[("people", [])] * 10, ("echo", ["a"]))
    assert len(first[0]) == 5000
    assert [type(answer) for answer in others] == [list] * 2 + [dict] * 7
    assert last["faultCode"] == -32500


async def test_cancelling_ends_a_call(dispatching: Dispatching) -> None:
    with trio.move_on_after(0) as scope:
        await dispatching.call("nap", "10")
    assert scope.cancelled_caught


@pytest.mark.speed
async def test_the_largest_call_stalls_nobody_for_long(dispatching: Dispatching) -> None:
    """256 kB of parameters, each a call's worth of work for parser, check and log; best of three."""
    head, param, tail = (
        b"<methodCall><methodName>echo</methodName><params>",
        b"<param><value/></param>",
        b"</params></methodCall>",
    )
    body = head + param * ((BODY_LIMIT - len(head + tail)) // len(param)) + tail
    seconds = []
    for _ in range(3):
        started = time.process_time()
        fault = await dispatching.send(body)
        seconds.append(time.process_time() - started)
        assert isinstance(fault, Fault)
        assert fault.code == -32602
    assert min(seconds) < 0.1


class Rounds(trio.abc.Instrument):
    """Counts the scheduler's rounds: in each, every task that is ready has one turn."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, _timeout: float) -> None:
        self.count += 1


async def test_calls_that_arrive_together_leave_turns_to_everybody_else(
    dispatching: Dispatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = Rounds()
    read_in: list[int] = []

    def noted(body: bytes, charset: str | None) -> MethodCall:
        read_in.append(rounds.count)
        return parse_call(body, charset)

    monkeypatch.setattr("fingertrio.frontends.web.xmlrpc_dispatcher.parse_call", noted)
    trio.lowlevel.add_instrument(rounds)
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(dispatching.call, "echo", "x")
    finally:
        trio.lowlevel.remove_instrument(rounds)
    assert len(set(read_in)) == 5


async def test_what_is_logged_of_a_call_is_short(dispatching: Dispatching) -> None:
    for params in (["x" * 10_000], [["y" * 100] * 1000]):
        await dispatching.call("echo", *params)
        assert len("echo x") < len(dispatching.asked) <= 200
