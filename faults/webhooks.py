"""Receivers of webhooks that do whatever they like, and kill -9 while messages are on their way.

First, a program with one honest receiver beside one that never answers, one whose answer never ends, one that sends its
answer byte by byte, and one that is not there. Statuses are set; every door must answer as if there were no webhooks,
and the honest receiver must get the last status of each user.

Then kill -9, again and again, with a receiver that fails half of the time: by an error, or by closing the connection
before or after it has dealt with the message. The criteria: each user's messages arrive in order, and in the end the
receiver has the last acknowledged status of each user.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from faults.program import LISTEN, AttackedProgram, running, sections
from faults.scenario import Findings, Scale, Scenario, until
from faults.watch import every_probe, watching
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.setter import SetterError, set_status
from fingertrio.wire.webhook import SigningSecret

_SECRET = SigningSecret.generate().reveal()
_LATE = 0.5  # seconds for an honest client's answer, beside hostile receivers
_SETTLED = 20.0  # seconds until the receiver has everything, after the last start
_HEAD_LIMIT = 65536  # bytes


class Receiver:
    """A receiver of this machine.

    Attributes:
        manner: "honest", "flaky", or what a hostile one does: "silent", "endless", "trickling".
        statuses: the number of the last status, by user.
        backwards: users whose messages arrived out of order.
        requests: how many it got.
        repeated: how many of them had an id that it knew.
    """

    def __init__(self, manner: str) -> None:
        self.manner = manner
        self.statuses: dict[str, int] = {}
        self.backwards: list[str] = []
        self.requests = 0
        self.repeated = 0
        self.port = 0
        self._ids: set[str] = set()

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._answer, [listener])

    async def _answer(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                head, body = await _read(stream)
                self.requests += 1
                await self._react(stream, head, body)
        except (trio.BrokenResourceError, ValueError):
            pass  # the program was killed

    async def _react(self, stream: trio.SocketStream, head: str, body: bytes) -> None:
        match self.manner:
            case "silent":
                await trio.sleep_forever()
            case "endless":
                await stream.send_all(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
                while True:
                    await stream.send_all(b"400\r\n" + b"x" * 1024 + b"\r\n")
            case "trickling":
                for byte in b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000:
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(0.5)
        luck = random.random() if self.manner == "flaky" else 1.0
        if luck < 0.25:
            await stream.send_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        elif luck >= 0.35:  # below, it closes the connection without having dealt with the message
            self._note(head, body)
            if luck >= 0.5:  # below, it closes the connection although it has
                await stream.send_all(b"HTTP/1.1 204 OK\r\n\r\n")

    def _note(self, head: str, body: bytes) -> None:
        found = next(line for line in head.split("\r\n") if line.startswith("webhook-id: "))
        if found in self._ids:
            self.repeated += 1
            return
        self._ids.add(found)
        data: dict[str, Any] = json.loads(body)["data"]
        user, number = data["user"], int(data["status"].split()[0])
        if number < self.statuses.get(user, 0):
            self.backwards.append(f"{user}: {number} after {self.statuses[user]}")
        self.statuses[user] = number


async def _read(stream: trio.SocketStream) -> tuple[str, bytes]:
    """Head and body of a request. Raises ValueError if it breaks off."""
    data = bytearray()
    while b"\r\n\r\n" not in data and len(data) < _HEAD_LIMIT:
        data += await _some(stream)
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    text = head.decode()
    length = int(text.lower().partition("content-length:")[2].split()[0])
    while len(body) < length:
        body += await _some(stream)
    return text, body


async def _some(stream: trio.SocketStream) -> bytes:
    received = bytes(await stream.receive_some())
    if not received:
        raise ValueError("the request broke off")
    return received


def _webhooks(ports: Mapping[str, int], directory: str) -> dict[str, str]:
    """The environment that configures a webhook for each receiver, with what waits in `directory`."""
    tables = [
        f'{{ name = "{name}", url = "http://127.0.0.1:{port}/", secret = "{_SECRET}", insecure = true, timeout = 5 }}'
        for name, port in ports.items()
    ]
    return {"FINGERTRIO_WEBHOOK": f"[{', '.join(tables)}]", "XDG_STATE_HOME": directory}


async def _set(program: AttackedProgram, user: str, number: int) -> bool:
    try:
        await set_status(user, f"{number} says {user}", host="127.0.0.1", port=program.port("setter"))
    except (SetterError, RemoteError):
        return False
    return True


async def _beside_hostile_ones(scale: Scale, findings: Findings) -> None:
    users, rounds = scale.of((200, 10), (10, 3))
    receivers = {manner: Receiver(manner) for manner in ("honest", "silent", "endless", "trickling")}
    async with trio.open_nursery() as nursery:
        for receiver in receivers.values():
            await nursery.start(receiver.serve)
        ports = {name: receiver.port for name, receiver in receivers.items()} | {"absent": 1}
        with (
            tempfile.TemporaryDirectory(prefix="fingertrio-webhooks-") as directory,
            running(environ=_webhooks(ports, directory)) as program,
        ):
            before = program.megabytes
            async with watching(every_probe(program)) as watch:
                for number in range(1, rounds + 1):
                    for user in range(users):
                        await _set(program, f"user{user}", number)
                wanted = {f"user{user}": rounds for user in range(users)}
                honest = receivers["honest"]
                arrived = await until(lambda: wanted.items() <= honest.statuses.items(), _SETTLED)
            watch.report(findings)
            findings.require(arrived, f"the honest receiver has {len(honest.statuses)} of {users} users")
            findings.require(not honest.backwards, f"out of order: {honest.backwards[:5]}")
            findings.require(watch.worst <= _LATE + scale.slack, f"an answer took {watch.worst:.2f} s")
            findings.figure(f"the honest receiver got {honest.requests} requests for {users * rounds} statuses")
            findings.figure(f"memory +{program.megabytes - before:.1f} MB")
            await program.examine(findings)
            findings.figure(f"a stop takes {await program.end_soon():.2f} s")
        nursery.cancel_scope.cancel()


async def _killed(scale: Scale, findings: Findings) -> None:
    kills, users = scale.of((40, 15), (2, 5))
    receiver = Receiver("flaky")
    acknowledged: dict[str, int] = {}
    number = 0
    with tempfile.TemporaryDirectory(prefix="fingertrio-webhooks-") as directory:
        backend = {"use": "sqlite", "path": Path(directory) / "x.db"}
        setter = {"listen": LISTEN, "max_connections_per_address": 10_000}
        config = sections(backend=backend, setter=setter, finger=None, http=None, admin=None)
        async with trio.open_nursery() as nursery:
            await nursery.start(receiver.serve)
            with running(config, environ=_webhooks({"flaky": receiver.port}, directory)) as program:
                for _ in range(kills):
                    for _ in range(random.randint(1, 40)):
                        number += 1
                        user = f"user{random.randrange(users)}"
                        if await _set(program, user, number):
                            acknowledged[user] = number
                    await trio.sleep(random.uniform(0, 0.1))
                    receiver.manner = "flaky"
                    await _start_again(program)
                receiver.manner = "honest"
                await _start_again(program)  # then everything that waits is tried at once
                await until(lambda: receiver.statuses == acknowledged, _SETTLED)
                errors = program.errors()
                findings.require(not errors, f"errors in the log: {str(errors[:1])[:600]}")
            nursery.cancel_scope.cancel()
    found = receiver.statuses
    wrong = [f"{user}: {found.get(user)}, not {last}" for user, last in acknowledged.items() if found.get(user) != last]
    findings.require(not wrong, f"another status than the last acknowledged one: {wrong[:5]}")
    findings.require(not receiver.backwards, f"out of order: {receiver.backwards[:5]}")
    findings.figure(
        f"{kills} kills, {number} statuses, {receiver.requests} requests, {receiver.repeated} known by their id"
    )
    findings.figure(f"{len(wrong)} of {len(acknowledged)} users lost their last status")


async def _start_again(program: AttackedProgram) -> None:
    program.kill()
    program.addresses.clear()
    program.start()
    await trio.to_thread.run_sync(program.wait_ready)


async def run(scale: Scale, findings: Findings) -> None:
    """Both parts."""
    findings.done = "hostile receivers beside an honest one; then kill -9 with a receiver that fails half of the time"
    await _beside_hostile_ones(scale, findings)
    await _killed(scale, findings)


SCENARIO = Scenario("webhooks", "receivers of webhooks that fail, hang or lie, and kill -9", run, limit=300)
