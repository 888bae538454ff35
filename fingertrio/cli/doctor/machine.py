"""What this machine says of itself: sockets, processes, addresses, file systems, and the output of other programs.

Every method blocks for milliseconds at most, except `run`. A test gives another /proc and other programs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise
from pathlib import Path

import trio

IP = IPv4Address | IPv6Address

_LISTENING = "0A"  # TCP_LISTEN, in /proc/net/tcp
_ACCEPTS = 0x10000  # __SO_ACCEPTCON, in /proc/net/unix
_LINK_LOCAL = "20"  # scope of an address that needs an interface beside it, in /proc/net/if_inet6
_OUTPUT = 60  # characters of a command line that are shown
_PATIENCE = 5.0  # seconds for another program


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket: an address, or the path of a Unix socket."""

    inode: int
    host: IP | None = None
    port: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True)
class Process:
    """A running program.

    Attributes:
        pid: its number.
        command: its command line, shortened.
        unit: the systemd unit that it belongs to; empty: none is known.
    """

    pid: int
    command: str
    unit: str = ""

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command})" + (f" of {self.unit}" if self.unit else "")


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system: its type, where it is mounted, and whether it is read-only."""

    kind: str
    place: str
    read_only: bool


async def run_program(command: Sequence[str]) -> str | None:
    """The standard output of a program; None: it is not installed, fails, or does not end in time."""
    with trio.move_on_after(_PATIENCE), suppress(OSError):
        done = await trio.run_process(
            command, capture_stdout=True, stderr=subprocess.DEVNULL, check=False, env={**os.environ, "LC_ALL": "C"}
        )
        if done.returncode == 0:
            return done.stdout.decode("utf-8", "replace")
    return None


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine.

    Attributes:
        proc: the proc file system.
        systemd: exists if systemd runs (sd_booted(3)).
        run: runs a program, see `run_program`.
    """

    proc: Path = Path("/proc")
    systemd: Path = Path("/run/systemd/system")
    run: Callable[[Sequence[str]], Awaitable[str | None]] = run_program

    def listeners(self) -> list[Listener]:
        """All listening sockets, of all users."""
        found = []
        for name in ("tcp", "tcp6"):
            for fields in self._rows(f"net/{name}", 10):
                if fields[3] == _LISTENING:
                    host, _, port = fields[1].partition(":")
                    found.append(Listener(int(fields[9]), _parse_hex(host), int(port, 16)))
        rows = self._rows("net/unix", 8)
        return found + [Listener(int(row[6]), path=row[7]) for row in rows if int(row[3], 16) & _ACCEPTS]

    def _rows(self, name: str, least: int) -> Iterator[list[str]]:
        with suppress(OSError):
            for line in (self.proc / name).read_text("utf-8", "replace").splitlines()[1:]:
                if len(fields := line.split(maxsplit=least - 1 if name.endswith("unix") else -1)) >= least:
                    yield fields

    def holders(self, inodes: Collection[int]) -> dict[int, list[Process]]:
        """The processes that have these sockets open, as far as this user may see them."""
        wanted = {f"socket:[{inode}]": inode for inode in inodes}
        found: dict[int, list[Process]] = {inode: [] for inode in inodes}
        for directory in self.proc.glob("[0-9]*/fd"):
            pid = int(directory.parent.name)
            for inode in {wanted[target] for target in _targets(directory) if target in wanted}:
                found[inode].append(self.process(pid))
        return found

    def process(self, pid: int) -> Process:
        """What is known of a process."""
        command = unit = ""
        with suppress(OSError):
            words = (self.proc / f"{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            # The directories of an interpreter and its script would fill the line.
            command = " ".join([*(word.rpartition("/")[2] for word in words[:2]), *words[2:]]).strip()
        if not command:  # of a program that has changed its arguments
            with suppress(OSError):
                command = (self.proc / f"{pid}/comm").read_text("utf-8", "replace").strip()
        with suppress(OSError):
            last = (self.proc / f"{pid}/cgroup").read_text("utf-8", "replace").strip().rpartition("/")[2]
            unit = last if last.endswith(".service") else ""
        return Process(pid, f"{command[:_OUTPUT]}..." if len(command) > _OUTPUT else command or "?", unit)

    def status(self, pid: int) -> dict[str, str]:
        """The lines of /proc/PID/status by their name; empty: there is no such process."""
        with suppress(OSError):
            lines = (self.proc / f"{pid}/status").read_text("utf-8", "replace").splitlines()
            return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return {}

    def environ(self, pid: int) -> dict[str, str] | None:
        """The environment that a process was started with; None: this user may not see it."""
        with suppress(OSError):
            parts = (self.proc / f"{pid}/environ").read_bytes().decode("utf-8", "surrogateescape").split("\0")
            return {name: value for name, equals, value in (part.partition("=") for part in parts) if equals}
        return None

    def addresses(self) -> list[IP]:
        """The addresses of this machine, loopback first, without link-local ones."""
        found: set[IP] = set()
        with suppress(OSError):
            lines = (self.proc / "net/fib_trie").read_text().splitlines()
            for before, line in pairwise(lines):
                if "/32 host LOCAL" in line:
                    found.add(IPv4Address(before.split()[-1]))
        for fields in self._rows_without_heading("net/if_inet6"):
            if fields[3] != _LINK_LOCAL:
                found.add(IPv6Address(bytes.fromhex(fields[0])))
        return sorted(found, key=lambda ip: (not ip.is_loopback, ip.version, int(ip)))

    def _rows_without_heading(self, name: str) -> Iterator[list[str]]:
        with suppress(OSError):
            yield from (line.split() for line in (self.proc / name).read_text().splitlines())

    def mount_of(self, path: Path) -> Mount | None:
        """The file system on which `path` is."""
        found: Mount | None = None
        place = str(path.resolve())
        for fields in self._rows_without_heading("self/mountinfo"):
            at = fields[4].encode().decode("unicode_escape")  # proc(5): blanks are written \040
            inside = place == at or place.startswith(at.rstrip("/") + "/")
            if inside and (found is None or len(at) >= len(found.place)):
                kind = fields[fields.index("-") + 1]
                found = Mount(kind, at, "ro" in fields[5].split(","))
        return found

    def number(self, name: str) -> int | None:
        """A number in /proc/sys; None: there is none."""
        with suppress(OSError, ValueError):
            return int((self.proc / "sys" / name).read_text())
        return None


def _targets(directory: Path) -> Iterator[str]:
    """What the open files of a process are, as far as this user may see them."""
    with suppress(OSError):
        for entry in directory.iterdir():
            with suppress(OSError):  # closed meanwhile
                yield str(entry.readlink())


def _parse_hex(text: str) -> IP:
    """An address as /proc/net/tcp writes it: 32-bit words in the byte order of the machine."""
    words = [bytes.fromhex(text[start : start + 8]) for start in range(0, len(text), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    ip = ip_address(packed)
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip
