"""What every benchmark here needs: servers as processes on one core, load on another, and the kernel's figures.

Nothing in this file knows finger. A `Server` is started, found by the ready lines it writes to its log, and ended by
its pid. `cpu_seconds` and `resident_bytes` read what the kernel charged it. The load is the matter of generator.py, and
what the figures say that of report.py.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

HERE = Path(__file__).parent
ROOT = HERE.parent
BUILD = HERE / "build"

START_DEADLINE = 20.0  # seconds until a server must be listening: importing Python packages on a busy machine
STOP_DEADLINE = 5.0


class BenchmarkError(Exception):
    """Something could not be run. The message says what, for the person at the terminal."""


class Unavailable(BenchmarkError):  # noqa: N818 -- it is no error but a gap in the table
    """A program that this machine does not have."""


def progress(text: str) -> None:
    """One line for whoever waits."""
    print(text, file=sys.stderr, flush=True)


# --- cores ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the servers run on, and which one the load and the benchmark itself."""

    server: int
    load: int

    @classmethod
    def choose(cls) -> Cores:
        """The last and the first of those we may use: one and the same where there is only one."""
        allowed = sorted(os.sched_getaffinity(0))
        return cls(server=allowed[-1], load=allowed[0])

    @property
    def shared(self) -> bool:
        return self.server == self.load


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """What is started meanwhile inherits this core, from its first instruction on."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_file_limit(wanted: int) -> int:
    """Let this process and those it starts open `wanted` files, or as many as may be; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


# --- the kernel's accounting ------------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used, user and system, all its threads, those that ended included; to the nanosecond.

    This is the process's CPU clock, which clock_getcpuclockid(3) would name: the sum of what /proc/PID/task/*/schedstat
    says, of which /proc/PID/stat's utime + stime is the rounding to 10 ms.
    """
    return time.clock_gettime((~pid << 3) | 2)


def resident_bytes(pid: int) -> int:
    """What a process has in memory (RSS), counted exactly; what the kernel keeps for it is not in it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise BenchmarkError(f"/proc/{pid}/smaps_rollup has no Rss")


def open_files(pid: int) -> int:
    """How many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 -- as a list of names, without a Path for each


def busy_seconds(core: int) -> float:
    """How long a core has done anything since the machine started, in steps of 10 ms."""
    with Path("/proc/stat").open() as stat:
        for line in stat:
            name, *ticks = line.split()
            if name == f"cpu{core}":
                user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
                return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    raise BenchmarkError(f"/proc/stat has no cpu{core}")


# --- servers ----------------------------------------------------------------------------------------------------------


class Server:
    """A server process, pinned to one core, on 127.0.0.1 and a port of its own choice.

    It writes JSON lines to standard error: for each door `{"event": "listening", "door": ..., "address": ...}`, then
    `{"event": "ready", ...}`. Standard output and error go to a file, as a service manager would have it.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        core: int,
        log: Path,
        environ: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.ports: dict[str, int] = {}
        self._argv = argv
        self._core = core
        self._log = log
        self._environ = {**os.environ, **(environ or {})}
        self._pass_fds = pass_fds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log, pinned(self._core):
            self._process = subprocess.Popen(
                self._argv,
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self._pass_fds,
            )
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise BenchmarkError(f"{self.name} is not running")
        return self._process.pid

    def port(self, door: str = "finger") -> int:
        """The port of one of its doors."""
        if door not in self.ports:
            raise BenchmarkError(f"{self.name} has no {door} door")
        return self.ports[door]

    def check(self) -> None:
        """Raise BenchmarkError, with the end of its log, if it has ended."""
        if self._process is None or self._process.poll() is not None:
            raise BenchmarkError(f"{self.name} has ended; its last words:\n{self.last_words()}")

    def forget_log(self) -> None:
        """Empty the log, which at full speed grows by megabytes a second. Open for appending, it goes on at 0."""
        os.truncate(self._log, 0)

    def last_words(self) -> str:
        return self._log.read_bytes()[-2000:].decode("utf-8", "replace").strip()

    def stop(self) -> None:
        """End it; by force if it has not ended after STOP_DEADLINE, as servers with 10,000 open connections may not."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline:
            self.check()
            for line in self._log.read_text("utf-8", "replace").splitlines():
                try:
                    said = json.loads(line)
                except ValueError:  # half a line, or no JSON at all
                    continue
                if not isinstance(said, dict):
                    continue
                if said.get("event") == "listening" and ":" in said["address"]:
                    self.ports.setdefault(said["door"], int(said["address"].rpartition(":")[2]))
                elif said.get("event") == "ready":
                    return
            time.sleep(0.02)
        raise BenchmarkError(f"{self.name} was not ready within {START_DEADLINE:.0f} s:\n{self.last_words()}")


# --- programs that have to be made ------------------------------------------------------------------------------------


def compiled_c(source: Path) -> Path:
    """The program of a C source; compiled if it is not there or older than its source.

    Raises:
        Unavailable: there is no C compiler.
        BenchmarkError: the source does not compile.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise Unavailable(f"{source.name} needs a C compiler (Debian package gcc)")
    return _made(source, [compiler, "-O2", "-Wall", "-Wextra", "-o"])


def compiled_go(source: Path) -> Path:
    """The program of a Go source, in the same way."""
    compiler = shutil.which("go")
    if compiler is None:
        raise Unavailable(f"{source.name} needs Go (Debian package golang-go)")
    return _made(source, [compiler, "build", "-o"])


def _made(source: Path, command: Sequence[str]) -> Path:
    program = BUILD / source.name.replace(".", "_")
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    BUILD.mkdir(exist_ok=True)
    done = subprocess.run([*command, program, source], capture_output=True, check=False, timeout=120)
    if done.returncode != 0:
        raise BenchmarkError(f"{source.name} does not compile: {done.stderr.decode('utf-8', 'replace').strip()}")
    return program
