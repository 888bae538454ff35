"""The honest clients of a scenario: which questions they ask, and what must not happen to them.

Whoever attacks the program cannot also measure how it serves others, since the attack's own work would be in the
figures. So the clients are another process (`prober`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict

import trio

from faults.clients import request
from faults.prober import Probe, Seen
from faults.program import STATUS, USER, AttackedProgram
from faults.scenario import ROOT, Findings, ScenarioError

_PATIENCE = 20.0  # seconds for the prober to start, and for its last answers


def finger_probe(program: AttackedProgram, *, user: str = USER, status: str = STATUS, rate: float = 50.0) -> Probe:
    """Asks for a user's status."""
    return Probe(name="finger", port=program.port("finger"), send=f"{user}\r\n", expect=f"{status}\r\n", rate=rate)


def setter_probe(program: AttackedProgram, *, rate: float = 20.0) -> Probe:
    """Sets a user's status."""
    port = program.port("setter")
    return Probe(name="setter", port=port, send="ada\r\nWeaving\r\n", expect="OK\r\n", end=True, rate=rate)


def http_probe(
    program: AttackedProgram, *, path: str = f"/api/users/{USER}", expect: str = STATUS, rate: float = 20
) -> Probe:
    """Asks for something over HTTP."""
    send = request(path).decode("latin-1")
    return Probe(name="HTTP", port=program.port("http"), send=send, expect=expect, exact=False, rate=rate)


def every_probe(program: AttackedProgram) -> list[Probe]:
    """One for each door."""
    return [finger_probe(program), setter_probe(program), http_probe(program)]


class Watch:
    """What the clients have seen; to be looked at once they have stopped."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}

    @property
    def worst(self) -> float:
        """Seconds of the slowest answer of all."""
        return max(seen.worst for seen in self.seen.values())

    def report(self, findings: Findings) -> None:
        """What was answered, as a figure; and require that nothing was lost."""
        told = ", ".join(
            f"{name} {seen.asked - seen.losses}/{seen.asked} (slowest {seen.worst * 1000:.0f} ms)"
            for name, seen in self.seen.items()
        )
        findings.figure(f"answered meanwhile: {told}")
        for name, seen in self.seen.items():
            reasons = ", ".join(f"{count} x {reason}" for reason, count in seen.lost.items())
            findings.require(seen.losses == 0, f"{name} lost {seen.losses} of {seen.asked}: {reasons}")


@asynccontextmanager
async def watching(probes: Sequence[Probe]) -> AsyncIterator[Watch]:
    """Ask all the while. What was seen is in the watch after the block.

    Raises:
        ScenarioError: the first question of some probe has no answer at all.
    """
    argument = json.dumps([asdict(probe) for probe in probes])
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "faults.prober", argument],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        await _line(process.stdout)
        watch = Watch()
        yield watch
        await process.stdin.aclose()
        watch.seen = {name: Seen(**seen) for name, seen in json.loads(await _line(process.stdout)).items()}
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            await trio.aclose_forcefully(process.stdin)
            await trio.aclose_forcefully(process.stdout)


async def _line(stream: trio.abc.ReceiveStream) -> bytes:
    line = b""
    with trio.move_on_after(_PATIENCE):
        while not line.endswith(b"\n"):
            chunk = await stream.receive_some()
            if not chunk:
                raise ScenarioError("the prober has ended before its time")
            line += chunk
        return line
    raise ScenarioError("the prober does not get on")
