"""An exception in each supervised task, repeatedly."""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import time
from pathlib import Path

import trio

from faults.clients import exchange, get
from faults.program import STATUS, USER, AttackedProgram, running, sections
from faults.scenario import Findings, Scale, Scenario, ScenarioError, until
from faults.watch import every_probe, watching

_COMMAND = (sys.executable, "-m", "faults.sabotaged")
_BACK = 10.0  # seconds for a task to restart
_HEALTHY = 0.2  # seconds after which a failure counts as the first; the default of sixty would take too long

_PROBED = {"finger": "finger", "setter": "setter", "http": "HTTP"}  # the probe of each task that has one


def _raise_in(task: str, directory: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as order:
        order.sendto(b"now", str(directory / task))


def _socket(task: str, directory: Path) -> tuple[int, int] | None:
    """Which socket a running task has; None: it is down."""
    try:
        found = (directory / task).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_ctime_ns


async def _fail(task: str, directory: Path) -> None:
    before = _socket(task, directory)
    _raise_in(task, directory)
    # The task may be down for less time than between two checks, but its next socket is another one.
    if not await until(lambda: _socket(task, directory) != before, _BACK):
        raise ScenarioError(f"{task} did not fail")


async def _until_it_runs(task: str, directory: Path, program: AttackedProgram) -> None:
    if not await until(lambda: program.has_ended or (directory / task).exists(), _BACK):
        raise ScenarioError(f"{task} was not restarted within {_BACK:g} s")
    program.check()


async def _ask(program: AttackedProgram, task: str) -> None:
    """A client that connects while the door is down waits, and is answered."""
    if task == "finger":
        right = STATUS.encode() in await exchange(program.port(task), f"{USER}\r\n".encode())
    elif task == "setter":
        right = await exchange(program.port(task), b"ada\r\nWeaving\r\n", end=True) == b"OK\r\n"
    elif task == "http":
        right = STATUS.encode() in await get(program.port(task), f"/api/users/{USER}")
    else:
        return
    if not right:
        raise ScenarioError(f"{task} gives a wrong answer after its restart")


async def _each_again_and_again(scale: Scale, findings: Findings, directory: Path) -> None:
    times = scale.of(20, 1)
    # No IRC server is at this address; the bot keeps trying.
    with socket.create_server(("127.0.0.1", 0)) as closed:
        irc = {"server": f"127.0.0.1:{closed.getsockname()[1]}"}
    environ = {"SABOTAGE": str(directory), "SABOTAGE_POLICY": json.dumps({"healthy": _HEALTHY})}
    with running(sections(irc=irc), environ=environ, command=_COMMAND) as program:
        tasks = scale.of([*program.addresses, "irc"], ["finger", "irc"])
        findings.done = f"an exception raised {times} times in each of {', '.join(tasks)}; then in finger without end"
        worst = 0.0
        for task in tasks:
            probes = [probe for probe in every_probe(program) if probe.name != _PROBED.get(task)]
            async with watching(probes) as watch:
                for _ in range(times):
                    await _until_it_runs(task, directory, program)
                    await trio.sleep(_HEALTHY * 1.5)
                    began = time.monotonic()
                    await _fail(task, directory)
                    await _ask(program, task)
                    worst = max(worst, time.monotonic() - began)
            for name, result in watch.results.items():
                findings.require(result.losses == 0, f"while {task} failed, {name} lost {result.losses}: {result.lost}")
            findings.figure(
                f"{task}: others {sum(result.asked for result in watch.results.values())} queries, none lost"
            )
        findings.figure(f"a client of a failed door was answered after at most {worst:.2f} s")
        restarts = [record for record in program.records() if record["event"] == "restarting"]
        counted = {task: sum(record["task"] == task for record in restarts) for task in tasks}
        findings.require(set(counted.values()) == {times}, f"the log reports {counted} restarts")
        program.check()


async def _one_without_end(scale: Scale, findings: Findings, directory: Path) -> None:
    policy = scale.of({}, {"first": 0.01})
    environ = {"SABOTAGE": str(directory), "SABOTAGE_POLICY": json.dumps(policy)}
    with running(environ=environ, command=_COMMAND) as program:
        began = time.monotonic()
        with trio.move_on_after(90):
            while not program.has_ended:
                if (directory / "finger").exists():
                    _raise_in("finger", directory)
                await trio.sleep(0.005)
        status = program.wait(1)
        took = time.monotonic() - began
        records = program.records()
    pauses = [record["seconds"] for record in records if record["event"] == "restarting"]
    findings.figure(
        f"a task that keeps failing: pauses of {', '.join(map(str, pauses))} s, status {status} after {took:.0f} s"
    )
    findings.require(status == 1, f"it ended with status {status}")
    grown = [later > earlier for earlier, later in zip(pauses, pauses[2:], strict=False)]
    findings.require(grown and all(grown), f"the pauses do not grow: {pauses}")
    last = records[-1]
    findings.require(
        last["event"] == "failed" and "SabotageError: finger was sabotaged" in last.get("exception", ""),
        f"the log does not end with the cause: {str(last)[:6000]}",
    )


async def run(scale: Scale, findings: Findings) -> None:
    """Each task many times, then one until the program gives up."""
    with tempfile.TemporaryDirectory(prefix="sabotage-") as name:
        await _each_again_and_again(scale, findings, Path(name))
    with tempfile.TemporaryDirectory(prefix="sabotage-") as name:
        await _one_without_end(scale, findings, Path(name))


SCENARIO = Scenario("failing-tasks", "an exception in each supervised task", run, limit=240)
