"""The real program in a process of its own, for tests: started, ready, asked, and ended whatever happens.

    def test_the_countdown_is_served():
        with running({"backend": {"use": "countdown", "days": days}, "finger": {"listen": ["127.0.0.1:0"]}}) as program:
            with socket.create_connection(program.address("finger")) as connection:
                ...

Port 0 lets the kernel choose a free port. The program's own log says which one it chose and when every door is open, so
no test needs a fixed port or a sleep. Output goes to a file, as under a service manager: a pipe that no one reads would
block the program. Nothing here needs trio; from an async test, use `trio.to_thread.run_sync` for the methods that wait.
"""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from datetime import time as dt_time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fingertrio.testing.process import COMMAND, Process, environment
from fingertrio.testing.process import start as start_process

START = 20.0  # seconds until the program must be ready: importing packages on a busy machine takes several
STOP = 10.0  # seconds until a stopped program must have ended; the default grace is half of this
_POLL = 0.01  # seconds between two looks at another process, which has no event for its log

Configuration = Mapping[str, Mapping[str, Any]]


class ProgramError(Exception):
    """The program was not ready in time, ended too early, or did not end correctly. The message has its last output."""


class Program:
    """A process that logs JSON lines: "listening" for each socket, then "ready". Made by `running`.

    Usable for any server that logs these two events, by naming its command.

    Args:
        command: what to run, with its arguments.
        log: the file for its standard output and standard error; emptied at the start.
        name: of the program, in error messages.
        environ: replaces the environment; None: `environment()`.
        pass_fds: descriptors that it inherits.
        fresh: start a process of its own even where tests fork (`process.begin_forking`).

    Attributes:
        addresses: by door, the first address that it listens on, as logged: "127.0.0.1:7979", "http://127.0.0.1:8080".
            A Unix socket is here only if the door has no other.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        name: str = "fingertrio",
        environ: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        fresh: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        self.addresses: dict[str, str] = {}
        self._command = command
        self._environ = environment() if environ is None else environ
        self._pass_fds = pass_fds
        self._fresh = fresh
        self._process: Process | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
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
        """The process id. Raises ProgramError before the start and after `stop`."""
        return self._started.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._process is None or self._process.poll() is not None

    def address(self, door: str) -> tuple[str, int]:
        """Host and port of a door, as `socket.create_connection` takes them."""
        if door not in self.addresses:
            raise ProgramError(f"{self.name} has no TCP address for {door}; it has {self.addresses}")
        host, _, port = self.addresses[door].rpartition("//")[2].rpartition(":")
        return host.strip("[]"), int(port)

    def port(self, door: str) -> int:
        """The port of a door."""
        return self.address(door)[1]

    def start(self) -> None:
        """Start the process, without waiting for anything."""
        self.log.write_bytes(b"")
        with self.log.open("ab") as log:  # appending, so that a test may empty the file meanwhile
            self._process = start_process(
                self._command,
                environ=self._environ,
                stdout=log,
                stderr=log,
                pass_fds=self._pass_fds,
                fresh=self._fresh,
            )

    def wait_ready(self, within: float = START) -> None:
        """Wait for the log event "ready", and learn the addresses.

        Raises:
            ProgramError: the process ended first, or it took longer than `within` seconds.
        """
        self.wait_for("ready", within=within)
        listening = [record for record in self.records() if record.get("event") == "listening"]
        for record in sorted(listening, key=lambda record: bool(record["address"].startswith("unix:"))):
            self.addresses.setdefault(record["door"], record["address"])

    def wait_for(self, event: str, *, within: float = START, **fields: object) -> dict[str, Any]:
        """The first log record of `event` with these fields, now or as soon as it is written.

        Raises:
            ProgramError: the process ended without it, or it took longer than `within` seconds.
        """
        wanted = {"event": event, **fields}
        found: list[dict[str, Any]] = []

        def look() -> bool:
            ended = self.has_ended  # before reading: its last words count
            found.extend(record for record in self.records() if wanted.items() <= record.items())
            return bool(found) or ended

        in_time = _wait_until(look, within)
        if found:
            return found[0]
        when = f"within {within:g} s" if not in_time else "before it ended"
        raise ProgramError(f"{self.name} did not log {wanted} {when}:\n{self.output_end()}")

    def records(self) -> list[dict[str, Any]]:
        """The log so far. An output line that is not a JSON object becomes the event "stray", with level "error"."""
        lines = self.log.read_bytes().decode("utf-8", "replace").split("\n")
        return [_record(line) for line in lines[:-1]]  # the last part is empty, or a line that is still being written

    def events(self) -> Counter[str]:
        """How many log records there are of each event."""
        return Counter(str(record.get("event")) for record in self.records())

    def output_end(self) -> str:
        """The last lines of the output, for an error message."""
        return self.log.read_bytes()[-2000:].decode("utf-8", "replace").strip()

    def check(self) -> None:
        """Raise ProgramError if the process has ended."""
        if self.has_ended:
            raise ProgramError(f"{self.name} has ended:\n{self.output_end()}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._started.send_signal(number)

    def wait(self, within: float = STOP) -> int:
        """Wait for the end of the process; its exit status. Raises ProgramError after `within` seconds."""
        process = self._started
        try:
            return process.wait(within)
        except subprocess.TimeoutExpired:
            raise ProgramError(f"{self.name} did not end within {within:g} s:\n{self.output_end()}") from None

    def end(self, within: float = STOP) -> float:
        """Stop the program as a service manager does; the seconds that it took.

        Raises:
            ProgramError: it did not end within `within` seconds, or not with status 0.
        """
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        self._require_success(self.wait(within))
        return time.monotonic() - began

    def kill(self) -> None:
        """End the process at once, as a crash does."""
        self._started.kill()
        self._started.wait()

    def stop(self, within: float = STOP) -> None:
        """End the process, by force if it has not ended after `within` seconds. Never raises."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def _started(self) -> Process:
        if self._process is None:
            raise ProgramError(f"{self.name} was not started")
        return self._process

    def _require_success(self, status: int) -> None:
        if status != 0:
            raise ProgramError(f"{self.name} ended with status {status}:\n{self.output_end()}")


@contextmanager
def running(
    config: Configuration | str | Path | None,
    *,
    command: Sequence[str | Path] = COMMAND,
    environ: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    fresh: bool = False,
) -> Iterator[Program]:
    """The program, ready. At the end of the context it is stopped, by force if it does not end by itself.

    Args:
        config: the configuration: a mapping of sections, the text of a TOML file, or the path of one. None: `command`
            is run without "serve --config".
        command: how to start fingertrio: the Python that runs this test, unless another one is named.
        environ: added to `environment()`.
        pass_fds: descriptors that it inherits.
        fresh: start a process of its own even where tests fork (`process.begin_forking`).

    Raises:
        ProgramError: it ended before it was ready, or was not ready after START seconds.
    """
    with tempfile.TemporaryDirectory(prefix="fingertrio-") as name:
        if config is not None and not isinstance(config, Path):
            text = config if isinstance(config, str) else to_toml(config)
            config = Path(name, "fingertrio.toml")
            config.write_text(text, encoding="utf-8")
        arguments = () if config is None else ("serve", "--config", config)
        whole = {**environment(), **(environ or {})}
        log = Path(name, "log")
        with Program([*command, *arguments], log, environ=whole, pass_fds=pass_fds, fresh=fresh) as program:
            yield program


def to_toml(config: Configuration) -> str:
    """A configuration file with these sections. Tables within a section are written inline.

    Raises:
        TypeError: a value is None or another type that TOML does not have.
    """
    lines = []
    for section, values in config.items():
        lines.append(f"[{section}]")
        lines += [f"{_string(key)} = {_value(value)}" for key, value in values.items()]
    return "\n".join([*lines, ""])


def _wait_until(holds: Callable[[], bool], within: float) -> bool:
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str() | Path():
            return _string(str(value))
        case date() | dt_time():
            return value.isoformat()
        case Mapping():
            return "{ " + ", ".join(f"{_string(str(key))} = {_value(each)}" for key, each in value.items()) + " }"
        case Sequence():
            return "[" + ", ".join(map(_value, value)) + "]"
    raise TypeError(f"TOML has no value for {value!r}")


def _string(text: str) -> str:
    # JSON and TOML write strings alike, but for surrogate pairs and for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _record(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"event": "stray", "level": "error", "line": line}
