"""The honest clients of a scenario: what they query, and that they must lose nothing.

They run in another process (`prober`): in the attacker's process, the work of the attack would be in their figures.
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
from faults.prober import Probe, ProbeResult
from faults.program import STATUS, USER, AttackedProgram
from faults.scenario import ROOT, Findings, ScenarioError

_PATIENCE = 20.0  # seconds for the prober to start, and for its last answers


def finger_probe(program: AttackedProgram, *, user: str = USER, status: str = STATUS, rate: float = 50.0) -> Probe:
    """Queries a user's status through finger."""
    return Probe(name="finger", port=program.port("finger"), send=f"{user}\r\n", expect=f"{status}\r\n", rate=rate)


def setter_probe(program: AttackedProgram, *, rate: float = 20.0) -> Probe:
    """Sets a user's status."""
    port = program.port("setter")
    return Probe(name="setter", port=port, send="ada\r\nWeaving\r\n", expect="OK\r\n", end=True, rate=rate)


def http_probe(
    program: AttackedProgram, *, path: str = f"/api/users/{USER}", expect: str = STATUS, rate: float = 20
) -> Probe:
    """Requests a path over HTTP."""
    send = request(path).decode("latin-1")
    return Probe(name="HTTP", port=program.port("http"), send=send, expect=expect, exact=False, rate=rate)


def every_probe(program: AttackedProgram) -> list[Probe]:
    """One probe for each door."""
    return [finger_probe(program), setter_probe(program), http_probe(program)]


class Watch:
    """The clients' results; complete once they have stopped."""

    def __init__(self) -> None:
        self.results: dict[str, ProbeResult] = {}

    @property
    def worst(self) -> float:
        """Seconds of the slowest answer."""
        return max(result.worst for result in self.results.values())

    def report(self, findings: Findings) -> None:
        """Record how many queries were answered, and require that none was lost."""
        counts = ", ".join(
            f"{name} {result.asked - result.losses}/{result.asked} (slowest {result.worst * 1000:.0f} ms)"
            for name, result in self.results.items()
        )
        findings.figure(f"answered meanwhile: {counts}")
        for name, result in self.results.items():
            reasons = ", ".join(f"{count} x {reason}" for reason, count in result.lost.items())
            findings.require(result.losses == 0, f"{name} lost {result.losses} of {result.asked}: {reasons}")


@asynccontextmanager
async def watching(probes: Sequence[Probe]) -> AsyncIterator[Watch]:
    """Run the clients during the context. The watch has their results afterwards.

    Raises:
        ScenarioError: some probe's first query was not answered.
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
        watch.results = {
            name: ProbeResult(**result) for name, result in json.loads(await _line(process.stdout)).items()
        }
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
                raise ScenarioError("the prober ended too early")
            line += chunk
        return line
    raise ScenarioError(f"the prober wrote nothing for {_PATIENCE:g} s")
