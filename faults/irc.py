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


class _Person:
    """One connection to the IRC server."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def register(self, name: str) -> None:
        """Register with `name` as nick and user."""
        await self.send(f"NICK {name}", f"USER {name} 0 * :{name}")
        await self.until(" 001 ")

    async def send(self, *lines: str) -> None:
        """Send whole lines."""
        await self._stream.send_all("".join(f"{line}\r\n" for line in lines).encode())

    async def until(self, command: str) -> str:
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
                await self.send(line.replace("PING", "PONG", 1))
            elif command in line:
                return line


class IRCAsker:
    """Asks the bot again and again, each time as another person: the bot does not repeat an answer within 30 s.

    Attributes:
        asked: the number of questions.
        lost: the number of questions without an answer.
    """

    def __init__(self, port: int) -> None:
        self.asked = 0
        self.lost = 0
        self._port = port
        self._stopping = trio.Event()

    def report(self, findings: Findings) -> None:
        """Report the number of answers, and require that each question was answered."""
        findings.figure(f"IRC {self.asked - self.lost}/{self.asked}")
        findings.require(self.asked, "no question was asked on IRC")
        findings.require(not self.lost, f"IRC lost {self.lost} of {self.asked}")

    async def wait_for_bot(self) -> None:
        """Wait until the bot is on the server."""
        async with await dial(self._port) as stream:
            person = _Person(stream)
            await person.register("waiter")
            while True:
                await person.send(f"ISON {BOT}")
                if BOT in await person.until(" 303 "):
                    return
                await trio.sleep(0.1)

    def stop(self) -> None:
        """Let `run` return after the answer to its last question."""
        self._stopping.set()

    async def run(self) -> None:
        """Ask until stopped."""
        while not self._stopping.is_set():
            self.asked += 1
            with trio.move_on_after(_PATIENCE) as waiting:
                async with await dial(self._port) as stream:
                    await self._ask(_Person(stream), f"p{self.asked}")
            self.lost += waiting.cancelled_caught
            with trio.move_on_after(_PAUSE):
                await self._stopping.wait()

    async def _ask(self, person: _Person, name: str) -> None:
        await person.register(name)
        await person.send(f"PRIVMSG {BOT} :{USER}")
        while STATUS not in await person.until(" PRIVMSG "):
            pass


@asynccontextmanager
async def asking_the_bot(port: int) -> AsyncIterator[IRCAsker]:
    """Ask the bot during the block."""
    asker = IRCAsker(port)
    with trio.fail_after(_PATIENCE):
        await asker.wait_for_bot()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asker.run)
        yield asker
        asker.stop()
