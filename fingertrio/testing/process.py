"""Starts the program as a process: fresh, or forked from one that has imported it (forkserver.py).

`program.py` is for a program that serves; `run` is for a command that ends by itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from fingertrio.testing.forkserver import ForkServer

COMMAND = (sys.executable, "-m", "fingertrio")

_LONGEST = 60.0  # seconds that a command may take on a busy machine

_Stream = int | IO[bytes]


class Process(Protocol):
    """A started process: the part of `subprocess.Popen` that a forked one has too."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class _Forking:
    """Whether this process starts the program by forking, and from what."""

    server: ForkServer | None = None


def begin_forking() -> None:
    """From now on, start the program by forking where that makes no difference to the test."""
    _Forking.server = ForkServer()


def end_forking() -> None:
    """Every start is fresh again."""
    if _Forking.server is not None:
        _Forking.server.close()
        _Forking.server = None


def start(
    command: Sequence[str | Path],
    *,
    environ: Mapping[str, str],
    stdin: _Stream = subprocess.DEVNULL,
    stdout: _Stream,
    stderr: _Stream,
    pass_fds: Sequence[int] = (),
    fresh: bool = False,
    directory: Path | None = None,
) -> Process:
    """Start a process. `fresh`: also if this process forks (`begin_forking`) and `command` is `COMMAND`."""
    server = _Forking.server
    arguments = [str(each) for each in command]
    if fresh or server is None or tuple(arguments[:3]) != COMMAND or not server.fits(environ):
        return subprocess.Popen(
            arguments, env=environ, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, cwd=directory
        )
    with Path(os.devnull).open("r+b") as null:
        standard = [null if stream == subprocess.DEVNULL else stream for stream in (stdin, stdout, stderr)]
        numbers = [stream if isinstance(stream, int) else stream.fileno() for stream in standard]
        descriptors = {**dict(enumerate(numbers)), **{number: number for number in pass_fds}}
        return server.start(arguments[3:], environ=environ, descriptors=descriptors, directory=directory)


def run(
    *arguments: object,
    environ: Mapping[str, str] | None = None,
    text: str = "",
    stdout: _Stream | None = None,
    stderr: _Stream | None = None,
    encoding: str = "utf-8",
    fresh: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command of the program to its end.

    Args:
        arguments: after "fingertrio".
        environ: the whole environment; None: `environment()`.
        text: its standard input.
        stdout: where its standard output goes; None: into the result.
        stderr: where its standard error goes; None: into the result.
        encoding: of what it writes.
        fresh: start a process of its own even where tests fork.

    Raises:
        subprocess.TimeoutExpired: it ran for more than a minute.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(text.encode())
        given.seek(0)
        process = start(
            [*COMMAND, *map(str, arguments)],
            environ=environment() if environ is None else environ,
            stdin=given,
            stdout=out if stdout is None else stdout,
            stderr=err if stderr is None else stderr,
            fresh=fresh,
        )
        try:
            status = process.wait(_LONGEST)
        except BaseException:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(
            [*map(str, arguments)], status, out.read().decode(encoding), err.read().decode(encoding)
        )


def environment() -> dict[str, str]:
    """This process's environment without FINGERTRIO_ variables; with permission to run as root where tests do."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("FINGERTRIO_")}
    if os.geteuid() == 0:
        found["FINGERTRIO_PROCESS__RUN_AS_ROOT"] = "true"
    # Not among the servers of this machine, which commands find.
    found.setdefault("XDG_RUNTIME_DIR", str(Path(tempfile.gettempdir()) / f"fingertrio-testing-{os.getuid()}"))
    return found
