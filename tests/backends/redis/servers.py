"""Real Redis servers for tests and for faults/redis_away.py: each a process of its own, ended by its pid."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

START_DEADLINE = 10.0  # seconds until it answers


class RedisServer:
    """A redis-server with its files in `directory`, which are there again when it is started again.

    Args:
        directory: a new one, or one that a server was in before.
        port: where it listens on 127.0.0.1; None: only at `socket_path`.
        options: more of what a command line may say, as "--name", "value".
    """

    def __init__(self, directory: Path, *options: str, port: int | None = None) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.port = port
        # A socket's path is short (107 bytes); directories of tests are not.
        self.socket_path = directory / "s"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket_path}" if self.port is None else f"redis://127.0.0.1:{self.port}"

    def option(self, name: str) -> str:
        """What was said of `name` on the command line."""
        return self._options[self._options.index(name) + 1]

    def start(self) -> None:
        """Start it and wait until it answers."""
        address = ["--port", str(self.port or 0), "--bind", "127.0.0.1", "--unixsocket", str(self.socket_path)]
        files = ["--dir", str(self.directory), "--logfile", "log", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            ["redis-server", *address, *files, *self._options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_DEADLINE
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError((self.directory / "log").read_text())
            time.sleep(0.01)

    def answers(self) -> bool:
        with suppress(OSError):
            return self.command("PING").startswith((b"+PONG", b"-NOAUTH"))
        return False

    def command(self, *words: str) -> bytes:
        """The first line of the answer to a command, without its line end."""
        with closing(self._connect()) as sock:
            request = b"*%d\r\n" % len(words)
            for word in words:
                request += b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode())
            sock.sendall(request)
            with sock.makefile("rb") as answer:
                return answer.readline().rstrip(b"\r\n")

    def info(self, section: str) -> str:
        """What INFO tells of a section."""
        with closing(self._connect()) as sock, sock.makefile("rwb") as stream:
            stream.write(f"INFO {section}\r\n".encode())
            stream.flush()
            return stream.read(int(stream.readline()[1:])).decode()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("it does not run")
        return self._process.pid

    def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(START_DEADLINE)
            sock.connect(str(self.socket_path))
        except BaseException:
            sock.close()
            raise
        return sock

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it be there and say nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def installed() -> bool:
    """Whether there is a redis-server at all."""
    return shutil.which("redis-server") is not None


@contextmanager
def running(directory: Path, *options: str, port: int | None = None) -> Iterator[RedisServer]:
    """A server for as long as the context lasts."""
    server = RedisServer(directory, *options, port=port)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def over_tcp(*options: str) -> Iterator[RedisServer]:
    """A server with a directory and a port of its own."""
    with tempfile.TemporaryDirectory(prefix="redis-") as name:
        with running(Path(name), *options, port=free_port()) as server:
            yield server


_given: set[int] = set()


def free_port() -> int:
    """One that nobody has, never the same twice. Redis can choose none itself and say which.

    From below the range that the kernel gives to outgoing connections, or one of these might take it before Redis does.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in _given:
                _given.add(port)
                return port
    raise AssertionError("a hundred ports in a row are taken")
