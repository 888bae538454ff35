"""The program under attack: its ports, its log, its memory and descriptors, and what must hold afterwards.

Every door listens on 127.0.0.1 and a port that the kernel chose.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from faults.backends import NAME, publish
from faults.clients import exchange, get, http_body
from faults.scenario import ROOT, Findings, until
from fingertrio.testing.measure import Cores, open_files, pinned, resident_bytes
from fingertrio.testing.process import COMMAND, environment
from fingertrio.testing.program import START, STOP, Program, to_toml

USER, STATUS = "moshez", "Happy and well"
LISTEN = ["127.0.0.1:0"]

# All clients of a scenario come from this machine, from few addresses. The cap per address has a scenario of its own.
_DOOR = {"listen": LISTEN, "max_connections_per_address": 20_000}

EVERY_DOOR: Mapping[str, Mapping[str, Any]] = {
    "backend": {"use": "memory", "users": {USER: STATUS, "ada": "Weaving"}},
    "finger": _DOOR,
    "setter": _DOOR,
    "http": _DOOR,
    "admin": {"listen": LISTEN},
}

# Where permitted, the program and its honest clients go before other work, which would otherwise be in the figures.
NICE = -10

_MEGABYTE = 1024 * 1024


def sections(**changes: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """The configuration of every door, with changed values in some sections; None removes a section."""
    table: dict[str, Mapping[str, Any]] = {name: dict(section) for name, section in EVERY_DOOR.items()}
    for name, change in changes.items():
        if change is None:
            del table[name]
        elif name == "backend":
            table[name] = dict(change)
        else:
            table[name] = {**table.get(name, {}), **change}
    return table


class AttackedProgram(Program):
    """fingertrio, running on a core of its own. Made by `running`."""

    def start(self) -> None:
        with pinned(Cores.choose().server):
            super().start()
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, self.pid, NICE)

    @property
    def megabytes(self) -> float:
        """Its resident memory."""
        return resident_bytes(self.pid) / _MEGABYTE

    @property
    def peak_megabytes(self) -> float:
        """Its highest resident memory since the start, or since `forget_peak`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def forget_peak(self) -> None:
        """Measure the peak from now on (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    @property
    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return open_files(self.pid)

    def limit_descriptors(self, count: int) -> None:
        """Set its limit on open descriptors."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (min(count, hard), hard))

    def wait_ready(self, within: float = START) -> None:
        """Also count its descriptors, before the first client."""
        super().wait_ready(within)
        self._unused = self.descriptors

    async def left(self, within: float) -> int:
        """Wait at most `within` seconds until no connection is left of any client; how many descriptors are.

        Counted from the first client on, so that what an attack finds there is not taken for what the program needs.
        """
        await until(lambda: self.descriptors <= self._unused, within)
        return self.descriptors - self._unused

    async def end_soon(self, within: float = STOP) -> float:
        """`end`, while other tasks go on."""
        return await trio.to_thread.run_sync(self.end, within)

    def errors(self) -> list[dict[str, Any]]:
        """Log records that report a failure of the program."""
        return [record for record in self.records() if record.get("level") == "error" or "exception" in record]

    async def metrics(self) -> dict[str, float]:
        """Its own metrics, by name with labels."""
        text = http_body(await get(self.port("admin"), "/metrics")).decode()
        return {
            name: float(value)
            for line in text.splitlines()
            if not line.startswith("#")
            for name, _, value in [line.rpartition(" ")]
        }

    async def examine(self, findings: Findings) -> None:
        """What must hold after every attack: it runs, every door answers, and no error is in the log."""
        self.check()
        errors = self.errors()
        findings.require(not errors, f"{len(errors)} errors in the log, the first: {str(errors[:1])[:600]}")
        if "finger" in self.addresses:
            answer = await exchange(self.port("finger"), b"\x20" + USER.encode() + b"\r\n")
            findings.require(STATUS.encode() in answer, f"finger answers {answer[:100]!r}")
        if "http" in self.addresses:
            answer = await get(self.port("http"), f"/api/users/{USER}")
            findings.require(STATUS.encode() in answer, f"HTTP answers {answer[:100]!r}")
        if "setter" in self.addresses:
            answer = await exchange(self.port("setter"), f"{USER}\r\n{STATUS}\r\n".encode(), end=True)
            findings.require(answer == b"OK\r\n", f"the setter answers {answer[:100]!r}")


@contextmanager
def running(
    config: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
    pass_fds: Sequence[int] = (),
    started: Callable[[AttackedProgram], object] = lambda _program: None,
) -> Iterator[AttackedProgram]:
    """The program, ready, with the faulty backend installed if it is used. At the end of the context it is stopped.

    Args:
        config: its configuration, by section.
        environ: added to the environment.
        command: how to start fingertrio.
        pass_fds: descriptors that it inherits.
        started: called when its process has started, before it is ready.
    """
    with tempfile.TemporaryDirectory(prefix="fingertrio-faults-") as name:
        directory = Path(name)
        path = directory / "config.toml"
        path.write_text(to_toml(table := EVERY_DOOR if config is None else config))
        whole = {**environment(), **(environ or {})}
        if command != COMMAND or table["backend"]["use"] == NAME:
            publish(directory)
            whole["PYTHONPATH"] = f"{name}:{ROOT}"
        arguments: list[str | Path] = [*command, "serve", "--config", path]
        program = AttackedProgram(arguments, directory / "log", environ=whole, pass_fds=pass_fds)
        try:
            program.start()
            started(program)
            program.wait_ready()
            yield program
        finally:
            program.stop()
