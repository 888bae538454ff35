"""Who takes part in the finger benchmark: each row of its tables, and how each server is started."""

from __future__ import annotations

import importlib.util
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGHUP
from typing import Any

from benchmarks import uncached
from benchmarks.harness import (
    HERE,
    BenchmarkError,
    Server,
    UnavailableError,
    compiled_c,
    compiled_go,
    fingertrio_server,
)
from fingertrio.testing.measure import Cores
from fingertrio.testing.process import COMMAND
from fingertrio.testing.program import START, to_toml

DOOR = "finger"
STATUS = "Happy and well"
QUERY = b"moshez\r\n"
ANSWER = f"{STATUS}\r\n".encode()

DEFER = 10  # seconds of TCP_DEFER_ACCEPT on the floor: what fingertrio's listener has
PEERS = ("floor", "go", "twisted", "asyncio", "trio")
NAMES = {
    "floor": "C floor",
    "go": "Go",
    "twisted": "Twisted",
    "asyncio": "asyncio",
    "trio": "plain trio",
    "go log": "Go, with a log",
    "hit": "fingertrio, hit",
    "quiet": "fingertrio, hit, no log",
    "unknown": "fingertrio, unknown user",
    "plan": "fingertrio, 2 KB plan",
    "verbose": "fingertrio, /W",
    "list": "fingertrio, list of 20",
    "miss": "fingertrio, cache miss",
    "cold": "fingertrio, first query for a name, memory",
    "cold file": "fingertrio, first query for a name, file",
}

# Names that are asked for in turn. Many times more than the cache is given room for, so that each query is the first.
COLD_QUERY = b"user####\r\n"
COLD_CACHE = 100


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a query, its server, and what its answer is or must hold."""

    name: str
    server: str
    query: bytes = QUERY
    holds: bytes = ANSWER


CASES = (
    *(Case(peer, peer) for peer in PEERS),
    Case("go log", "go log"),
    Case("hit", "fingertrio"),
    Case("quiet", "quiet"),
    Case("unknown", "fingertrio", b"nobody\r\n", b"No such user\r\n"),
    Case("plan", "fingertrio", b"planner\r\n", b"week 40:"),
    Case("verbose", "fingertrio", b"/W moshez\r\n", STATUS.encode()),
    Case("list", "fingertrio", b"\r\n", b"user16"),
    Case("miss", "uncached"),
    Case("cold", "cold", COLD_QUERY),
    Case("cold file", "cold file", COLD_QUERY),
)


def configuration(backend: str = "memory") -> dict[str, dict[str, Any]]:
    """fingertrio's: the finger door, and 20 users, as the row of the list promises."""
    users = {
        "moshez": STATUS,
        "ada": "Weaving algebraical patterns",
        "grace": "Found a moth",
        "planner": "\n".join(f"week {week}: read, write, walk, and see to the roses" for week in range(1, 41)),
        **{f"user{number:02}": f"At work on part {number}" for number in range(1, 17)},
    }
    return {
        "backend": {"use": backend, "users": users},
        # By default loopback is exempt from the rate limits. Here no client is exempt, so that the limiter does all of
        # its work for every query, with numbers that let the load pass.
        "limits": {"exempt": [], "queries": 1e9, "query_burst": 1e9, "writes": 1e9, "write_burst": 1e9},
        "finger": {"listen": ["127.0.0.1:0"]},
    }


class QuietServer(Server):
    """fingertrio without query lines. It is told so after its start, since the harness reads the lines about that."""

    def __init__(self, directory: Path, *, core: int) -> None:
        self._config = directory / "quiet.toml"
        command: list[str | Path] = [*COMMAND, "serve", "--config", self._config]
        super().__init__("quiet", command, directory / "quiet.log", core=core)

    def start(self) -> None:
        self._config.write_text(to_toml(configuration()))
        super().start()

    def wait_ready(self, within: float = START) -> None:
        super().wait_ready(within)
        self._config.write_text(to_toml({**configuration(), "log": {"level": "warning"}}))
        self.signal(SIGHUP)
        until = time.monotonic() + within
        while self._logs_queries():
            if time.monotonic() > until:
                raise BenchmarkError("fingertrio goes on logging queries after it was told not to")

    def _logs_queries(self) -> bool:
        with socket.create_connection(self.address(DOOR), timeout=5) as client:
            client.sendall(QUERY)
            client.recv(1024)
        time.sleep(0.2)  # lines wait in memory for a moment
        before = self.log.stat().st_size
        with socket.create_connection(self.address(DOOR), timeout=5) as client:
            client.sendall(QUERY)
            client.recv(1024)
        time.sleep(0.2)
        return self.log.stat().st_size > before


class Servers:
    """Makes the servers. A program is compiled when it is first needed."""

    def __init__(self, directory: Path, cores: Cores) -> None:
        self._directory = directory
        self._cores = cores
        self._started = 0
        uncached.publish(directory)

    def make(self, name: str) -> Server:
        """A server, not yet started.

        Raises:
            UnavailableError: this machine does not have what it needs.
        """
        self._started += 1
        core, log = self._cores.server, self._directory / f"{name}-{self._started}.log"
        if name == "uncached":
            config = {**configuration(name), "service": {"cache_ttl": 0.0}}
            environ = {"PYTHONPATH": str(self._directory)}
            return fingertrio_server(name, self._directory, config, core=core, environ=environ)
        if name == "fingertrio":
            return fingertrio_server(name, self._directory, configuration(), core=core)
        if name == "quiet":
            return QuietServer(self._directory, core=core)
        if name in {"cold", "cold file"}:
            config = {**configuration(), "service": {"cache_size": COLD_CACHE}, "backend": self._cold_backend(name)}
            return fingertrio_server(name.replace(" ", "-"), self._directory, config, core=core)
        return Server(name, self._peer(name), log, core=core)

    def _cold_backend(self, name: str) -> dict[str, Any]:
        users = {f"user{number:04}": STATUS for number in range(10_000)}
        if name == "cold":
            return {"use": "memory", "users": users}
        path = self._directory / "users"
        path.write_text("".join(f"{user}: {status}\n" for user, status in users.items()))
        return {"use": "file", "path": path}

    def _peer(self, name: str) -> Sequence[str]:
        peers = HERE / "peers"
        if name == "floor":
            return [str(compiled_c(peers / "floor.c")), ANSWER.decode(), str(DEFER)]
        if name in {"go", "go log"}:
            return [str(compiled_go(peers / "server.go")), *name.split()[1:]]
        if name == "twisted":
            if importlib.util.find_spec("twisted") is None:
                raise UnavailableError("twisted is not installed (pip install -r benchmarks/requirements.txt)")
            return [sys.executable, str(peers / "twisted_tutorial.py")]
        if name == "asyncio":
            return [sys.executable, str(peers / "asyncio_protocol.py")]
        return [sys.executable, str(peers / "plain_trio.py")]
