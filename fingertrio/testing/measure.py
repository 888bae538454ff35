"""What the kernel knows about a process, and on which machine something was measured. Linux only."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the server runs on, and which one its clients."""

    server: int
    load: int

    @classmethod
    def choose(cls) -> Cores:
        """The last and the first core that this process may use. They are the same core if there is only one."""
        allowed = sorted(os.sched_getaffinity(0))
        return cls(server=allowed[-1], load=allowed[0])

    @property
    def shared(self) -> bool:
        return self.server == self.load


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Processes that are started in the context run on this core from their first instruction on."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_file_limit(wanted: int) -> int:
    """Let this process and its children open `wanted` files, or as many as the hard limit allows; the limit now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process, user and system, with all its threads, past ones included; to the nanosecond.

    This reads the process's CPU clock, as clock_getcpuclockid(3) names it. /proc/PID/stat has the same figure, rounded
    to 10 ms.
    """
    return time.clock_gettime((~pid << 3) | 2)


def resident_bytes(pid: int) -> int:
    """The resident memory of a process (RSS), counted exactly. Kernel memory, such as socket buffers, is not in it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/{pid}/smaps_rollup has no Rss")


def open_files(pid: int) -> int:
    """How many descriptors a process has open."""
    with os.scandir(f"/proc/{pid}/fd") as found:
        return sum(1 for _ in found)


def busy_seconds(core: int) -> float:
    """How long a core has been busy since the machine started, in steps of 10 ms."""
    with Path("/proc/stat").open() as stat:
        for line in stat:
            name, *ticks = line.split()
            if name == f"cpu{core}":
                user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
                return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    raise AssertionError(f"/proc/stat has no cpu{core}")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where, and with which versions, something was measured."""

    processor: str
    cores: int
    kernel: str
    python: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def here(cls, packages: Sequence[str]) -> Machine:
        """This machine, with the versions of these packages, of the compilers, and of the source tree."""
        return cls(
            processor=_processor(),
            cores=os.cpu_count() or 1,
            kernel=f"{platform.system()} {platform.release()}",
            python=f"{platform.python_implementation()} {platform.python_version()}",
            versions={
                **{name: version for name in packages if (version := _package_version(name))},
                **{
                    name: version
                    for name, command in (("cc", ["cc", "--version"]), ("go", ["go", "version"]))
                    if (version := _first_line(command))
                },
                "commit": _commit(),
            },
        )

    def __str__(self) -> str:
        # "gcc (Debian ...) 12.2.0" and "go version go1.19.8" begin with their names
        versions = ", ".join(v if v.startswith(name) else f"{name} {v}" for name, v in self.versions.items())
        return f"{self.processor}, {self.cores} cores, {self.kernel}, {self.python}; {versions}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _first_line(command: Sequence[str]) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout.splitlines()[0].strip() if done.stdout else None


def _commit() -> str:
    commit = _first_line(["git", "rev-parse", "--short", "HEAD"])
    if commit is None:
        return "unknown"
    changed = _first_line(["git", "status", "--porcelain", "--untracked-files=no"])
    return f"{commit}, with changes" if changed else commit
