"""After privileges are dropped, the program reads nothing of its own installation: it may be out of reach then."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from fingertrio.testing.program import Program, to_toml

LISTEN = {"listen": ["127.0.0.1:0"]}
CALL = b"<methodCall><methodName>getUser</methodName><params><param><value>ada</value></param></params></methodCall>"


class Client:
    """Asks every door of a program for everything."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    def line(self, door: str, data: bytes) -> bytes:
        with socket.create_connection(self._program.address(door), timeout=10) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(4096), b""))

    def get(self, door: str, path: str, data: bytes | None = None, **headers: str) -> int:
        request = urllib.request.Request(self._program.addresses[door] + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self._tls) as response:
                response.read()
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    def open_feed(self) -> bytes:
        host, port = self._program.address("http")
        with (
            socket.create_connection((host, port), timeout=10) as plain,
            self._tls.wrap_socket(plain) as sock,
        ):
            sock.sendall(
                b"GET /api/watch HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            return sock.recv(100)

    def ask_everything(self) -> None:
        assert self.line("setter", b"ada\r\nWeaving\r\n") == b"OK\r\n"
        for query in (b"", b"ada", b"/W ada", b"nobody", b"ada@localhost", "zo\u00eb".encode(), b"\xff"):
            assert self.line("finger", query + b"\r\n")
        for path, status in (("/", 200), ("/ada", 200), ("/nobody", 404), ("/-/style.css", 200), ("/api/users", 200)):
            assert self.get("http", path) == status, path
        for path in ("/api/docs", "/api/openapi.json"):
            assert self.get("http", path) == 200, path
        assert self.get("http", "/nobody", Accept="application/json") == 404
        for charset in ("utf-8", "utf-16", "koi8-r", "shift_jis", "no-such-charset"):
            assert self.get("http", "/RPC2", CALL, **{"Content-Type": f"text/xml; charset={charset}"}) in {200, 415}
        assert b" 101 " in self.open_feed()
        assert self.get("admin", "/readyz") == 200
        assert self.get("admin", "/metrics") == 200
        if curl := shutil.which("curl"):
            url = self._program.addresses["http"]
            subprocess.run([curl, "-sfk", "--http2", f"{url}/ada"], check=True, stdout=subprocess.DEVNULL, timeout=20)


@contextmanager
def running(
    directory: Path, command: list[str | Path], *, environ: dict[str, str], **process: object
) -> Iterator[Program]:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(directory / "cert.pem")
    pem = {"certfile": str(directory / "cert.pem"), "keyfile": str(directory / "cert.pem")}
    (directory / "cert.pem").chmod(0o644)
    config = directory / "f.toml"
    config.write_text(
        to_toml(
            {
                "backend": {"use": "memory"},
                "process": process,
                "finger": LISTEN | {"forwarding": True, "forward_to": ["localhost"]},
                "setter": LISTEN,
                "http": LISTEN | pem,
                "admin": LISTEN,
            }
        )
    )
    with Program([*command, "serve", "--config", config], directory / "log", environ=environ) as program:
        yield program


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A directory that every user can enter; those of pytest are private."""
    with tempfile.TemporaryDirectory(prefix="fingertrio-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture
def environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FINGERTRIO_")}


def test_nothing_is_imported_or_read_late(tmp_path: Path, environ: dict[str, str]) -> None:
    report = tmp_path / "report"
    command: list[str | Path] = [sys.executable, Path(__file__).with_name("late_reads.py"), report]
    with running(tmp_path, command, environ=environ, run_as_root=True) as program:
        Client(program).ask_everything()
        program.end()
    assert json.loads(report.read_text()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_package_that_the_user_cannot_read_is_served(public_path: Path, environ: dict[str, str]) -> None:
    """The package lies in a directory of root alone; the program runs as nobody."""
    source = Path(__file__).parents[2] / "fingertrio"
    private = public_path / "private"
    shutil.copytree(source, private / "fingertrio", ignore=shutil.ignore_patterns("__pycache__"))
    private.chmod(0o700)
    environ["PYTHONPATH"] = str(private)
    with running(public_path, [sys.executable, "-m", "fingertrio"], environ=environ, user="nobody") as program:
        Client(program).ask_everything()
        assert not [record for record in program.records() if record.get("level") == "error"]


def test_a_codec_that_a_client_names_needs_no_import() -> None:
    code = (
        "import sys; from fingertrio.server.preload import preload; preload(); before = len(sys.modules); "
        "[b'ab'.decode(name) for name in ('koi8-r', 'utf-16', 'idna', 'mac-roman', 'gb18030')]; "
        "print(len(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
