"""A real IRC server, and a client on it that queries the bot."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from faults.clients import dial
from faults.program import STATUS, USER
from faults.scenario import Findings, NotInstalledError, ScenarioError

BOT = "fingerbot"

# A bot that keeps to the flood rule sends one line in two seconds.
_PAUSE = 2.2
_PATIENCE = 15.0

# No penalties, since they slow the client down; no files outside the directory.
_CONFIGURATION = """
[Global]
Name = irc.faults.example
Info = faults
AdminEMail = nobody@faults.example
Listen = 127.0.0.1
Ports = {port}
PidFile =
[Limits]
MaxConnectionsIP = 0
MaxPenaltyTime = 0
[Options]
DNS = no
Ident = no
PAM = no
"""


@asynccontextmanager
async def ircd() -> AsyncIterator[int]:
    """An ngircd on 127.0.0.1; its port.

    Raises:
        NotInstalledError: ngircd is not installed.
    """
    program = shutil.which("ngircd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise NotInstalledError("needs ngircd (Debian package ngircd)")
    with socket.create_server(("127.0.0.1", 0)) as free, tempfile.TemporaryDirectory(prefix="ngircd-") as directory:
        port: int = free.getsockname()[1]
        free.close()
        process = await trio.lowlevel.open_process(
            [program, "-n", "-f", _write_configuration(Path(directory), port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with trio.fail_after(_PATIENCE):
                await _until_it_listens(port)
            yield port
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()


def _write_configuration(directory: Path, port: int) -> str:
    config = directory / "ngircd.conf"
    config.write_text(_CONFIGURATION.format(port=port))
    directory.chmod(0o755)  # started by root, ngircd runs as "nobody", who must be able to read it
    return str(config)


async def _until_it_listens(port: int) -> None:
    while True:
        try:
            await (await dial(port)).aclose()
        except OSError:
            await trio.sleep(0.05)
        else:
            return


class IRCAsker:
    """A client on the server that queries the bot repeatedly.

    Attributes:
        asked: how many queries.
        lost: how many without an answer.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.asked = 0
        self.lost = 0
        self._stopping = trio.Event()
        self._stream = stream
        self._buffer = b""

    def report(self, findings: Findings) -> None:
        """Record how many queries were answered, and require that none was lost."""
        findings.figure(f"IRC {self.asked - self.lost}/{self.asked}")
        findings.require(self.asked, "there was no query on IRC")
        findings.require(not self.lost, f"IRC lost {self.lost} of {self.asked}")

    async def register(self) -> None:
        """Register, and wait for the bot."""
        await self._send("NICK asker", "USER asker 0 * :asker")
        await self._until(" 001 ")
        while True:
            await self._send(f"ISON {BOT}")
            if BOT in await self._until(" 303 "):
                return
            await trio.sleep(0.1)

    def stop(self) -> None:
        """Let `run` return after the outstanding answer."""
        self._stopping.set()

    async def run(self) -> None:
        """Query until stopped."""
        while not self._stopping.is_set():
            self.asked += 1
            await self._send(f"PRIVMSG {BOT} :{USER}")
            with trio.move_on_after(_PATIENCE) as waiting:
                while STATUS not in await self._until(" PRIVMSG "):
                    pass
            self.lost += waiting.cancelled_caught
            with trio.move_on_after(_PAUSE):
                await self._stopping.wait()

    async def _send(self, *lines: str) -> None:
        await self._stream.send_all("".join(f"{line}\r\n" for line in lines).encode())

    async def _until(self, command: str) -> str:
        """The next line with this command."""
        while True:
            while b"\r\n" not in self._buffer:
                chunk = await self._stream.receive_some()
                if not chunk:
                    raise ScenarioError("ngircd closed the connection")
                self._buffer += chunk
            found, self._buffer = self._buffer.split(b"\r\n", 1)
            line = found.decode()
            if line.startswith("PING"):
                await self._send(line.replace("PING", "PONG", 1))
            elif command in line:
                return line


@asynccontextmanager
async def asking_the_bot(port: int) -> AsyncIterator[IRCAsker]:
    """Query the bot during the context."""
    async with await dial(port) as stream, trio.open_nursery() as nursery:
        asker = IRCAsker(stream)
        with trio.fail_after(_PATIENCE):
            await asker.register()
        nursery.start_soon(asker.run)
        yield asker
        asker.stop()
