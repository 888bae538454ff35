"""Who takes part in the finger benchmark: each row of its tables, and how each server is started."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import uncached
from benchmarks.harness import HERE, Cores, Server, Unavailable, compiled_c, compiled_go

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
    "hit": "fingertrio, hit",
    "unknown": "fingertrio, unknown user",
    "plan": "fingertrio, 2 KB plan",
    "verbose": "fingertrio, /W",
    "list": "fingertrio, list of 20",
    "miss": "fingertrio, cache miss",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a query, of which server, and what its answer is or must hold."""

    name: str
    server: str
    query: bytes = QUERY
    holds: bytes = ANSWER


CASES = (
    *(Case(peer, peer) for peer in PEERS),
    Case("hit", "fingertrio"),
    Case("unknown", "fingertrio", b"nobody\r\n", b"No such user\r\n"),
    Case("plan", "fingertrio", b"planner\r\n", b"week 40:"),
    Case("verbose", "fingertrio", b"/W moshez\r\n", STATUS.encode()),
    Case("list", "fingertrio", b"\r\n", b"user16"),
    Case("miss", "uncached"),
)


def _configuration(backend: str, service: str = "") -> str:
    """fingertrio's, with nothing in it but users and the door; 20 users, as the list's row promises."""
    plan = "\\n".join(f"week {week}: read, write, walk, and see to the roses" for week in range(1, 41))
    users = {
        "moshez": STATUS,
        "ada": "Weaving algebraical patterns",
        "grace": "Found a moth",
        "planner": plan,
        **{f"user{number:02}": f"At work on part {number}" for number in range(1, 17)},
    }
    lines = [f'{user} = "{status}"' for user, status in users.items()]
    # A benchmark in a container often is root; on a loopback port that is no matter.
    process = "[process]\nrun_as_root = true" if os.geteuid() == 0 else ""
    # The default exempts loopback from the rate limit. Here nobody is exempt, so that the limiter does its whole work
    # for every query, with numbers that let the load pass.
    limits = "[limits]\nexempt = []\nqueries = 1e9\nquery_burst = 1e9"
    sections = [f'[backend]\nuse = "{backend}"', "[backend.users]", *lines, service, process, limits]
    return "\n".join([*sections, '[finger]\nlisten = ["127.0.0.1:0"]\n'])


class Servers:
    """How each server is started. Programs are compiled, and configurations written, when they are first needed."""

    def __init__(self, directory: Path, cores: Cores) -> None:
        self._directory = directory
        self._cores = cores
        self._started = 0
        uncached.publish(directory)

    def make(self, name: str) -> Server:
        """A server, not yet started.

        Raises:
            Unavailable: this machine does not have what it needs.
        """
        self._started += 1
        return Server(
            name,
            self._argv(name),
            core=self._cores.server,
            log=self._directory / f"{name}-{self._started}.log",
            environ={"PYTHONPATH": str(self._directory)} if name == "uncached" else None,
        )

    def _argv(self, name: str) -> Sequence[str]:
        peers = HERE / "peers"
        if name == "floor":
            return [str(compiled_c(peers / "floor.c")), ANSWER.decode(), str(DEFER)]
        if name == "go":
            return [str(compiled_go(peers / "server.go"))]
        if name == "twisted":
            if importlib.util.find_spec("twisted") is None:
                raise Unavailable("twisted is not installed (pip install -r benchmarks/requirements.txt)")
            return [sys.executable, str(peers / "twisted_tutorial.py")]
        if name == "asyncio":
            return [sys.executable, str(peers / "asyncio_protocol.py")]
        if name == "trio":
            return [sys.executable, str(peers / "plain_trio.py")]
        config = self._directory / f"{name}.toml"
        config.write_text(
            _configuration("uncached", "[service]\ncache_ttl = 0") if name == "uncached" else _configuration("memory")
        )
        return [sys.executable, "-m", "fingertrio", "serve", "--config", str(config)]
