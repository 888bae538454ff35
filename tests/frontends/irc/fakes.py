"""A scripted IRC server over memory streams."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import trio
from trio.testing import memory_stream_pair

from fingertrio.wire.lines import LineBuffer


class FakeServer:
    """The server's end of one connection, line by line."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.shows_pings = False
        self.ignored: set[str] = set()  # lines that `line` does not return
        self._lines = LineBuffer(512)

    async def line(self) -> str:
        """The next line from the client, which must arrive within ten minutes of the mock clock.

        A PING is answered and not returned, unless the test asks for it.
        """
        with trio.fail_after(600):
            while True:
                while (line := self._lines.take()) is None:
                    data = await self.stream.receive_some()
                    assert data, "the client has closed"
                    self._lines.feed(bytes(data))
                if line == b"PING fingertrio" and not self.shows_pings:
                    await self.say(":irc.test PONG irc.test :fingertrio")
                elif line.decode() not in self.ignored:
                    return line.decode()

    async def lines(self, number: int) -> list[str]:
        return [await self.line() for _ in range(number)]

    async def rest(self) -> list[str]:
        """All lines until the client closes."""
        lines = []
        with trio.fail_after(600):
            while data := await self.stream.receive_some():
                self._lines.feed(bytes(data))
        while (line := self._lines.take()) is not None:
            lines.append(line.decode())
        return lines

    async def say(self, *lines: str) -> None:
        await self.stream.send_all("".join(f"{line}\r\n" for line in lines).encode())

    async def ask(self, text: str, *, nick: str = "alice", me: str = "fingerbot", host: str | None = None) -> None:
        """A private message to the client."""
        await self.say(f":{nick}!~{nick}@{host or nick + '.example'} PRIVMSG {me} :{text}")

    async def welcome(self, nick: str = "fingerbot") -> None:
        """Receive the client's registration and accept it; the server has neither capabilities nor limits."""
        await self.introduced(nick)
        await self.say(f":irc.test 001 {nick} :Welcome", f":irc.test 422 {nick} :no message of the day")
        assert await self.line() == f"USERHOST {nick}"

    async def welcome_with(self, caps: str = "", supports: str = "", nick: str = "fingerbot") -> None:
        """The same on a server that grants `caps` and supports these things."""
        assert await self.line() == "CAP LS 302"
        await self.say(f":irc.test CAP * LS :{caps}")
        while not (line := await self.line()).startswith("CAP"):
            pass
        if line != "CAP END":
            await self.say(f":irc.test CAP * ACK {line.removeprefix('CAP REQ ')}")
            while await self.line() != "CAP END":
                pass
        await self.say(f":irc.test 001 {nick} :Welcome", f":irc.test 005 {nick} {supports} :are supported")
        await self.say(f":irc.test 376 {nick} :end")
        assert await self.line() == f"USERHOST {nick}"

    async def introduced(self, nick: str = "fingerbot") -> None:
        """Receive the client's registration; the server knows no capabilities."""
        assert await self.line() == "CAP LS 302"
        await self.say(":irc.test 421 * CAP :Unknown command")
        assert await self.line() == f"NICK {nick}"
        assert (await self.line()).startswith("USER fingertrio 0 * :")

    async def idle(self, seconds: float) -> None:
        """Let time pass, answering PING."""
        until = trio.current_time() + seconds
        while (left := until - trio.current_time()) > 0:
            await trio.sleep(min(left, 20))
            await self.settled()

    async def settled(self) -> None:
        """Wait until the client has processed all lines sent before: it answers a PING."""
        await self.say("PING :barrier")
        assert await self.line() == "PONG barrier"


class FakeNetwork:
    """Provides the client's `connect`. Each attempt fails, hangs, or becomes a connection for `accept`.

    Attributes:
        attempts: the times of all attempts, on trio's clock.
        streams: the client's ends of all connections.
        failure: if not None, each attempt raises it.
        hang: if True, attempts never finish.
        wrap: applied to the client's stream of each connection.
    """

    def __init__(self) -> None:
        self.address = "irc.test"
        self.attempts: list[float] = []
        self.streams: list[trio.abc.Stream] = []
        self.failure: Exception | None = None
        self.hang = False
        self.wrap: Callable[[trio.abc.Stream], trio.abc.Stream] = lambda stream: stream
        self._send, self._receive = trio.open_memory_channel[FakeServer](100)

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        assert (host, port) == (self.address, 6667)
        self.attempts.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.hang:
            await trio.sleep_forever()
        if self.failure is not None:
            raise self.failure
        client, server = memory_stream_pair()
        self._send.send_nowait(FakeServer(server))
        self.streams.append(client)
        return self.wrap(client)

    async def accept(self) -> FakeServer:
        """The next connection, which must arrive within an hour of the mock clock."""
        with trio.fail_after(3600):
            return await self._receive.receive()


class Slow(trio.abc.Stream):
    """A stream that sends slowly, byte by byte, and fails if two tasks send at the same time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._sending = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._sending, "two tasks send at once"
        self._sending = True
        for byte in bytes(data):
            await trio.sleep(0.01)
            await self._stream.send_all(bytes([byte]))
        self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class Stuck(Slow):
    """A stream whose peer never reads."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep_forever()


class Log:
    """A stream for an observer, with the records written to it."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def records(self, *events: str) -> list[dict[str, object]]:
        """All records, or those of `events`."""
        records = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [record for record in records if not events or record["event"] in events]
