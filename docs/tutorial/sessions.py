"""Replays the console sessions of the pages.

A block that starts with `$ python fingerNN.py` and shows no output is the terminal of the server: the listing runs in
this process (harness.py). If the block has a `^C`, the process is the subject: a real one runs until everything else on
the page was done, then gets SIGINT. All other commands run in bash, where 127.0.0.1 means the step's own address. In
what is expected, `...` stands for anything.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import PIPE, STDOUT

import trio

from harness import HERE, PATIENCE, Step

ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
_SERVER = re.compile(r"(?:sudo )?(?P<settings>(?:\w+=\S+ )*)python (?P<name>finger\w+)\.py$")

PROGRAMS = ["curl", "finger", "nc", "openssl"]  # that sessions use, and that are not on every machine


@dataclass
class Command:
    """A command of a session with the output that the page shows."""

    text: str
    expected: list[str] = field(default_factory=list)


def blocks(page: str) -> list[list[Command]]:
    """Return the console blocks of a page, but not those that a script wrote."""
    page = re.sub(r"<!-- (?:attack|solution)[^>]* -->\n.*?<!-- end -->", "", page, flags=re.DOTALL)
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        commands: list[Command] = []
        for line in block.splitlines():
            if line.startswith("$ "):
                commands.append(Command(line[2:]))
            else:
                commands[-1].expected.append(line)
        found.append(commands)
    return found


def uses(page: str, program: str) -> bool:
    """Return whether a session of a page runs a program."""
    commands = [command.text for commands in blocks(page) for command in commands]
    return any(re.search(rf"(^|[|(;] *){program} ", text) for text in commands)


def check(command: Command, output: str, step: Step) -> None:
    """Compare what was printed with what the page shows."""
    lines = output.replace(step.host, "127.0.0.1").replace("\r", "").rstrip("\n")
    expected = "\n".join(command.expected)
    pattern = ".*".join(re.escape(part) for part in expected.replace("^C", "").split("..."))
    assert re.fullmatch(pattern, lines, re.DOTALL), f"$ {command.text}\n{lines}\n--- instead of\n{expected}"


async def shell(command: Command, step: Step, status: int = 0) -> int:
    """Run a command in bash, with $? as it was, and compare its output. Return its exit status."""
    text = f"(exit {status}); {command.text.replace('127.0.0.1', step.host)}"
    with trio.fail_after(PATIENCE):
        run = partial(trio.run_process, ["bash", "-c", text], capture_stdout=True, stderr=STDOUT)
        done = await run(check=False, cwd=HERE, env=ENVIRONMENT)
    check(command, done.stdout.decode(errors="replace"), step)
    return done.returncode


async def replay(page: str) -> int:
    """Replay all sessions of a page. Return how many commands were run."""
    count = 0
    async with AsyncExitStack() as running:
        step = Step("finger01")
        interrupted: list[Command] = []
        process: trio.Process | None = None
        for commands in blocks(page):
            rest = commands
            server = _SERVER.match(commands[0].text)
            if server is not None and (not commands[0].expected or "^C" in "".join(commands[0].expected)):
                step = Step(server["name"])
                if commands[0].expected:
                    settings = dict(setting.split("=", 1) for setting in shlex.split(server["settings"]))
                    nursery = await running.enter_async_context(trio.open_nursery())
                    process = await start(nursery, step, settings, commands[0])
                    interrupted, rest = commands, []
                else:
                    await running.enter_async_context(step.running())
                    rest = commands[1:]
            for command in rest:
                await shell(command, step)
                count += 1
        if process is not None:
            status = await interrupt(process, interrupted[0], step)
            for command in interrupted[1:]:
                status = await shell(command, step, status)
            count += len(interrupted)
    return count


async def start(nursery: trio.Nursery, step: Step, settings: dict[str, str], command: Command) -> trio.Process:
    """Start a listing as a process of its own, and wait for the lines that it prints before `^C`."""
    # A listing that gives up its user could not write what `make coverage` asks of it.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    environment = {**inherited, "HOST": step.host, "FINGER_HOST": step.host, **settings}
    run = partial(trio.run_process, [sys.executable, f"{step.name}.py"], check=False, stdout=PIPE, stderr=STDOUT)
    process: trio.Process = await nursery.start(partial(run, cwd=HERE, env=environment))
    ready = next(number for number, line in enumerate(command.expected) if "^C" in line)
    output = ""
    with trio.fail_after(PATIENCE):
        while output.count("\n") < ready:
            assert process.stdout is not None
            piece = await process.stdout.receive_some()
            output += piece.decode()
            assert piece, f"{step.name} ended: {output}"
    check(Command(command.text, command.expected[:ready]), output, step)
    return process


async def interrupt(process: trio.Process, command: Command, step: Step) -> int:
    """Press Ctrl-C, compare what the process still prints, and return its status as a shell would."""
    process.send_signal(signal.SIGINT)
    output = ""
    with trio.fail_after(PATIENCE):
        assert process.stdout is not None
        async for piece in process.stdout:
            output += piece.decode()
        status = await process.wait()
    rest = next(number for number, line in enumerate(command.expected) if "^C" in line)
    check(Command(command.text, command.expected[rest:]), output, step)
    return status if status >= 0 else 128 - status


def page(number: str) -> str:
    """Return the text of a step's page."""
    [path] = Path(HERE).glob(f"{number}-*.md")
    return path.read_text()
