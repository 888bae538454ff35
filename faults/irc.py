"""A real IRC server, and somebody on it who asks the bot."""

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

# A bot that obeys the flood rule says a line in two seconds.
_PAUSE = 2.2
_PATIENCE = 15.0

# No penalties, since they slow down who asks; nothing outside of the directory.
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
        NotInstalledError: this machine has none.
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
    directory.chmod(0o755)  # started by root it becomes nobody, who must still get there
    return str(config)


async def _until_it_listens(port: int) -> None:
    while True:
        try:
            await (await dial(port)).aclose()
        except OSError:
            await trio.sleep(0.05)
        else:
            return


class Asker:
    """Somebody on the server who asks the bot again and again.

    Attributes:
        asked: how often.
        lost: how often there was no answer.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.asked = 0
        self.lost = 0
        self._stopping = trio.Event()
        self._stream = stream
        self._buffer = b""

    def report(self, findings: Findings) -> None:
        """What was answered, as a figure; and require that nothing was lost."""
        findings.figure(f"IRC {self.asked - self.lost}/{self.asked}")
        findings.require(self.asked, "nobody was asked on IRC")
        findings.require(not self.lost, f"IRC lost {self.lost} of {self.asked}")

    async def register(self) -> None:
        """Get in, and wait until the bot is there too."""
        await self._send("NICK asker", "USER asker 0 * :asker")
        await self._until(" 001 ")
        while True:
            await self._send(f"ISON {BOT}")
            if BOT in await self._until(" 303 "):
                return
            await trio.sleep(0.1)

    def stop(self) -> None:
        """Let `run` return after the answer that is due."""
        self._stopping.set()

    async def run(self) -> None:
        """Ask until stopped."""
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
                    raise ScenarioError("ngircd has closed the connection")
                self._buffer += chunk
            found, self._buffer = self._buffer.split(b"\r\n", 1)
            line = found.decode()
            if line.startswith("PING"):
                await self._send(line.replace("PING", "PONG", 1))
            elif command in line:
                return line


@asynccontextmanager
async def asking_the_bot(port: int) -> AsyncIterator[Asker]:
    """Ask the bot during the block."""
    async with await dial(port) as stream, trio.open_nursery() as nursery:
        asker = Asker(stream)
        with trio.fail_after(_PATIENCE):
            await asker.register()
        nursery.start_soon(asker.run)
        yield asker
        asker.stop()
