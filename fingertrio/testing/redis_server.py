"""Real Redis servers for tests: each a process of its own in a directory of its own, ended by its process id."""

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
    """A redis-server with its files in `directory`. A restart finds the same files.

    Args:
        directory: created if missing.
        port: on 127.0.0.1; None: it listens only at `socket_path`.
        options: further command-line options, as "--name", "value".
    """

    def __init__(self, directory: Path, *options: str, port: int | None = None) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.port = port
        # A socket's path has at most 107 bytes, and a test's directory name is long.
        self.socket_path = directory / "s"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket_path}" if self.port is None else f"redis://127.0.0.1:{self.port}"

    def option(self, name: str) -> str:
        """The value of a command-line option."""
        return self._options[self._options.index(name) + 1]

    def start(self) -> None:
        """Start the server and wait until it answers."""
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
        """A section of INFO."""
        with closing(self._connect()) as sock, sock.makefile("rwb") as stream:
            stream.write(f"INFO {section}\r\n".encode())
            stream.flush()
            return stream.read(int(stream.readline()[1:])).decode()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("redis-server is not running")
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
        """End the server as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Suspend the server: connections stay open, and nothing is answered."""
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


def redis_installed() -> bool:
    """Whether this machine has a redis-server."""
    return shutil.which("redis-server") is not None


@contextmanager
def running_redis(directory: Path, *options: str, port: int | None = None) -> Iterator[RedisServer]:
    """A server that runs until the end of the context."""
    server = RedisServer(directory, *options, port=port)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def redis_over_tcp(*options: str) -> Iterator[RedisServer]:
    """A server with a temporary directory and a TCP port of its own."""
    with tempfile.TemporaryDirectory(prefix="redis-") as name:
        with running_redis(Path(name), *options, port=free_port()) as server:
            yield server


_given: set[int] = set()


def free_port() -> int:
    """A port that is free now, never the same twice: Redis cannot choose a free port and report it.

    It is below the range that the kernel uses for outgoing connections: one of these could take it before Redis does.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in _given:
                _given.add(port)
                return port
    raise AssertionError("a hundred ports in a row are taken")
