"""Starts the program by forking a process that has imported it already: a tenth of the CPU time of a fresh start.

Most of what a start costs is imports. A suite that starts the program some hundred times spends most of its time there.
The fork server is one process that imports the program once and forks for each start. The fork then runs
`python -m fingertrio` as a fresh process would, with its own arguments, environment, directory, descriptors and CPUs.

What differs: modules are imported already. So a test about the start itself (its imports, its memory, a signal in its
first moments, a module found by PYTHONPATH) wants a fresh process. An environment that changes how Python itself starts
gets one without asking.

Linux only (pidfd_open(2)); elsewhere, and while coverage is measured, every start is fresh.
"""

from __future__ import annotations

import fcntl
import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

# What the program imports with its usual front ends and backends, and its commands.
_PRELOADED = (
    "fingertrio.cli.main",
    "fingertrio.cli.output",
    "fingertrio.cli.commands",
    "fingertrio.cli.serve",
    "fingertrio.server.app",
    "fingertrio.frontends.finger.door",
    "fingertrio.frontends.setter.door",
    "fingertrio.frontends.irc.door",
    "fingertrio.frontends.web.door",
    "fingertrio.frontends.admin.door",
    "fingertrio.backends.memory",
    "fingertrio.backends.file",
    "fingertrio.backends.sqlite",
)

_MESSAGE = 200_000  # bytes of one request; Linux lets an environment and arguments of this size through a socket
_DESCRIPTORS = 64  # most of one request
_FREE = 200  # descriptors from here on are used by no test: they hold the received ones until each has its number

# Variables that decide how Python itself starts. It has started already.
_PYTHONS_OWN = ("PYTHON", "LC_", "LANG", "COVERAGE_")


class ForkServer:
    """The process that forks, seen from the test process. Starts on first use; usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._pythons_own = _pythons_own(os.environ)

    def fits(self, environ: Mapping[str, str]) -> bool:
        """Whether a fork can stand for a fresh start with this environment."""
        if not hasattr(os, "pidfd_open") or "COVERAGE_PROCESS_START" in os.environ:
            return False
        return _pythons_own(environ) == self._pythons_own

    def start(
        self,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str],
        descriptors: Mapping[int, int],
        directory: Path | None = None,
    ) -> ForkedProcess:
        """Fork, and run `python -m fingertrio` with these arguments.

        Args:
            arguments: after "-m fingertrio".
            environ: the whole environment.
            descriptors: each descriptor that the process has, 0 to 2 among them, and which of ours it is.
            directory: in which it runs; None: this process's.

        Raises:
            RuntimeError: the fork server has ended.
        """
        umask = os.umask(0)
        os.umask(umask)
        request = {
            "arguments": list(arguments),
            "environ": dict(environ),
            "descriptors": list(descriptors),
            "directory": str(directory or Path.cwd()),
            "cpus": list(os.sched_getaffinity(0)),
            "umask": umask,
        }
        return ForkedProcess(self, self._ask(request, list(descriptors.values())))

    def status(self, pid: int) -> int:
        """The exit status of a fork that has ended: negative if a signal ended it. To be asked once."""
        return self._ask({"wait": pid})

    def close(self) -> None:
        """End the fork server. The processes that it started run on."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _ask(self, request: Mapping[str, object], descriptors: Sequence[int] = ()) -> int:
        with self._lock:
            if self._connection is None:
                self._connection = self._open()
            socket.send_fds(self._connection, [json.dumps(request).encode()], descriptors)
            answer = self._connection.recv(100)
        if not answer:
            raise RuntimeError("the fork server has ended; its message is on standard error")
        return int(answer)

    def _open(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", __name__, str(theirs.fileno())]
            subprocess.run(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, check=True)
        return ours


class ForkedProcess:
    """A process that the fork server started, with the methods of `subprocess.Popen`."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server
        self._pidfd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        if self.returncode is None:
            ended = select.poll()
            ended.register(self._pidfd, select.POLLIN)
            if not ended.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired("fingertrio", timeout or 0)
            self.returncode = self._server.status(self.pid)
            os.close(self._pidfd)
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def _pythons_own(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if value and name.startswith(_PYTHONS_OWN)}


def _serve(connection: socket.socket) -> Mapping[str, Any] | None:
    """Answer requests until the test process has closed its end; in a fork, return the request."""
    while True:
        message, received, _, _ = socket.recv_fds(connection, _MESSAGE, _DESCRIPTORS)
        if not message:
            return None
        request: dict[str, Any] = json.loads(message)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            connection.send(str(os.waitstatus_to_exitcode(status)).encode())
        elif (pid := os.fork()) == 0:
            connection.close()
            _become(request, received)
            return request
        else:
            for descriptor in received:
                os.close(descriptor)
            connection.send(str(pid).encode())


def _become(request: Mapping[str, Any], received: Sequence[int]) -> None:
    """Give this process everything that a fresh one would have."""
    held = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _FREE) for descriptor in received]
    for descriptor in received:
        os.close(descriptor)
    for descriptor, target in zip(held, request["descriptors"], strict=True):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.umask(request["umask"])
    os.sched_setaffinity(0, request["cpus"])
    os.chdir(request["directory"])
    sys.path[0] = request["directory"]
    os.environ.clear()
    os.environ.update(request["environ"])
    time.tzset()
    sys.stdin, sys.stdout, sys.stderr = (
        _text(0, "r", "strict"),
        _text(1, "w", "strict"),
        _text(2, "w", "backslashreplace"),
    )


def _text(descriptor: int, mode: str, errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        os.fdopen(descriptor, f"{mode}b", closefd=False),
        encoding=sys.stdout.encoding,
        errors=errors,
        line_buffering=descriptor == 2 or os.isatty(descriptor),
    )


def main() -> None:
    """Import the program, then serve the test process at the descriptor in the first argument.

    Not as its child: tests look for children that something has left behind.
    """
    if os.fork():
        return
    for module in _PRELOADED:
        import_module(module)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        request = _serve(connection)
    if request is not None:
        sys.argv = ["", *request["arguments"]]
        runpy.run_module("fingertrio", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
