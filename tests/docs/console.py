"""Runs the console blocks of a page as one session of bash, beside a server of its own.

The server has every front end at the usual ports, on a loopback address that no other test uses. In a session,
`127.0.0.1` means this address, and so does the host of a public URL (`https://finger.example.org`, `https://tilde.example`)
with the port of the pages. The user who types is called `ada` on the pages, whatever the login name is here. In what is
compared, both are written as on the page again.

`fingertrio` in a session is a script that hands its arguments and descriptors to this process, which forks the program
(fingertrio/testing/forkserver.py): a tenth of the CPU time of a fresh start.

What the page shows after a command is compared with what it prints, where `...` stands for anything. A command without
such lines must succeed. `make` is not run.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from fingertrio.testing import process
from fingertrio.testing.program import Program, running
from tests.docs.blocks import ROOT, Block, Command, commands

_PATIENCE = 60.0  # seconds for all commands of a page
_REQUEST = 200_000  # bytes
_count = count(1)

_STUB = f"""#!{sys.executable} -IS
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
connection.connect(os.environ["SESSION_SOCKET"])
request = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()])
socket.send_fds(connection, [request.encode()], [0, 1, 2])
sys.exit(int(connection.recv(100)))
"""

_READER = "ada"
_PUBLIC = re.compile(r"https://(?:finger\.example\.(?:org|net)|tilde\.example)\b")


@dataclass
class Session:
    """Where the commands of a page run.

    Attributes:
        host: the loopback address of its server.
        folder: their directory; everything that they write is in it.
        environ: their environment.
    """

    host: str
    folder: Path
    environ: Mapping[str, str]

    def run(self, blocks: Sequence[Block]) -> list[str]:
        """Run all blocks in their order. Return what was not as the page shows."""
        steps: list[tuple[Block, Command]] = []
        for block in blocks:
            hidden = [Command(text, block.line) for text in block.said("first:")]
            skipped = [said.split('"')[0] for said in block.said('skip "')]
            shown = [command for command in commands(block) if not (command.bare in skipped or command.is_make)]
            steps += [(block, command) for command in (*hidden, *shown)]
        outputs = self._bash([self.here(command.text) for _, command in steps])
        problems = []
        for (block, command), (status, output) in zip(steps, outputs, strict=True):
            problem = compare(command, status, self.there(output))
            if problem:
                where = f"{block.page.relative_to(ROOT)}:{command.line}"
                problems.append(f"{where}: $ {command.text}\n{problem}")
        return problems

    def here(self, text: str) -> str:
        """A text of a page, with the address, the port and the login name that hold here."""
        text = re.sub(rf"(?<![A-Za-z_]){_READER}\b", login(), text)
        return _PUBLIC.sub("http://127.0.0.1:8000", text).replace("127.0.0.1", self.host)

    def there(self, output: str) -> str:
        """What was printed here, as a page shows it."""
        name = rf"(?:(?<=\x1b\[.m)|(?<=\x1b\[..m)|\b){re.escape(login())}\b"
        space = " " * (len(login()) - len(_READER))  # a table keeps its columns
        output = re.sub(rf"{name}((?:\x1b\[[\d;]*m)?)(?=  )", rf"{_READER}\1{space}", output)
        output = re.sub(name, _READER, output)
        return output.replace(self.host, "127.0.0.1").replace("\r", "")

    def _bash(self, texts: Sequence[str]) -> list[tuple[int, str]]:
        """Run commands in one bash, so that `cd`, `export` and variables hold from one to the next."""
        records = self.folder.parent / "records"
        records.mkdir()
        script = "set -m\n"
        for number, text in enumerate(texts):
            record = records / f"{number}"
            record.write_text(f"{text}\n")
            script += f'. "{record}" > "{record}.out" 2>&1 < /dev/null; echo $? > "{record}.status"\n'
        subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environ,
            timeout=_PATIENCE,
            check=False,
            stderr=subprocess.STDOUT,
        )
        return [
            (int((records / f"{number}.status").read_text()), (records / f"{number}.out").read_text(errors="replace"))
            for number in range(len(texts))
        ]


def compare(command: Command, status: int, output: str) -> str:
    """What is wrong with the output of a command; empty if nothing is."""
    shown = "\n".join(command.expected).rstrip()
    printed = "\n".join(line.rstrip() for line in output.splitlines()).strip("\n")
    if not shown:
        return "" if status == 0 else f"ended with status {status}:\n{printed}"
    pattern = ".*".join(re.escape(part) for part in shown.split("..."))
    return "" if re.fullmatch(pattern, printed, re.DOTALL) else f"{printed}\n--- instead of\n{shown}"


def login() -> str:
    """The login name of the user who runs the tests."""
    return pwd.getpwuid(os.geteuid()).pw_name


@contextmanager
def session(folder: Path) -> Iterator[Session]:
    """A server with data and a folder for commands, below `folder`."""
    host = f"127.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.{next(_count) % 253 + 1}"
    home, work, programs = (folder / name for name in ("home", "work", "bin"))
    for path in (home, work, programs, folder / "run"):
        path.mkdir()
    (programs / "fingertrio").write_text(_STUB)
    (programs / "fingertrio").chmod(0o755)
    environ = {
        **process.environment(),
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SESSION_SOCKET": str(folder / "socket"),
        "NO_COLOR": "1",
        # Nothing leaves this machine, even if a page gets a command that would.
        "ALL_PROXY": "socks5h://127.0.0.1:9",
        "NO_PROXY": f"{host},localhost",
        "PIP_NO_INDEX": "1",
        "TZ": "UTC",
    }
    with running(configuration(host, folder), environ=environ) as program, answering(folder / "socket"):
        fill(program)
        yield Session(host, work, environ)


def configuration(host: str, folder: Path) -> dict[str, dict[str, Any]]:
    """What the server of a session has."""
    return {
        "backend": {"use": "sqlite", "path": str(folder / "fingertrio.db")},
        "finger": {"listen": [f"{host}:7979"]},
        "setter": {"listen": [f"{host}:1079"]},
        "http": {"listen": [f"{host}:8000"], "url": f"http://{host}:8000", "trusted_proxies": []},
        "admin": {"listen": [f"{host}:9079"]},
        "presets": {"lunch": {"status": "🍽 Lunch", "for": "1h"}},
    }


def fill(program: Program) -> None:
    """Give the users of the documentation a status."""
    for user, status in (("moshez", "Happy and well"), (login(), "Weaving")):
        with socket.create_connection(program.address("setter"), timeout=20) as connection:
            connection.sendall(f"{user}\r\n{status}\r\n".encode())
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(100) == b"OK\r\n"


@contextmanager
def answering(path: Path) -> Iterator[None]:
    """Start the program for the scripts of a session, each in a thread of its own."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # the session has ended
            return
        threading.Thread(target=_start, args=(connection,), daemon=True).start()


def _start(connection: socket.socket) -> None:
    with connection:
        message, descriptors, _, _ = socket.recv_fds(connection, _REQUEST, 3)
        arguments, environ, directory = json.loads(message)
        stdin, stdout, stderr = descriptors
        started = process.start(
            [*process.COMMAND, *arguments],
            environ=environ,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            directory=Path(directory),
        )
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(str(started.wait(_PATIENCE)).encode())
