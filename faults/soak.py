"""Mixed load for a long time: memory and descriptors must stay constant."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import trio

from faults.clients import dial, exchange, request, reset, websocket
from faults.killers import openings
from faults.prober import Probe
from faults.program import USER, AttackedProgram, running
from faults.random_lines import finger_line, setter_lines
from faults.scenario import Findings, Scale, Scenario
from faults.watch import finger_probe, http_probe, setter_probe, watching
from fingertrio.wire.xmlrpc import dump_call

FULL_SOAK = 600.0  # seconds
_SAMPLES = 1.0  # seconds between two samples
_HOSTILE = 40.0  # connections a second that no honest client would make

# Megabytes by which the last quarter may exceed the first. Python's own memory changes by steps of this size; a leak of
# a kilobyte for each of the 200 requests a second would be 100 MB in ten minutes.
_FLAT = 3.0


def _probes(program: AttackedProgram) -> list[Probe]:
    call = request("/RPC2", "Content-Type: text/xml", method="POST", body=dump_call("getUser", [USER])).decode()
    unknown = finger_probe(program, user="nobody", status="No such user", rate=20)
    listing = Probe(name="list", port=unknown.port, send="\r\n", expect=USER, exact=False, rate=10)
    return [
        finger_probe(program, rate=100),
        replace(unknown, name="unknown user"),
        listing,
        setter_probe(program, rate=10),
        http_probe(program, rate=20),
        replace(http_probe(program, path=f"/{USER}", rate=10), name="page"),
        replace(http_probe(program, path="/RPC2", rate=10), name="XML-RPC", send=call),
    ]


async def _be_hostile(program: AttackedProgram, source: random.Random) -> None:
    """One bad connection: malformed HTTP, random lines, or half a request; ended by a reset or normally."""
    match source.randrange(3):
        case 0:
            port, data = program.port("http"), next(openings(source.randrange(1 << 30)))
        case 1:
            port, data = program.port("finger"), finger_line(source)
        case _:
            port, data = program.port("setter"), setter_lines(source)
    with suppress(OSError, trio.BrokenResourceError, trio.TooSlowError):
        if source.random() < 0.5:
            await exchange(port, data[: source.randrange(len(data) + 1)], end=source.random() < 0.5, within=1)
        else:
            stream = await dial(port)
            try:
                await stream.send_all(data)
                await trio.sleep(source.random() * 0.1)
            finally:
                await reset(stream)


async def _be_hostile_for_ever(program: AttackedProgram) -> None:
    source = random.Random(1288)
    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(_be_hostile, program, source)
            await trio.sleep(source.expovariate(_HOSTILE))


# An empty ping, which cannot occur within text, and the pong, masked with zeros (RFC 6455 section 5.5).
_PING, _PONG = b"\x89\x00", b"\x8a\x80\x00\x00\x00\x00"


class Watchers:
    """Clients of the live feed; how many messages they got, and how many of them were disconnected."""

    COUNT = 5

    def __init__(self) -> None:
        self.heard = 0
        self.left = 0

    async def listen(self, program: AttackedProgram) -> None:
        """One client, without end."""
        async with await dial(program.port("http")) as stream:
            await stream.send_all(websocket())
            while chunk := await stream.receive_some():
                self.heard += 1
                if _PING in chunk:
                    await stream.send_all(_PONG)
        self.left += 1


def _quarters(samples: Sequence[float]) -> tuple[float, float]:
    """The medians of the first and of the last quarter."""
    quarter = max(1, len(samples) // 4)
    return statistics.median(samples[:quarter]), statistics.median(samples[-quarter:])


async def attack(program: AttackedProgram, scale: Scale, findings: Findings) -> None:
    """Load for `scale.soak` seconds. The first fifth is a warm-up."""
    rate = sum(probe.rate for probe in _probes(program)) + _HOSTILE
    findings.done = f"{scale.soak:.0f} s of {rate:.0f} connections a second on every door, hostile ones among them"
    if scale.soak < FULL_SOAK:
        findings.done += f" (shortened; --soak makes it {FULL_SOAK:.0f} s)"
    memory: list[float] = []
    descriptors: list[float] = []
    watchers = Watchers()
    async with watching(_probes(program)) as watch, trio.open_nursery() as nursery:
        nursery.start_soon(_be_hostile_for_ever, program)
        for _ in range(watchers.COUNT):
            nursery.start_soon(watchers.listen, program)
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < scale.soak:
            await trio.sleep(scale.of(_SAMPLES, 0.1))
            program.check()
            if elapsed > scale.soak / 5:
                memory.append(program.megabytes)
                descriptors.append(float(program.descriptors))
        nursery.cancel_scope.cancel()
    left = await program.left(15)
    first, last = _quarters(memory)
    slope = (last - first) / (0.8 * 0.75 * scale.soak) * 3600
    findings.figure(f"memory {first:.1f} MB, at the end {last:.1f} MB ({slope:+.1f} MB an hour)")
    findings.require(last - first <= _FLAT, f"memory grew from {first:.1f} to {last:.1f} MB")
    early, late = _quarters(descriptors)
    findings.figure(f"{early:.0f} descriptors, at the end {late:.0f}; {left} are left after it")
    findings.require(left <= 0, f"{left} descriptors are left")
    watch.report(findings)
    findings.figure(f"{watchers.COUNT} watchers got {watchers.heard} messages of the live feed")
    findings.require(watchers.heard and not watchers.left, f"{watchers.left} watchers were disconnected")
    await program.examine(findings)


async def run(scale: Scale, findings: Findings) -> None:
    with running() as program:
        await attack(program, scale, findings)


SCENARIO = Scenario("soak", "mixed load for ten minutes", run, limit=FULL_SOAK + 120)
