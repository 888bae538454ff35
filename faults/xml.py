"""XML made to explode, and bodies made to fill the memory, posted where XML-RPC is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import trio

from faults.clients import dial, http_body, http_status, request, reset
from faults.program import AttackedProgram, running
from faults.scenario import Findings, Scale, Scenario
from faults.watch import finger_probe, setter_probe, watching
from fingertrio.wire.xmlrpc import BODY_LIMIT, FaultCode, dump_call

_STALL = 0.1  # seconds that the event loop may be late
_GROWTH = 20.0  # megabytes, at the peak
_AT_ONCE = 32
_PIECE = 64 * 1024
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Blow:
    """A body and what has to come of it.

    Attributes:
        body: the bytes; `None`: zeros, of `size`.
        status: of HTTP.
        fault: XML-RPC's code, where the status is 200.
        size: bytes that are announced, and sent for as long as the server takes them.
        chunked: they are not announced but sent in chunks.
        path: where to.
    """

    body: bytes | None
    fault: FaultCode | None = None
    status: int = 200
    size: int = 0
    chunked: bool = False
    path: str = "/RPC2"


def _call(value: bytes) -> bytes:
    return (
        b'<?xml version="1.0"?><methodCall><methodName>getUser</methodName><params><param>'
        + value
        + b"</param></params></methodCall>"
    )


def _bomb(doctype: bytes, entity: bytes) -> bytes:
    return b'<?xml version="1.0"?><!DOCTYPE x [' + doctype + b"]>" + _call(b"<value>&" + entity + b";</value>")[21:]


def _nested(depth: int) -> bytes:
    return _call(b"<value><array><data>" * depth + b"</data></array></value>" * depth)


def _number(tag: bytes, digits: int) -> bytes:
    return _call(b"<value><" + tag + b">" + b"9" * digits + b"</" + tag + b"></value>")


_LAUGHS = b'<!ENTITY a "lol">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12)
)  # a billion of them, a thousand times
_PADDING = b"x" * (BODY_LIMIT - 1000)
_MULTICALL = dump_call("system.multicall", [[{"methodName": "getUsers", "params": []}] * 1000])

_WELL, _XMLRPC = FaultCode.NOT_WELL_FORMED, FaultCode.NOT_XMLRPC

BLOWS: Mapping[str, Blow] = {
    "a billion laughs": Blow(_bomb(_LAUGHS, b"m"), _WELL),
    "quadratic blow-up": Blow(_bomb(b'<!ENTITY a "%s">' % (b"x" * 100_000), b"a;" + b"&a;" * 20_000 + b"&a"), _WELL),
    "external entity": Blow(_bomb(b'<!ENTITY a SYSTEM "file:///etc/passwd">', b"a"), _WELL),
    "external DTD": Blow(b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x">' + _call(b"<value/>")[21:], _WELL),
    "20,000 elements within each other": Blow(b"<a>" * 20_000 + b"</a>" * 20_000, _XMLRPC),
    "20,000 arrays within each other": Blow(_nested(20_000), status=413),
    "5,000 arrays within each other": Blow(_nested(5_000), _XMLRPC),
    "an int of 5,000 digits": Blow(_number(b"int", 5_000), _XMLRPC),
    "an i8 of 200,000 digits": Blow(_number(b"i8", 200_000), _XMLRPC),
    "a double of 200,000 digits": Blow(_number(b"double", 200_000), _XMLRPC),
    "a tag of 255 kB": Blow(b"<" + _PADDING + b">", _XMLRPC),
    "255 kB of attributes": Blow(b"<methodCall " + b" ".join(b'a%d="x"' % n for n in range(22_000)) + b"/>", _XMLRPC),
    "a comment of 255 kB": Blow(b"<!--" + _PADDING + b"-->", _WELL),
    "255 kB of markup that never ends": Blow(b"<![CDATA[" * 28_000, _WELL),
    "60,000 elements side by side": Blow(b"<methodCall>" + b"<a/>" * 60_000 + b"</methodCall>", _XMLRPC),
    "15,000 values in an array": Blow(
        _call(b"<value><array><data>" + b"<value>1</value>" * 15_000 + b"</data></array></value>"), FaultCode.BAD_PARAMS
    ),
    "a name of 250,000 characters": Blow(dump_call("getUser", ["x" * 250_000])),
    "a multicall of 1,000": Blow(_MULTICALL, FaultCode.BAD_PARAMS),
    "another encoding": Blow(b'<?xml version="1.0" encoding="utf-7"?><methodCall/>', _WELL),
    "zeros": Blow(b"\0" * 1000, _WELL),
    "100 MB, announced": Blow(None, status=413, size=100 * 1024 * 1024),
    "100 MB, in chunks": Blow(None, status=413, size=100 * 1024 * 1024, chunked=True),
    "100 MB to a page": Blow(None, status=405, size=100 * 1024 * 1024, path="/moshez"),
}


def _pieces(blow: Blow) -> Iterator[bytes]:
    if blow.body is not None:
        yield request(blow.path, "Content-Type: text/xml", method="POST", body=blow.body)
        return
    length = "Transfer-Encoding: chunked" if blow.chunked else f"Content-Length: {blow.size}"
    yield request(blow.path, "Content-Type: text/xml", length, method="POST")
    piece = bytes(_PIECE)
    if blow.chunked:
        piece = b"%x\r\n%s\r\n" % (_PIECE, piece)
    for _ in range(0, blow.size, _PIECE):
        yield piece


async def _post(port: int, blow: Blow) -> bytes:
    """What comes back, while as much is sent as is taken."""
    answer = b""

    async def send(stream: trio.SocketStream) -> None:
        try:
            for piece in _pieces(blow):
                await stream.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the server has had enough

    stream = await dial(port)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, stream)
            with trio.fail_after(_PATIENCE):
                while chunk := await stream.receive_some():
                    answer += chunk
            nursery.cancel_scope.cancel()
    finally:
        await reset(stream)
    return answer


def _failure(blow: Blow, answer: bytes) -> str | None:
    """What is wrong with the answer."""
    if (status := http_status(answer)) != blow.status:
        return f"status {status} instead of {blow.status}"
    if status != 200:
        return None
    found = re.search(rb"<name>faultCode</name>\s*<value><int>(-?[0-9]+)", http_body(answer))
    fault = int(found[1]) if found else None
    return None if fault == blow.fault else f"fault {fault} instead of {blow.fault}"


async def attack(program: AttackedProgram, scale: Scale, findings: Findings) -> None:
    """Every blow many times, several at once."""
    times = scale.of(20, 1)
    findings.done = f"{len(BLOWS)} bodies {times} times each: {', '.join(BLOWS)}"
    port = program.port("http")
    wrong: Counter[str] = Counter()
    await _post(port, Blow(dump_call("getUser", ["moshez"])))  # what is made at the first call is no growth
    async with watching([finger_probe(program, rate=200), setter_probe(program)]) as watch:
        await program.metrics()
        program.forget_peak()
        before = program.megabytes
        for name, blow in BLOWS.items():
            free = trio.CapacityLimiter(_AT_ONCE)

            async def one(name: str = name, blow: Blow = blow, free: trio.CapacityLimiter = free) -> None:
                async with free:
                    try:
                        failure = _failure(blow, await _post(port, blow))
                    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
                        failure = repr(error)
                if failure:
                    wrong[f"{name}: {failure}"] += 1

            async with trio.open_nursery() as nursery:
                for _ in range(times):
                    nursery.start_soon(one)
        late = (await program.metrics())["fingertrio_loop_late_max_seconds"]
        grown = program.peak_megabytes - before
    findings.figure(f"the event loop at most {late * 1000:.0f} ms late")
    findings.require(late <= _STALL + scale.slack, f"the event loop was {late * 1000:.0f} ms late")
    findings.figure(f"memory {grown:+.1f} MB at the peak")
    findings.require(grown <= _GROWTH, f"memory grew by {grown:.1f} MB")
    findings.require(not wrong, f"answered otherwise: {dict(wrong)}")
    watch.report(findings)
    await program.examine(findings)


async def run(scale: Scale, findings: Findings) -> None:
    with running() as program:
        await attack(program, scale, findings)


SCENARIO = Scenario("xml", "XML bombs, deep nesting, huge integers and bodies", run, limit=120)
