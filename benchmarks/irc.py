"""The IRC door under load: CPU for a line of channel noise, a flood of questions on a real server, two simulated years.

    python -m benchmarks.irc             all three, two minutes
    python -m benchmarks.irc --write     the same, and docs/design/performance.md has the result
    python -m benchmarks.irc --quick     the same with a tenth of the work

Channel noise and the two years need no server: lines go through the client as from a socket, and a mock clock jumps
from one deadline to the next. The flood needs InspIRCd (Debian package inspircd) and is left out without it.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import trio
from trio.testing import MockClock, memory_stream_pair

from benchmarks.page import write_part
from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.irc import ChannelSettings, IRCFrontend, IRCTimes, NetworkSettings, ServerAddress
from fingertrio.frontends.irc.hearing import Hearing
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing.measure import Machine
from fingertrio.wire.irc_askers import Askers
from fingertrio.wire.irc_channel import ChannelPlan
from fingertrio.wire.irc_client import IRCClient
from fingertrio.wire.irc_events import PrivateMessage
from fingertrio.wire.irc_login import Login

_BOT = "fingerbot"
_WAITS = 60.0  # seconds for which the honest asker waits
_PEOPLE = (10, 25, 100)
_TURN = 2048  # bytes, as the session reads them
_YEARS = 2 * 365 * 86_400.0  # seconds
_ENDS = (
    "ERROR :Closing link: (ping timeout)",
    "ERROR :Server going down",
    "ERROR :Trying to reconnect too fast",
    "ERROR :Too many connections from your IP",
    "ERROR :Closing link: [Excess Flood]",
    "",  # closed without a word
)

_INSPIRCD = """
<admin name="b" nick="b" email="b@localhost">
<files motd="{here}/motd">
<dns server="127.0.0.1">
<performance nouserdns="yes">
<limits maxnick="30">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="{here}/log">
<connect name="main" allow="*" port="{bot}" timeout="20" threshold="10" commandrate="1000" fakelag="yes" useident="no"
 resolvehostnames="no" localmax="2000" globalmax="2000" useconnflood="no" recvq="10K" hardsendq="1M">
<connect name="asker" allow="*" port="{askers}" timeout="20" threshold="100000" commandrate="100000" fakelag="no"
 useident="no" resolvehostnames="no" localmax="2000" globalmax="2000" useconnflood="no" recvq="1M" hardsendq="1M">
<server name="bench.test" description="b" network="Bench" id="1BB">
<bind address="127.0.0.1" port="{bot}" type="clients">
<bind address="127.0.0.1" port="{askers}" type="clients">
<pid file="{here}/pid">
<path configdir="{here}" datadir="{here}" logdir="{here}" runtimedir="{here}">
"""


def noise(lines: int) -> tuple[float, float]:
    """CPU seconds for `lines` of a busy channel, none of them for us: parsed only, and heard as the door hears them."""
    rng = random.Random(1)
    words = "the quick brown fox jumps over a lazy dog and no one asks fingerbot for anything".split()  # noqa: SIM905 -- a sentence
    text = b"".join(
        f"@time=2026-01-01T00:00:{rng.randrange(60):02}.000Z;account=u{rng.randrange(99)};msgid=x{n} "
        f":nick{rng.randrange(300)}!~user@host{rng.randrange(300)}.example PRIVMSG #busy "
        f":{' '.join(rng.choices(words, k=rng.randrange(3, 20)))}\r\n".encode()
        for n in range(lines)
    )
    results = []
    for hears in (False, True):
        client = IRCClient(Login(nick=_BOT))
        client.start()
        client.receive(f":s.x 001 {_BOT} :hi\r\n:s.x 376 {_BOT} :end\r\n".encode())
        settings = NetworkSettings(name="n", servers=(), login=Login(nick=_BOT))
        hearing = Hearing(client, settings, Askers())
        gc.collect()
        began = time.process_time()
        for start in range(0, len(text), _TURN):
            for event in client.receive(text[start : start + _TURN], 0.0):
                if hears and isinstance(event, PrivateMessage):
                    hearing.hear(event, 0.0)
        results.append(time.process_time() - began)
    return results[0], results[1]


class _Person:
    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def until(self, part: bytes) -> bytes:
        while True:
            while b"\r\n" in self._buffer:
                line, self._buffer = self._buffer.split(b"\r\n", 1)
                if line.startswith(b"PING"):
                    await self.stream.send_all(line.replace(b"PING", b"PONG", 1) + b"\r\n")
                elif part in line:
                    return line
            self._buffer += bytes(await self.stream.receive_some()) or b"PING gone\r\n"


@asynccontextmanager
async def _person(port: int, nick: str) -> AsyncIterator[_Person]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        person = _Person(stream)
        await stream.send_all(f"NICK {nick}\r\nUSER {nick} 0 * :{nick}\r\n".encode())
        await person.until(b" 001 ")
        yield person


@contextmanager
def _inspircd() -> Iterator[tuple[int, int] | None]:
    """The ports for the bot and for the askers; None: InspIRCd is not installed."""
    program = shutil.which("inspircd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="bench-irc-") as name:
        here = Path(name)
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        bot, askers = (listener.getsockname()[1] for listener in listeners)
        for listener in listeners:
            listener.close()
        (here / "conf").write_text(_INSPIRCD.format(here=here, bot=bot, askers=askers))
        (here / "motd").write_text("bench\n")
        command = [program, "--nofork", f"--config={here}/conf"]
        if os.geteuid() == 0:  # it refuses to run as root
            for path in (here, *here.iterdir()):
                shutil.chown(path, "irc", "irc")
            command = ["setpriv", "--reuid=irc", "--regid=irc", "--clear-groups", *command]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                with suppress(OSError):
                    socket.create_connection(("127.0.0.1", bot), 1).close()
                    break
                time.sleep(0.05)
            yield bot, askers
        finally:
            process.kill()
            process.wait()


async def flood(ports: tuple[int, int], people: int, questions: int, seconds: float) -> dict[str, object]:
    """`questions` of some people within `seconds`, and one honest asker in the middle of them."""
    bot, askers = ports
    observer = Observer()
    users = {f"user{number}": "here" for number in range(50)}
    async with FingerService.open(MemoryBackend(users), observer=observer) as service:
        server = ServerAddress(host="127.0.0.1", port=bot)
        front = IRCFrontend(
            service=service,
            observer=observer,
            networks=[NetworkSettings(name="n", servers=(server,), login=Login(nick=_BOT))],
        )
        stopping = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(front.serve, stopping)
            numbers = observer.metrics.networks["n"]
            while not numbers.registered:  # noqa: ASYNC110 -- a number, not an event
                await trio.sleep(0.05)
            began_cpu = time.process_time()

            async def ask(number: int) -> None:
                async with _person(askers, f"asker{number}") as person:
                    for turn in range(questions // people):
                        await trio.sleep(seconds / (questions // people) * random.random() * 2)
                        await person.stream.send_all(f"PRIVMSG {_BOT} :user{(number + turn) % 50}\r\n".encode())
                    await trio.sleep(1)

            for number in range(people):
                nursery.start_soon(ask, number)
            await trio.sleep(seconds / 2)
            async with _person(askers, "honest") as honest:
                asked = time.monotonic()
                await honest.stream.send_all(f"PRIVMSG {_BOT} :user1\r\n".encode())
                answer = b"nothing"
                with trio.move_on_after(_WAITS):
                    answer = await honest.until(f":{_BOT}!".encode())
                waited = time.monotonic() - asked
            await trio.sleep(seconds / 2 + 2)
            cpu = time.process_time() - began_cpu
            lost = not numbers.registered
            stopping.set()
    return {
        "people": people,
        "questions": questions,
        "CPU of bot and askers, ms each": f"{cpu * 1000 / questions:.2f}",
        "sent": dict(numbers.sent),
        "dropped": dict(numbers.dropped),
        "honest asker waited, s": f"{waited:.1f} ({answer.decode(errors='replace').partition(' :')[2] or 'no answer'})",
        "connection lost": lost,
    }


class _World:
    """A network whose server accepts everybody and ends each session after a random time, for a random reason."""

    def __init__(self, nursery: trio.Nursery, rng: random.Random) -> None:
        self.attempts: list[float] = []
        self.ends: Counter[str] = Counter()
        self._nursery = nursery
        self._rng = rng

    async def connect(self, _host: str, _port: int) -> trio.abc.Stream:
        self.attempts.append(trio.current_time())
        if self._rng.random() < 0.2:
            await trio.sleep(self._rng.random() * 10)
            raise ConnectionRefusedError(111, "refused")
        near, far = memory_stream_pair()
        self._nursery.start_soon(self._serve, far)
        return near

    async def _serve(self, stream: trio.abc.Stream) -> None:
        until = trio.current_time() + self._rng.expovariate(1 / 20_000)
        end = self._rng.choice(_ENDS)
        self.ends[end] += 1
        with trio.move_on_at(until), suppress(trio.BrokenResourceError):
            while data := await stream.receive_some():
                for line in bytes(data).split(b"\r\n"):
                    if line.startswith(b"CAP LS"):
                        await stream.send_all(b":s.x 421 * CAP :?\r\n")
                    elif line.startswith(b"USER "):
                        greeting = (
                            f":s.x 001 {_BOT} :hi\r\n:s.x 005 {_BOT} NICKLEN=30 :are supported\r\n:s.x 376 x :end\r\n"
                        )
                        await stream.send_all(greeting.encode())
                    elif line.startswith(b"JOIN "):
                        await stream.send_all(f":{_BOT}!f@h {line.decode()}\r\n".encode())
                    elif line.startswith(b"PING"):
                        await stream.send_all(b":s.x PONG s.x :fingertrio\r\n")
        with suppress(trio.BrokenResourceError):
            if end:
                await stream.send_all(f"{end}\r\n".encode())
        await stream.aclose()


async def years(duration: float) -> dict[str, object]:
    """`duration` simulated seconds: how often it connects, and whether anything is left behind."""
    observer = Observer()
    sizes: list[int] = []
    tasks: list[int] = []
    began = time.process_time()
    async with (
        FingerService.open(MemoryBackend({"moshez": "here"}), observer=observer) as service,
        trio.open_nursery() as nursery,
    ):
        world = _World(nursery, random.Random(7))
        front = IRCFrontend(
            service=service,
            observer=observer,
            networks=[
                NetworkSettings(
                    name="n",
                    servers=(ServerAddress(host="irc.test", port=6667),),
                    login=Login(nick=_BOT),
                    channels=(ChannelSettings(plan=ChannelPlan("#a"), announce=("*",)),),
                )
            ],
            connect=world.connect,
            times=IRCTimes(idle=3600.0),
        )
        stopping = trio.Event()
        await nursery.start(front.serve, stopping)
        for _ in range(8):
            await trio.sleep(duration / 8)
            gc.collect()
            sizes.append(len(gc.get_objects()))  # traced bytes would grow with the interpreter's lists of free tuples
            tasks.append(trio.lowlevel.current_statistics().tasks_living)
        stopping.set()
        nursery.cancel_scope.deadline = trio.current_time() + 10
    pauses = [later - earlier for earlier, later in pairwise(world.attempts)]
    hours = Counter(int(attempt // 3600) for attempt in world.attempts)
    return {
        "days": f"{duration / 86_400:.0f}",
        "attempts": len(world.attempts),
        "shortest time between two, s": f"{min(pauses):.1f}",
        "most in one hour": max(hours.values()),
        "objects after each eighth": " ".join(map(str, sizes)),
        "tasks after each eighth": " ".join(map(str, tasks)),
        "conditions left": len(observer.metrics.conditions),
        "CPU, s": f"{time.process_time() - began:.1f}",
    }


def section(title: str, figures: Mapping[str, object]) -> str:
    return "\n".join([f"{title}:", "", *(f"- {name}: {value}" for name, value in figures.items()), ""])


def measure(*, quick: bool) -> Iterator[str]:
    """The parts of the report, each as soon as it is known."""
    lines = 20_000 if quick else 200_000
    parsed, heard = noise(lines)
    figures = {
        "parsed, us of CPU a line": f"{parsed / lines * 1e6:.1f}",
        "heard, us of CPU a line": f"{heard / lines * 1e6:.1f}",
        "10,000 lines a second": f"{heard / lines * 1e6:.0f} % of a core",
    }
    yield section(f"Channel noise, {lines} lines that are not for the bot", figures)
    for people in _PEOPLE:
        with _inspircd() as ports:
            if ports is None:
                yield "The flood of questions needs InspIRCd (Debian package inspircd).\n"
                break
            result = trio.run(flood, ports, people, 100 if quick else 1000, 2.0 if quick else 10.0)
            yield section(f"Questions of {people} people on InspIRCd, with its penalties", result)
    clock = MockClock(autojump_threshold=0)
    yield section("Random ends on a simulated clock", trio.run(years, _YEARS / (10 if quick else 1), clock=clock))
    yield f"- {Machine.here(['fingertrio', 'trio'])}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true", help="put the report into docs/design/performance.md")
    arguments = parser.parse_args()
    parts = []
    for part in measure(quick=arguments.quick):
        print(part, flush=True)
        parts.append(part)
    if arguments.write:
        write_part("benchmarks.irc", "\n".join(parts))


if __name__ == "__main__":
    main()
