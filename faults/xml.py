"""XML bombs and huge bodies, posted to XML-RPC."""

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
class Attack:
    """A body and the expected result.

    Attributes:
        body: the bytes; None: `size` zeros.
        fault: the XML-RPC fault code, if the status is 200.
        status: the HTTP status.
        size: bytes that are announced, and sent for as long as the server reads them.
        chunked: send them in chunks instead of announcing them.
        path: of the request.
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
)  # a billion, a thousand times
_PADDING = b"x" * (BODY_LIMIT - 1000)
_MULTICALL = dump_call("system.multicall", [[{"methodName": "getUsers", "params": []}] * 1000])

_WELL, _XMLRPC = FaultCode.NOT_WELL_FORMED, FaultCode.NOT_XMLRPC

ATTACKS: Mapping[str, Attack] = {
    "a billion laughs": Attack(_bomb(_LAUGHS, b"m"), _WELL),
    "quadratic sent-up": Attack(_bomb(b'<!ENTITY a "%s">' % (b"x" * 100_000), b"a;" + b"&a;" * 20_000 + b"&a"), _WELL),
    "external entity": Attack(_bomb(b'<!ENTITY a SYSTEM "file:///etc/passwd">', b"a"), _WELL),
    "external DTD": Attack(b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x">' + _call(b"<value/>")[21:], _WELL),
    "20,000 nested elements": Attack(b"<a>" * 20_000 + b"</a>" * 20_000, _XMLRPC),
    "20,000 nested arrays": Attack(_nested(20_000), status=413),
    "5,000 nested arrays": Attack(_nested(5_000), _XMLRPC),
    "an int of 5,000 digits": Attack(_number(b"int", 5_000), _XMLRPC),
    "an i8 of 200,000 digits": Attack(_number(b"i8", 200_000), _XMLRPC),
    "a double of 200,000 digits": Attack(_number(b"double", 200_000), _XMLRPC),
    "a tag of 255 kB": Attack(b"<" + _PADDING + b">", _XMLRPC),
    "255 kB of attributes": Attack(b"<methodCall " + b" ".join(b'a%d="x"' % n for n in range(22_000)) + b"/>", _XMLRPC),
    "a comment of 255 kB": Attack(b"<!--" + _PADDING + b"-->", _WELL),
    "255 kB of markup that never ends": Attack(b"<![CDATA[" * 28_000, _WELL),
    "60,000 sibling elements": Attack(b"<methodCall>" + b"<a/>" * 60_000 + b"</methodCall>", _XMLRPC),
    "15,000 values in an array": Attack(
        _call(b"<value><array><data>" + b"<value>1</value>" * 15_000 + b"</data></array></value>"), FaultCode.BAD_PARAMS
    ),
    "a name of 250,000 characters": Attack(dump_call("getUser", ["x" * 250_000])),
    "a multicall of 1,000": Attack(_MULTICALL, FaultCode.BAD_PARAMS),
    "another encoding": Attack(b'<?xml version="1.0" encoding="utf-7"?><methodCall/>', _WELL),
    "zeros": Attack(b"\0" * 1000, _WELL),
    "100 MB, announced": Attack(None, status=413, size=100 * 1024 * 1024),
    "100 MB, in chunks": Attack(None, status=413, size=100 * 1024 * 1024, chunked=True),
    "100 MB to a page": Attack(None, status=405, size=100 * 1024 * 1024, path="/moshez"),
}


def _pieces(sent: Attack) -> Iterator[bytes]:
    if sent.body is not None:
        yield request(sent.path, "Content-Type: text/xml", method="POST", body=sent.body)
        return
    length = "Transfer-Encoding: chunked" if sent.chunked else f"Content-Length: {sent.size}"
    yield request(sent.path, "Content-Type: text/xml", length, method="POST")
    piece = bytes(_PIECE)
    if sent.chunked:
        piece = b"%x\r\n%s\r\n" % (_PIECE, piece)
    for _ in range(0, sent.size, _PIECE):
        yield piece


async def _post(port: int, sent: Attack) -> bytes:
    """The answer. The body is sent for as long as the server reads it."""
    answer = b""

    async def send(stream: trio.SocketStream) -> None:
        try:
            for piece in _pieces(sent):
                await stream.send_all(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the server has closed the connection

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


def _failure(sent: Attack, answer: bytes) -> str | None:
    """What is wrong with the answer; None: nothing."""
    if (status := http_status(answer)) != sent.status:
        return f"status {status} instead of {sent.status}"
    if status != 200:
        return None
    found = re.search(rb"<name>faultCode</name>\s*<value><int>(-?[0-9]+)", http_body(answer))
    fault = int(found[1]) if found else None
    return None if fault == sent.fault else f"fault {fault} instead of {sent.fault}"


async def attack(program: AttackedProgram, scale: Scale, findings: Findings) -> None:
    """Send every body many times, several at once."""
    times = scale.of(20, 1)
    findings.done = f"{len(ATTACKS)} bodies {times} times each: {', '.join(ATTACKS)}"
    port = program.port("http")
    wrong: Counter[str] = Counter()
    await _post(port, Attack(dump_call("getUser", ["moshez"])))  # so that first-use memory is not counted
    async with watching([finger_probe(program, rate=200), setter_probe(program)]) as watch:
        await program.metrics()
        program.forget_peak()
        before = program.megabytes
        for name, sent in ATTACKS.items():
            free = trio.CapacityLimiter(_AT_ONCE)

            async def one(name: str = name, sent: Attack = sent, free: trio.CapacityLimiter = free) -> None:
                async with free:
                    try:
                        failure = _failure(sent, await _post(port, sent))
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
    findings.require(not wrong, f"wrong answers: {dict(wrong)}")
    watch.report(findings)
    await program.examine(findings)


async def run(scale: Scale, findings: Findings) -> None:
    with running() as program:
        await attack(program, scale, findings)


SCENARIO = Scenario("xml", "XML bombs, deep nesting, huge integers and bodies", run, limit=120)
