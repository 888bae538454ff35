"""A fingertrio in a process of its own, over the memory backend, for tests of those who follow it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fingertrio.clients.setter import set_status

_DOORS = '[setter]\nlisten = ["127.0.0.1:0"]\n[http]\nlisten = ["127.0.0.1:0"]\n[process]\nrun_as_root = true\n'


@dataclass(frozen=True)
class Origin:
    """A program that runs."""

    process: subprocess.Popen[bytes]
    url: str
    setter: tuple[str, int]

    async def set(self, user: str, status: str) -> None:
        await set_status(user, status, host=self.setter[0], port=self.setter[1])


@contextmanager
def running_origin(directory: Path, users: Mapping[str, str]) -> Iterator[Origin]:
    """It runs until the end of the context, or until the test has ended it; in both cases with status 0."""
    lines = "".join(f"{json.dumps(user)} = {json.dumps(status)}\n" for user, status in users.items())
    (directory / "origin.toml").write_text(f'[backend]\nuse = "memory"\n[backend.users]\n{lines}{_DOORS}')
    log = directory / "log"  # not a pipe, which somebody would have to read
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FINGERTRIO_")}
    command = [sys.executable, "-m", "fingertrio", "serve", "--config", str(directory / "origin.toml")]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stderr=stream, env=environment)
    try:
        yield _when_ready(process, log)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def _when_ready(process: subprocess.Popen[bytes], log: Path) -> Origin:
    deadline = time.monotonic() + 20
    while b'"event": "ready"' not in log.read_bytes():
        assert time.monotonic() < deadline
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    addresses = {event["door"]: event["address"] for event in events if event["event"] == "listening"}
    host, _, port = addresses["setter"].rpartition(":")
    return Origin(process, addresses["http"], (host, int(port)))
