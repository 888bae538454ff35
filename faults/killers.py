"""Inputs that ended stock Hypercorn's nursery, and hundreds of malformed requests made of the same parts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import cycle, islice

import hpack
import trio
from hyperframe.frame import DataFrame, PriorityFrame, SettingsFrame

from faults.clients import dial, http_status, reset
from faults.http2 import START, headers
from faults.irc import IRCAsker, asking_the_bot, ircd
from faults.program import AttackedProgram, running, sections
from faults.scenario import Findings, NotInstalledError, Scale, Scenario
from faults.watch import every_probe, watching
from fingertrio.http.http2 import PREFACE
from fingertrio.testing.hostile_http import UPGRADES

SEED = 1288
_AT_ONCE = 16
_LISTENS = 0.3  # seconds that a client waits for an answer


def _http2_killers() -> Mapping[str, bytes]:
    return {
        "HTTP/2 with a path that is not ASCII": START + headers(path=b"/\xff"),
        "HTTP/2 with a method that is not ASCII": START + headers(method=b"G\xc3\x89T"),
        "HTTP/2 CONNECT without a path": START + headers(method=b"CONNECT", path=None, scheme=None),
        "1,200 PRIORITY frames": START
        + b"".join(PriorityFrame(n, depends_on=0).serialize() for n in range(1, 2401, 2))
        + headers(2401),
        "DATA after the response": START
        + headers(end=False, method=b"POST")
        + DataFrame(1, b"x" * 16_384).serialize() * 2
        + headers(3),
        "DATA on a stream that was never opened": START + DataFrame(5, b"x").serialize(),
    }


KILLERS = {**UPGRADES, **_http2_killers()}

_LINES = (
    b"GET /moshez HTTP/1.1",
    b"POST /RPC2 HTTP/1.1",
    b"GET http://test/moshez HTTP/1.1",
    b"HEAD / HTTP/1.0",
    b"OPTIONS * HTTP/1.1",
    b"CONNECT test:80 HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"GET /\xff\x00 HTTP/1.1",
    b"GET /%ff%00%0d%0a HTTP/9.9",
    b"\x16\x03\x01\x02\x00\x01",
    b"",
)
_HEADERS = (
    b"Host: test",
    b"Host: \xff",
    b"Connection: keep-alive, Upgrade",
    b"Connection: close, \xff",
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Expect: 100-continue",
    b"Cookie: " + b"a=b; " * 200,
    b"X" * 300 + b": y",
    b" folded",
    b"no colon",
    b": no name",
    b"Range: bytes=0-,0-,0-",
    b'If-None-Match: "',
    b"Content-Type: multipart/form-data; boundary=",
)  # fmt: skip
_BODIES = (
    b"",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"-1\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"\x00" * 50,
)
_UPGRADES = {
    "h2c": (b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAAQCAAAA"),
    "WebSocket": (
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Extensions: permessage-deflate",
        b"Sec-WebSocket-Protocol: a, b",
    ),
}


def _mutated(data: bytes, source: random.Random) -> bytes:
    """`data` with up to three insertions, deletions, changed bytes, or a cut end."""
    found = bytearray(data)
    for _ in range(source.randrange(4)):
        place = source.randrange(len(found) + 1)
        match source.randrange(4):
            case 0:
                found[place:place] = source.randbytes(source.randrange(1, 9))
            case 1:
                del found[place : place + source.randrange(1, 9)]
            case 2:
                found[place : place + 1] = bytes([source.randrange(256)])
            case _ if source.random() < 0.3:
                del found[place:]
    return bytes(found)


def _http1(source: random.Random) -> bytes:
    head = [source.choice(_LINES), *source.sample(_HEADERS, source.randrange(6))]
    if source.random() < 0.7:
        head.insert(1, b"Host: test")
    return _mutated(b"\r\n".join([*head, b"", source.choice(_BODIES)]), source)


def _frames(source: random.Random) -> bytes:
    """Up to ten HTTP/2 frames of any kind, some with a wrong length."""
    frames = b""
    for _ in range(source.randrange(1, 11)):
        payload = source.choice(
            [
                source.randbytes(source.randrange(40)),
                hpack.Encoder().encode([(b":method", b"GET"), (b":path", source.choice([b"/", b"\xff", b"", b"*"]))]),
                b"\x00" * source.randrange(12),
            ]
        )
        length = len(payload) if source.random() < 0.9 else source.randrange(1 << 24)
        kind, flags = source.randrange(12), source.choice([0, 1, 4, 5, 0x25, 0xFF])
        stream = source.choice([0, 1, 1, 3, 2, 0x7FFFFFFF, 0xFFFFFFFF])
        frames += length.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    return frames


def _http2(source: random.Random) -> bytes:
    start = PREFACE if source.random() < 0.9 else _mutated(PREFACE, source)
    if source.random() < 0.7:
        start += SettingsFrame(0, settings={source.randrange(1, 9): source.randrange(1 << 32)}).serialize()
    return start + _frames(source)


def _upgrade(kind: str, rest: Callable[[random.Random], bytes], source: random.Random) -> bytes:
    headers = [_mutated(header, source) if source.random() < 0.4 else header for header in _UPGRADES[kind]]
    if source.random() < 0.3:
        headers.pop(source.randrange(len(headers)))
    headers += source.sample(_HEADERS, source.randrange(3))
    line = source.choice((b"GET /moshez HTTP/1.1", b"GET /api/watch HTTP/1.1", b"GET /api/watch?snapshot=1 HTTP/1.1"))
    return b"\r\n".join([line, b"Host: test", *headers, b"", b""]) + rest(source)


def _h2c(source: random.Random) -> bytes:
    return _upgrade("h2c", lambda source: PREFACE + _frames(source), source)


def _websocket_frames(source: random.Random) -> bytes:
    """Up to ten frames of any kind, masked or not, some with a wrong length."""
    frames = b""
    for _ in range(source.randrange(11)):
        payload = source.randbytes(source.choice((0, 1, 5, 125, 126, 2000)))
        mask = source.choice((0x80, 0x80, 0x80, 0))
        length = len(payload) if source.random() < 0.9 else source.randrange(126)
        size = bytes([mask | length]) if length < 126 else bytes([mask | 126]) + length.to_bytes(2, "big")
        first = source.choice((0x81, 0x82, 0x01, 0x00, 0x80, 0x88, 0x89, 0x8A, source.randrange(256)))
        frames += bytes([first]) + size + (source.randbytes(4) if mask else b"") + payload
    return frames


def _websocket(source: random.Random) -> bytes:
    return _upgrade("WebSocket", _websocket_frames, source)


def openings(seed: int = SEED) -> Iterator[bytes]:
    """Malformed requests without end, the four protocols in turn; the same for the same seed."""
    source = random.Random(seed)
    for make in cycle((_http1, _http2, _h2c, _websocket)):
        yield make(source)


async def send_all_to(port: int, inputs: Sequence[bytes], seed: int = SEED) -> Counter[str]:
    """Send each of `inputs` on a connection of its own, in one piece or two; how many got which answer.

    A third of the clients wait, a third end their input and wait, and a third reset the connection at once.
    """
    answers: Counter[str] = Counter()
    source = random.Random(seed)
    free = trio.CapacityLimiter(_AT_ONCE)

    async def one(data: bytes, manner: int, cut: int) -> None:
        answer = b""
        async with free:
            stream = await dial(port)
            try:
                await stream.send_all(data[:cut])
                await stream.send_all(data[cut:])
                if manner == 1:
                    await stream.send_eof()
                if manner:
                    with trio.move_on_after(_LISTENS):
                        while len(answer) < 4096 and (chunk := await stream.receive_some()):
                            answer += chunk
            except trio.BrokenResourceError:
                answers["reset by the program"] += 1
            finally:
                await reset(stream)
        if manner:
            answers[_word(answer)] += 1

    async with trio.open_nursery() as nursery:
        for data in inputs:
            nursery.start_soon(one, data, source.randrange(3), source.randrange(len(data) + 1))
    return answers


def _word(answer: bytes) -> str:
    if status := http_status(answer):
        return str(status)
    return "HTTP/2" if answer else "nothing"


async def attack(program: AttackedProgram, scale: Scale, findings: Findings) -> None:
    """Send all inputs to the HTTP door while honest clients query every door."""
    known = list(KILLERS.values()) * scale.of(5, 1)
    made = list(islice(openings(), scale.of(5000, 150)))
    findings.done = (
        f"{len(KILLERS)} known killers {scale.of(5, 1)} times, {len(made)} malformed requests of 4 protocols"
    )
    async with watching(every_probe(program)) as watch:
        answers = await send_all_to(program.port("http"), known) + await send_all_to(program.port("http"), made)
    findings.figure("answers: " + ", ".join(f"{word} {count}" for word, count in sorted(answers.items())))
    watch.report(findings)
    warnings = program.events()["http_connection_failed"]
    findings.figure(f"{warnings} connections ended by Hypercorn's own exceptions")
    left = await program.left(10)
    findings.require(left <= 0, f"{left} descriptors are left")
    await program.examine(findings)


async def run(scale: Scale, findings: Findings) -> None:
    """With IRC, if ngircd is installed."""
    async with AsyncExitStack() as stack:
        asker: IRCAsker | None = None
        try:
            port = await stack.enter_async_context(ircd())
        except NotInstalledError as gap:
            findings.figure(f"IRC not tried: {gap}")
            program = stack.enter_context(running())
        else:
            program = stack.enter_context(running(sections(irc={"server": f"127.0.0.1:{port}", "nick": "fingerbot"})))
            asker = await stack.enter_async_context(asking_the_bot(port))
        await attack(program, scale, findings)
    if asker is not None:
        asker.report(findings)


SCENARIO = Scenario("killers", "inputs that ended stock Hypercorn, malformed HTTP", run, limit=180)
