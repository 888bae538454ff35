"""The real program as a subprocess, with what a scenario wants to know of it: its ports, its log, what it holds.

Every door stands on 127.0.0.1 and a port of the kernel's choice. The log goes to a file, as a service manager would
have it, and is read from there: after whatever was done to it, the program's log must be JSON lines without an error.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.harness import BenchmarkError, Cores, Server, open_files, resident_bytes
from faults.backends import publish
from faults.clients import exchange, get, http_body
from faults.scenario import Findings, until

USER, STATUS = "moshez", "Happy and well"
LISTEN = ["127.0.0.1:0"]

# Every client of a scenario is on this machine, from few addresses; the cap for one address has its own scenario.
_DOOR = {"listen": LISTEN, "max_connections_per_address": 20_000}

EVERY_DOOR: Mapping[str, Mapping[str, Any]] = {
    "backend": {"use": "memory", "users": {USER: STATUS, "ada": "Weaving"}},
    "process": {"run_as_root": True},
    "finger": _DOOR,
    "setter": _DOOR,
    "http": _DOOR,
    "admin": {"listen": LISTEN},
}

# Where we may, the program and its honest clients come first, so that what else the machine does is not in the figures.
NICE = -10

_MEGABYTE = 1024 * 1024


def sections(**changes: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """The configuration of every door, with other values in some sections; None takes a section out."""
    table: dict[str, Mapping[str, Any]] = {name: dict(section) for name, section in EVERY_DOOR.items()}
    for name, change in changes.items():
        if change is None:
            del table[name]
        elif name == "backend":
            table[name] = dict(change)
        else:
            table[name] = {**table.get(name, {}), **change}
    return table


class Program(Server):
    """fingertrio itself, running. Made by `running`."""

    def __init__(
        self, argv: Sequence[str], directory: Path, environ: Mapping[str, str], pass_fds: Sequence[int] = ()
    ) -> None:
        self.log_file = directory / "log"
        self.log_file.touch()
        super().__init__(
            "fingertrio", argv, core=Cores.choose().server, log=self.log_file, environ=environ, pass_fds=pass_fds
        )

    @property
    def megabytes(self) -> float:
        """What it has in memory."""
        return resident_bytes(self.pid) / _MEGABYTE

    @property
    def peak_megabytes(self) -> float:
        """The most that it had since it started, or since `forget_peak`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def forget_peak(self) -> None:
        """Count the peak from now on (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    @property
    def descriptors(self) -> int:
        """How many it has open."""
        return open_files(self.pid)

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more, and can be asked for its status."""
        return self._process is None or self._process.poll() is not None

    def limit_descriptors(self, count: int) -> None:
        """Let it open so many, from now on."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (min(count, hard), hard))

    async def back_to(self, descriptors: int, within: float) -> int:
        """Wait until it has no more descriptors than so many; how many it has after `within` seconds at the latest."""
        await until(lambda: self.descriptors <= descriptors, within)
        return self.descriptors

    async def end(self, within: float) -> float:
        """Ask it to stop; the seconds that it took.

        Raises:
            BenchmarkError: it did not end `within` so many seconds, or not with status 0.
        """
        began = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        status = await self.wait_end(within)
        if status != 0:
            raise BenchmarkError(f"it ended with status {status}:\n{self.last_words()}")
        return time.monotonic() - began

    async def wait_end(self, within: float) -> int:
        """Wait for it to end by itself; its exit status."""
        if self._process is None or not await until(lambda: self.has_ended, within):
            raise BenchmarkError(f"it has not ended within {within:g} s:\n{self.last_words()}")
        return self._process.returncode

    def records(self) -> list[dict[str, Any]]:
        """Its log without the queries. A line that is no JSON is given as the event "stray"."""
        found = []
        with self.log_file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if '"event": "query"' in line or not line.endswith("\n"):  # half a line is being written
                    continue
                try:
                    found.append(json.loads(line))
                except ValueError:
                    found.append({"event": "stray", "level": "error", "line": line.rstrip()})
        return found

    def events(self) -> Counter[str]:
        """How often its log tells of what, queries apart."""
        return Counter(record["event"] for record in self.records())

    async def metrics(self) -> dict[str, float]:
        """Its own numbers, by name with labels."""
        text = http_body(await get(self.port("admin"), "/metrics")).decode()
        return {
            name: float(value)
            for line in text.splitlines()
            if not line.startswith("#")
            for name, _, value in [line.rpartition(" ")]
        }

    async def examine(self, findings: Findings) -> None:
        """What must hold after everything: it is alive, every door answers, and its log tells of no error."""
        self.check()
        records = self.records()
        errors = [record for record in records if record.get("level") == "error" or "exception" in record]
        findings.require(not errors, f"{len(errors)} errors in the log, the first: {str(errors[:1])[:600]}")
        if "finger" in self.ports:
            answer = await exchange(self.port("finger"), b"\x20" + USER.encode() + b"\r\n")
            findings.require(STATUS.encode() in answer, f"finger answers {answer[:100]!r}")
        if "http" in self.ports:
            answer = await get(self.port("http"), f"/api/users/{USER}")
            findings.require(STATUS.encode() in answer, f"HTTP answers {answer[:100]!r}")
        if "setter" in self.ports:
            answer = await exchange(self.port("setter"), f"{USER}\r\n{STATUS}\r\n".encode(), end=True)
            findings.require(answer == b"OK\r\n", f"the setter answers {answer[:100]!r}")


@contextmanager
def running(
    table: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    launcher: Sequence[str] = ("-m", "fingertrio"),
    pass_fds: Sequence[int] = (),
) -> Iterator[Program]:
    """The program, ready; ended at the end, by force if need be.

    Args:
        table: its configuration, by section.
        environ: added to the environment.
        launcher: what Python runs, before the arguments.
        pass_fds: descriptors that it inherits.
    """
    with tempfile.TemporaryDirectory(prefix="fingertrio-faults-") as name:
        directory = Path(name)
        config = directory / "config.toml"
        config.write_text(to_toml(EVERY_DOOR if table is None else table))
        publish(directory)
        argv = [sys.executable, *launcher, "serve", "--config", str(config)]
        with Program(argv, directory, {"PYTHONPATH": name, **(environ or {})}, pass_fds) as program:
            with suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, program.pid, NICE)
            yield program


def to_toml(table: Mapping[str, Mapping[str, Any]]) -> str:
    """Sections of keys and values, of what JSON and TOML write alike; a table within one in its inline form."""
    lines = []
    for section, values in table.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)
