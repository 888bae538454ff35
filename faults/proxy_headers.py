"""A trusted proxy that sends half, hostile or random PROXY headers, and clients that pretend to be one."""

from __future__ import annotations

import random
from contextlib import suppress

import trio

from faults.clients import dial, exchange, read_all, request
from faults.program import STATUS, USER, AttackedProgram, running, sections
from faults.scenario import Findings, Scale, Scenario
from faults.watch import every_probe, watching
from fingertrio.net.proxies import HEADER_DEADLINE
from fingertrio.wire import PROXY_HEADER, ProtocolError
from fingertrio.wire.proxy import read_header

SEED = 1288
PROXY = "127.0.0.67"  # the honest clients come from 127.0.0.1, which is not trusted
_AT_ONCE = 32
_SLACK = 3.0  # seconds beyond the deadline of a header

_V1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 79\r\n"
_V2 = PROXY_HEADER + b"\x21\x11\x00\x0c" + bytes(8) + b"\x04\xd2\x00\x4f"
_SEEDS = (
    _V1,
    _V2,
    b"PROXY UNKNOWN\r\n",
    b"PROXY TCP6 2001:db8::1 ::1 1234 79\r\n",
    PROXY_HEADER + b"\x20\x00\x00\x00",
    PROXY_HEADER + b"\x21\x31\x00\xd8" + bytes(216),
    PROXY_HEADER + b"\x21\x11\x00\x17" + bytes(12) + b"\x03\x00\x04\0\0\0\0\x04\x00\x01x",
    PROXY_HEADER + b"\x21\x11\xff\xff" + bytes(12),
    b"\x16\x03\x01\x02\x00\x01",
)
_ASK = {"finger": f"{USER}\r\n".encode(), "http": request(f"/api/users/{USER}")}


def hostile_header(source: random.Random) -> bytes:
    """A header with up to five changed, missing or added bytes."""
    found = bytearray(source.choice(_SEEDS))
    for _ in range(source.randrange(6)):
        place = source.randrange(len(found) + 1)
        found[place : place + source.randrange(3)] = source.randbytes(source.randrange(3))
    return bytes(found)


def is_accepted(sent: bytes) -> bool | None:
    """Whether `sent` begins with a valid header; None: with the beginning of one."""
    try:
        return None if read_header(sent) is None else True
    except ProtocolError:
        return False


async def _send(program: AttackedProgram, door: str, data: bytes, findings: Findings) -> None:
    """Send a header and a query. A header that is not valid must not be answered; the query may complete one."""
    sent = data + _ASK[door]
    answer = b""
    with suppress(trio.BrokenResourceError, ConnectionError):
        answer = await exchange(program.port(door), sent, end=True, source=PROXY, within=30)
    if not is_accepted(sent):
        findings.require(not answer, f"{door} answered {data[:60]!r} with {answer[:60]!r}")


async def _pretend(program: AttackedProgram, findings: Findings) -> None:
    """A client that is not trusted gets no other address."""
    for header in (_V1, _V2):
        answer = await exchange(program.port("finger"), header + _ASK["finger"])
        findings.require(b"PROXY" in answer, f"finger believed a client's {header[:20]!r}: {answer[:60]!r}")


async def run(scale: Scale, findings: Findings) -> None:
    """Slow headers stay open beside the hostile ones."""
    count, held = scale.of((20_000, 1000), (300, 40))
    findings.done = f"{count} hostile headers and {held} unfinished ones from a trusted proxy, beside honest clients"
    trusted = {"proxy_protocol": True, "trusted_proxies": [PROXY]}
    source = random.Random(SEED)
    with running(sections(finger=trusted, http=trusted)) as program:
        async with watching(every_probe(program)) as watch:
            streams = []
            for number in range(held):
                streams.append(stream := await dial(program.port(("finger", "http")[number % 2]), PROXY))
                await stream.send_all(_V2[:11])
            began = trio.current_time()
            capacity = trio.CapacityLimiter(_AT_ONCE)

            async def one(door: str, data: bytes) -> None:
                async with capacity:
                    await _send(program, door, data, findings)

            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(one, ("finger", "http")[number % 2], hostile_header(source))
            await _pretend(program, findings)
            if not scale.short:
                with trio.move_on_after(HEADER_DEADLINE + _SLACK + began - trio.current_time()):
                    for stream in streams:
                        with suppress(trio.BrokenResourceError):
                            await read_all(stream)
                    streams.clear()
                findings.require(not streams, "unfinished headers are still waited for")
        for stream in streams:
            await trio.aclose_forcefully(stream)
        watch.report(findings)
        lines = [record for record in program.records() if record.get("event") == "proxy_header_rejected"]
        findings.require(0 < len(lines) <= 2 * (1 + (trio.current_time() - began) // 60), f"{len(lines)} log lines")
        findings.figure(f"{len(lines)} log lines, one a minute for each door")
        answer = await exchange(program.port("finger"), _V2 + _ASK["finger"], source=PROXY)
        findings.require(answer == f"{STATUS}\r\n".encode(), f"a valid header gets {answer[:60]!r}")
        await program.examine(findings)


SCENARIO = Scenario("proxy-headers", "hostile PROXY headers from a trusted proxy", run, limit=120)
