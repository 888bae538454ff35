"""Our client on a real ngircd, with an independent client. Real time, loopback only."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

from fingertrio.frontends.irc import IRCFrontend, IRCTimes, NetworkSettings, ServerAddress
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing.fakes import FakeReader
from fingertrio.wire.irc_login import Login
from tests.frontends.irc.real import NGIRCD

pytestmark = pytest.mark.slow  # a real server, in real time

PATIENCE = 20  # seconds for each step, which takes milliseconds unless the machine is busy


class Ngircd:
    """A server on its own port, which can be stopped and started again."""

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._configuration = directory / "ngircd.conf"
        self._process: trio.Process | None = None
        self.port = 0

    async def start(self) -> None:
        """Returns when the server listens. The first start picks a free port, again if it was taken meanwhile."""
        for _ in range(10):
            port = self.port or free_port()
            self._configuration.write_text(NGIRCD.format(port=port, password=""))
            if await self._run():
                self.port = port
                return
        pytest.fail("ngircd does not start")

    async def _run(self) -> bool:
        self._process = await trio.lowlevel.open_process(
            [self._program, "-n", "-f", str(self._configuration)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdout is not None
        seen = b""
        with trio.fail_after(PATIENCE):
            async for data in self._process.stdout:
                seen += data
                if b"Can't bind" in seen or b"Now listening" in seen:
                    break
        # The later output, a few lines, fits into the pipe.
        if b"Now listening" in seen:
            return True
        await self.stop()
        return False

    async def stop(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()
                assert process.stdout is not None
                await process.stdout.aclose()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Human:
    """A small IRC client that shares no code with ours."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def send(self, line: str) -> None:
        await self._stream.send_all(line.encode() + b"\r\n")

    async def expect(self, command: str) -> tuple[str, str]:
        """The source and the rest of the next line with this command."""
        with trio.fail_after(PATIENCE):
            while True:
                while b"\r\n" not in self._buffer:
                    data = await self._stream.receive_some()
                    assert data, "the server has closed"
                    self._buffer += data
                line, self._buffer = self._buffer.split(b"\r\n", 1)
                words = line.decode().split(" ", 2)
                if words[0] == "PING":
                    await self.send(f"PONG {words[1]}")
                elif words[1] == command:
                    return words[0].removeprefix(":"), words[2]

    async def ask(self, whom: str, text: str, answers: int = 1) -> list[str]:
        """The texts of the private messages that `whom` answers with."""
        await self.send(f"PRIVMSG {whom} :{text}")
        texts = []
        for _ in range(answers):
            source, rest = await self.expect("PRIVMSG")
            assert source.startswith(f"{whom}!")
            texts.append(rest.split(":", 1)[1])
        return texts


class RecordingObserver(Observer):
    """Lets a test wait for an event."""

    def __init__(self) -> None:
        super().__init__()
        self._send, self._receive = trio.open_memory_channel[tuple[str, dict[str, object]]](1000)

    def info(self, event: str, **fields: object) -> None:
        self._send.send_nowait((event, fields))

    def warning(self, event: str, *, exc: BaseException | None = None, **fields: object) -> None:
        self._send.send_nowait((event, fields))

    def refused(self, door: str, reason: str) -> None:
        super().refused(door, reason)
        self._send.send_nowait(("refused", {"reason": reason}))

    async def wait(self, event: str) -> dict[str, object]:
        with trio.fail_after(PATIENCE):
            async for name, fields in self._receive:
                if name == event:
                    return fields
        raise AssertionError("the channel never closes")


@pytest.fixture
async def ngircd(tmp_path: Path) -> AsyncIterator[Ngircd]:
    program = shutil.which("ngircd", path=f"{os.environ['PATH']}:/usr/sbin")  # often missing from PATH
    if program is None:
        pytest.skip("needs ngircd (Debian package ngircd)")
    server = Ngircd(program, tmp_path)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


Join = Callable[[str], AbstractAsyncContextManager[Human]]


@pytest.fixture
def join(ngircd: Ngircd) -> Join:
    @asynccontextmanager
    async def join(nick: str) -> AsyncIterator[Human]:
        async with await trio.open_tcp_stream("127.0.0.1", ngircd.port) as stream:
            human = Human(stream)
            await human.send(f"NICK {nick}")
            await human.send(f"USER {nick} 0 * :{nick}")
            await human.expect("001")
            yield human

    return join


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


LONG = "grüße und küsse, " * 60


class Running:
    """A front end that was started."""

    def __init__(self, front: IRCFrontend) -> None:
        self.stopping = trio.Event()
        self.returned = trio.Event()
        self._front = front

    async def run(self) -> None:
        await self._front.serve(self.stopping)
        self.returned.set()


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(nursery: trio.Nursery, ngircd: Ngircd, observer: RecordingObserver) -> AsyncIterator[Start]:
    """Starts our client; does not wait for its registration."""
    users = {"moshez": "Happy and well", "plan": "one\ntwo", "long": LONG}
    async with FingerService.open(FakeReader(users), observer=observer) as service:

        async def start(nick: str = "fingerbot", times: IRCTimes | None = None) -> Running:
            settings = NetworkSettings(
                name="test",
                servers=(ServerAddress(host="127.0.0.1", port=ngircd.port),),
                login=Login(nick=nick),
                flood_seconds=0.2,  # the server has no penalties here
            )
            front = IRCFrontend(
                service=service,
                observer=observer,
                networks=[settings],
                times=times or IRCTimes(first_pause=0.02, longest_pause=0.1),
                jitter=lambda least, most: least / 10,  # the nick is asked for after 1 s instead of 15
            )
            running = Running(front)
            nursery.start_soon(running.run)
            return running

        yield start


async def test_answers_a_question(start: Start, join: Join, observer: RecordingObserver) -> None:
    await start()
    await observer.wait("irc_registered")
    async with join("alice") as alice, join("bob") as bob:
        assert await alice.ask("fingerbot", "moshez") == ["Status of moshez: Happy and well"]
        assert await bob.ask("fingerbot", "plan", answers=2) == ["Status of plan: one", "two"]


async def test_a_long_status_is_not_truncated_by_the_server(
    start: Start, join: Join, observer: RecordingObserver
) -> None:
    """The server truncates relayed lines at 512 bytes with their source; our pieces fit, no character is split."""
    await start()
    await observer.wait("irc_registered")
    async with join("alice") as alice:
        texts = await alice.ask("fingerbot", "long", answers=3)
        # Each piece but the last ends in a space, which ngircd removes.
        assert " ".join(texts) == f"Status of long: {LONG}".rstrip()


async def test_answers_ctcp_by_notice(start: Start, join: Join, observer: RecordingObserver) -> None:
    await start()
    await observer.wait("irc_registered")
    async with join("alice") as alice:
        await alice.send("PRIVMSG fingerbot :\x01PING 12 34\x01")
        source, rest = await alice.expect("NOTICE")
        assert source.startswith("fingerbot!")
        assert rest == "alice :\x01PING 12 34\x01"
        await alice.send("PRIVMSG fingerbot :nobody")
        assert (await alice.expect("NOTICE"))[1] == "alice :Status of nobody: No such user"


async def test_takes_another_nick_and_gets_its_own_back(start: Start, join: Join, observer: RecordingObserver) -> None:
    async with join("fingerbot") as squatter:
        await start()
        assert (await observer.wait("irc_registered"))["nick"] == "fingerbo1"
        assert await squatter.ask("fingerbo1", "moshez") == ["Status of moshez: Happy and well"]
        await squatter.send("QUIT")
    assert (await observer.wait("irc_nick_changed"))["nick"] == "fingerbot"
    async with join("alice") as alice:
        await alice.send("ISON fingerbot fingerbo1")
        assert (await alice.expect("303"))[1] == "alice :fingerbot"


async def test_shortens_a_nick_that_the_server_finds_too_long(start: Start, observer: RecordingObserver) -> None:
    await start(nick="statusserver")
    assert (await observer.wait("irc_registered"))["nick"] == "statusser"


async def test_comes_back_when_the_server_does(
    start: Start, join: Join, observer: RecordingObserver, ngircd: Ngircd
) -> None:
    await start()
    await observer.wait("irc_registered")
    await ngircd.stop()
    assert "going down" in str((await observer.wait("irc_lost"))["reason"])
    await observer.wait("irc_still_unreachable")
    await ngircd.start()
    await observer.wait("irc_registered")
    async with join("alice") as alice:
        assert await alice.ask("fingerbot", "moshez") == ["Status of moshez: Happy and well"]


async def test_waits_for_a_server_that_is_not_there_yet(
    start: Start, observer: RecordingObserver, ngircd: Ngircd
) -> None:
    await ngircd.stop()
    await start()
    assert (await observer.wait("irc_still_unreachable"))["reason"] == "127.0.0.1: Connection refused"
    await ngircd.start()
    await observer.wait("irc_registered")


async def test_nothing_more_is_sent_to_a_nick_that_left(start: Start, join: Join, observer: RecordingObserver) -> None:
    """The server answers 401 to the first line that it cannot deliver."""
    await start()
    await observer.wait("irc_registered")
    async with join("alice") as alice:
        for name in ("plan", "long", "moshez"):
            await alice.send(f"PRIVMSG fingerbot :{name}")
        await alice.expect("PRIVMSG")
        await alice.send("QUIT")
    assert await observer.wait("refused") == {"reason": "gone"}
    await observer.wait("refused")


async def test_quits_when_stopped(start: Start, join: Join, observer: RecordingObserver) -> None:
    running = await start()
    await observer.wait("irc_registered")
    async with join("alice") as alice:
        await alice.send("ISON fingerbot")
        assert (await alice.expect("303"))[1] == "alice :fingerbot"
        running.stopping.set()
        with trio.fail_after(PATIENCE):
            await running.returned.wait()
        await alice.send("ISON fingerbot")
        assert (await alice.expect("303"))[1] == "alice :"
