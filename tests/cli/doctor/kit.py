"""Installations that tests make up: a configuration, a running server, and a machine with another /proc."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from fingertrio.cli.doctor.check import Check, Result
from fingertrio.cli.doctor.installation import Installation
from fingertrio.cli.doctor.machine import Machine
from fingertrio.cli.doctor.running import run_check
from fingertrio.config.config import parse_config
from fingertrio.server.runtime import RunningServer

MEMORY = {"backend": {"use": "memory"}}

NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading the system's certificates takes 50 ms of CPU time


@dataclass
class FakeMachine:
    """A proc file system in a directory, and programs that print what a test says.

    programs: by the beginning of a command line, what it prints.
    """

    root: Path
    programs: dict[str, str] = field(default_factory=dict)
    booted: bool = False

    def __post_init__(self) -> None:
        for name in ("proc/net", "proc/self"):
            (self.root / name).mkdir(parents=True)
        self.rows: dict[str, list[str]] = {name: ["heading"] for name in ("tcp", "tcp6", "unix")}
        self.own("127.0.0.1", "::1")

    @property
    def proc(self) -> Path:
        return self.root / "proc"

    @property
    def machine(self) -> Machine:
        systemd = self.root / "systemd"
        if self.booted:
            systemd.mkdir(exist_ok=True)
        return Machine(self.proc, systemd, self.run)

    async def run(self, command: Sequence[str]) -> str | None:
        text = " ".join(command)
        return next((said for start, said in self.programs.items() if text.startswith(start)), None)

    def own(self, *addresses: str) -> None:
        """The addresses of this machine."""
        found = [ip_address(each) for each in addresses]
        trie = [f"           |-- {ip}\n              /32 host LOCAL\n" for ip in found if ip.version == 4]
        inet6 = [f"{ip.packed.hex()} 04 40 00 82     eth0\n" for ip in found if ip.version == 6]
        (self.proc / "net/fib_trie").write_text("Main:\n" + "".join(trie))
        (self.proc / "net/if_inet6").write_text("".join(inet6))

    def listen(self, address: str, inode: int, state: str = "0A") -> None:
        """A socket: "127.0.0.1:79", "[::]:79" or "unix:/path"."""
        if address.startswith("unix:"):
            row = f"0000: 00000002 00000000 00010000 0001 01 {inode} {address.removeprefix('unix:')}"
            self._row("unix", row)
            return
        host, _, port = address.rpartition(":")
        ip = ip_address(host.strip("[]"))
        words = [ip.packed[at : at + 4][::-1].hex().upper() for at in range(0, len(ip.packed), 4)]
        row = f"0: {''.join(words)}:{int(port):04X} 0:0 {state} 0:0 00:0 0 0 0 {inode} 1"
        self._row("tcp" if ip.version == 4 else "tcp6", row)

    def _row(self, name: str, row: str) -> None:
        self.rows[name].append(row)
        (self.proc / "net" / name).write_text("\n".join(self.rows[name]) + "\n")

    def process(self, pid: int, command: str, *inodes: int, unit: str = "", **files: str) -> None:
        """A process with these sockets open; `files` are more files in its directory."""
        directory = self.proc / str(pid)
        (directory / "fd").mkdir(parents=True)
        (directory / "cmdline").write_text(command.replace(" ", "\0") + "\0")
        (directory / "cgroup").write_text(f"0::/system.slice/{unit}\n")
        for number, inode in enumerate(inodes):
            (directory / f"fd/{number}").symlink_to(f"socket:[{inode}]")
        for name, text in files.items():
            (directory / name).write_text(text)

    def mount(self, *mounts: tuple[str, str], options: str = "rw") -> None:
        """File systems: where, and of which type."""
        lines = [f"1 0 8:1 / {where} {options} shared:1 - {kind} dev rw\n" for where, kind in mounts]
        (self.proc / "self/mountinfo").write_text("".join(lines))


def running(pid: int | None = None, **fields: Any) -> RunningServer:
    """A server that runs, by default as this process."""
    return RunningServer(os.getpid() if pid is None else pid, **fields)


def installation(table: Mapping[str, Any] = MEMORY, **fields: Any) -> Installation:
    """An installation with this configuration."""
    return Installation(config=parse_config({**MEMORY, **table}), **{"trust": NO_TRUST, **fields})


async def look(check: Check, place: Installation) -> Sequence[Result]:
    """What a check finds; it must apply."""
    outcome = await run_check(place, check)
    assert not outcome.skipped, outcome.skipped
    return outcome.results


async def levels(check: Check, place: Installation) -> list[str]:
    """The levels of what a check finds."""
    return [result.level for result in await look(check, place)]


async def only(check: Check, place: Installation, level: str) -> Result:
    """The only result of this level."""
    results = await look(check, place)
    (found,) = [result for result in results if result.level == level]
    if level != "ok":
        assert found.why
        assert found.next
    return found


async def faults(check: Check, place: Installation) -> list[str]:
    """What a check finds besides what is fine, as "level: what"."""
    return [f"{result.level}: {result.what}" for result in await look(check, place) if result.level != "ok"]
