"""Random lines, one connection for each, to the two doors that read lines. Each answer must be a valid one.

Written with epoll and not with trio: the sender limits how many lines a second are tried.
"""

from __future__ import annotations

import random
import re
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

from faults.clients import BIND_ADDRESS_NO_PORT, addresses
from faults.program import AttackedProgram, running
from faults.scenario import Findings, Scale, Scenario
from faults.watch import http_probe, watching
from fingertrio.testing.measure import Cores, pinned

SEED = 1288
_AT_ONCE = 64
_SOURCES = 64
_DEADLINE = 300.0  # seconds for one door
_QUIET = 15.0  # seconds without any answer after which no more will come

# The parts of lines, besides random bytes.
_WORDS = (
    b"/W", b"/w", b" ", b"  ", b"\t", b"moshez", b"ada", b"@", b"@host", b"a@b@c", b"-l", b"0", b"a b c", b"x" * 600,
    b"|id", b"../../etc/passwd", b"~root", b"%s%n", b"{}", b"\\", b"'\"", b"\r", b"\x00", b"\x1b[31m", b"\xff",
    "é".encode(), "\x9b".encode(), "\u202e".encode(),
)  # fmt: skip


def _line(source: random.Random) -> bytes:
    if source.random() < 0.4:
        data = source.randbytes(source.randrange(120)).replace(b"\n", b"\r")
    else:
        data = b"".join(source.choices(_WORDS, k=source.randrange(6)))
    return data + (b"\n" if source.random() < 0.2 else b"\r\n")


def finger_line(source: random.Random) -> bytes:
    """Something like a query; sometimes with bytes after it."""
    line = _line(source)
    return line + source.randbytes(9) if source.random() < 0.05 else line


def setter_lines(source: random.Random) -> bytes:
    """Something like a name and a status. Only one name can be set, so that the number of users stays the same."""
    name = source.choice((b"ada\r\n", b"ada\n", _line(source)))
    if re.fullmatch(rb"[\w.-]+\s*", name) and name.strip() != b"ada":
        name = b"@" + name
    return name + b"".join(_line(source) for _ in range(source.choice((0, 1, 1, 1, 2))))


def is_finger_answer(answer: bytes) -> bool:
    """Whole lines of text without control characters."""
    try:
        text = answer.decode()
    except UnicodeDecodeError:
        return False
    return text.endswith("\r\n") and all(line.replace("\t", "").isprintable() for line in text[:-2].split("\r\n"))


def is_setter_answer(answer: bytes) -> bool:
    """OK, or an error in one clean line."""
    return answer == b"OK\r\n" or (
        answer.startswith(b"ERROR ") and is_finger_answer(answer) and answer.count(b"\n") == 1
    )


class LineSender:
    """Sends lines to one port.

    Attributes:
        outcomes: how many connections ended how.
        bad: some invalid answers, with their lines.
    """

    def __init__(self, port: int, lines: Iterator[bytes], is_answer: Callable[[bytes], bool], *, end: bool) -> None:
        self.outcomes: Counter[str] = Counter()
        self.bad: list[tuple[bytes, bytes]] = []
        self._port = port
        self._lines = lines
        self._is_answer = is_answer
        self._end = end
        self._sources = addresses(_SOURCES)
        self._epoll = select.epoll()
        self._going: dict[int, tuple[socket.socket, bytes]] = {}

    def run(self) -> float:
        """Send all lines; the seconds that it took."""
        began = last = time.monotonic()
        with self._epoll:
            for _ in range(_AT_ONCE):
                self._next()
            while self._going and last < began + _DEADLINE and time.monotonic() < last + _QUIET:
                for number, _ in self._epoll.poll(1):
                    self._finish(*self._going.pop(number))
                    last = time.monotonic()
                    self._next()
        for sock, _ in self._going.values():
            self.outcomes["no answer in time"] += 1
            sock.close()
        return time.monotonic() - began

    def _next(self) -> None:
        line = next(self._lines, None)
        if line is None:
            return
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
        sock.bind((next(self._sources), 0))
        try:
            sock.connect(("127.0.0.1", self._port))
            sock.sendall(line)
            if self._end:
                sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.outcomes[str(error.strerror)] += 1
            sock.close()
            return
        self._epoll.register(sock, select.EPOLLRDHUP)
        self._going[sock.fileno()] = (sock, line)

    def _finish(self, sock: socket.socket, line: bytes) -> None:
        answer = b""
        with sock, suppress(ConnectionResetError):
            while chunk := sock.recv(65536):
                answer += chunk
        if self._is_answer(answer):
            self.outcomes["answers"] += 1
        else:
            self.outcomes["wrong answers" if answer else "closed without an answer"] += 1
            self.bad = [*self.bad[:4], (line, answer)]


async def attack(program: AttackedProgram, scale: Scale, findings: Findings) -> None:
    """Send half of the lines to each door."""
    count = scale.of(500_000, 1000)
    findings.done = f"{count:,} random lines to each of finger and setter, a connection for each"
    doors = {
        "finger": (finger_line, is_finger_answer, False),
        "setter": (setter_lines, is_setter_answer, True),
    }
    async with watching([http_probe(program, rate=10)]) as watch:
        for door, (make, is_answer, end) in doors.items():
            source = random.Random(SEED)
            lines = (make(source) for _ in range(count))
            sender = LineSender(program.port(door), lines, is_answer, end=end)
            with pinned(Cores.choose().load):
                took = sender.run()
            findings.figure(f"{door}: {sender.outcomes['answers']:,} answers in {took:.0f} s")
            others = {word: number for word, number in sender.outcomes.items() if word != "answers"}
            findings.require(not others, f"{door}: {others}, such as {sender.bad}")
            findings.require(sum(sender.outcomes.values()) == count, f"{door}: not all lines were sent")
    watch.report(findings)
    await program.examine(findings)


async def run(scale: Scale, findings: Findings) -> None:
    with running() as program:
        await attack(program, scale, findings)


SCENARIO = Scenario("random-lines", "a million random lines to finger and setter", run, limit=700)
