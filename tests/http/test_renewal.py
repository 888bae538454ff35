"""A response that no longer holds, and many clients that ask for the next one at once: one request makes it."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf
from typing import Any

import pytest
import trio
import trio.testing

from fingertrio.http import idle, lane
from fingertrio.http.replay import recording_of
from tests.frontends.web.kit import Client
from tests.http.test_idle import GET, Door, serving, tls  # noqa: F401 -- `tls` is a fixture

TLS = tuple[ssl.SSLContext, ssl.SSLContext]


class Source:
    def __init__(self) -> None:
        self.expires = inf


class Application:
    """Says which version it serves. A response is made while `gate` is open, and repeated while its version is."""

    def __init__(self) -> None:
        self.version = 1
        self.source: Source | None = Source()
        self.gate = trio.Event()
        self.gate.set()
        self.asked = 0

    def change(self) -> None:
        assert self.source is not None
        self.source.expires = -inf
        self.version, self.source = self.version + 1, Source()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await send({"type": "lifespan.startup.complete"})
            await trio.sleep_forever()
        self.asked += 1
        recording, body = recording_of(scope), b"version %d" % self.version
        if recording is not None and self.source is not None:
            recording.replay_while(self.source)
        await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": body, "more_body": False})


@asynccontextmanager
async def asking(
    monkeypatch: pytest.MonkeyPatch, count: int = 8, *, over: TLS | None = None
) -> AsyncIterator[tuple[Door, Application, Sequence[Client]]]:
    """Clients that have had the first version, which no longer holds. The next one is made when the gate opens."""
    application = Application()
    context = {} if over is None else {"tls": over[0]}
    async with serving(monkeypatch, application=application, **context) as door, AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(await door.connect(None if over is None else over[1])) for _ in range(count)
        ]
        for client in clients:
            await client.send(GET)
            assert (await client.response()).endswith(b"version 1")
        await trio.testing.wait_all_tasks_blocked(0.001)
        application.change()
        application.gate, application.asked = trio.Event(), 0
        yield door, application, clients


def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for another request however long it takes."""
    monkeypatch.setattr(lane, "RENEWAL", inf)
    monkeypatch.setattr(idle, "RENEWAL", inf)


async def all_ask(clients: Sequence[Client], requests: bytes = GET) -> None:
    for client in clients:
        await client.send(requests)
    await trio.testing.wait_all_tasks_blocked(0.005)


async def bodies(clients: Sequence[Client]) -> list[bytes]:
    return [(await client.response())[-9:] for client in clients]


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
async def test_one_makes_it_and_all_get_it(
    monkeypatch: pytest.MonkeyPatch,
    tls: TLS,  # noqa: F811
    encrypted: bool,
):
    patient(monkeypatch)
    async with asking(monkeypatch, over=tls if encrypted else None) as (door, application, clients):
        await all_ask(clients)
        assert (application.asked, door.running) == (1, 1)
        application.gate.set()
        assert await bodies(clients) == [b"version 2"] * 8
        assert application.asked == 1


async def test_a_change_meanwhile_is_seen_by_all_that_asked_after_it(monkeypatch: pytest.MonkeyPatch):
    patient(monkeypatch)
    async with asking(monkeypatch) as (_door, application, clients):
        await all_ask(clients[:4])
        application.change()
        await all_ask(clients[4:])
        application.gate.set()
        assert await bodies(clients[4:]) == [b"version 3"] * 4
        assert set(await bodies(clients[:4])) <= {b"version 2", b"version 3"}


async def test_requests_behind_one_that_waits_are_answered_in_their_order(monkeypatch: pytest.MonkeyPatch):
    patient(monkeypatch)
    async with asking(monkeypatch) as (_door, application, clients):
        await all_ask(clients)
        await all_ask(clients, GET)
        application.gate.set()
        assert await bodies(clients) == await bodies(clients) == [b"version 2"] * 8


async def test_a_connection_that_waits_costs_no_rounds_of_the_loop(monkeypatch: pytest.MonkeyPatch):
    patient(monkeypatch)
    async with asking(monkeypatch) as (_door, application, clients):
        await all_ask(clients[:1])
        await all_ask(clients[1:])
        rounds = 0
        serve_round = idle.IdlePool._serve_round

        def counted(pool: idle.IdlePool) -> None:
            nonlocal rounds
            rounds += 1
            serve_round(pool)

        monkeypatch.setattr(idle.IdlePool, "_serve_round", counted)
        await all_ask(clients[1:], GET)  # the kernel has something to read for all that wait
        assert rounds == 0
        application.gate.set()
        await bodies(clients)
        await bodies(clients[1:])


@pytest.mark.parametrize("why", ["takes too long", "may not be repeated"])
async def test_nobody_waits_for_longer_than_a_moment(monkeypatch: pytest.MonkeyPatch, why: str):
    async with asking(monkeypatch) as (_door, application, clients):
        application.source = None if why == "may not be repeated" else application.source
        await clients[0].send(GET)
        while application.asked == 0:
            await trio.testing.wait_all_tasks_blocked()
        for client in clients[1:]:
            await client.send(GET)
        if why == "may not be repeated":
            application.gate.set()
        with trio.fail_after(5):
            while application.asked < 8:
                await trio.testing.wait_all_tasks_blocked(0.001)
        application.gate.set()
        assert await bodies(clients) == [b"version 2"] * 8


async def test_a_client_that_is_gone_while_it_waits_disturbs_nobody(monkeypatch: pytest.MonkeyPatch):
    patient(monkeypatch)
    async with asking(monkeypatch) as (_door, application, clients):
        await all_ask(clients[:1])  # its request makes the response
        await all_ask(clients[1:])
        for client in (clients[1], clients[2]):
            stream = client.stream
            assert isinstance(stream, trio.SocketStream)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await trio.aclose_forcefully(stream)
        await trio.testing.wait_all_tasks_blocked(0.005)
        application.gate.set()
        assert await bodies([clients[0], *clients[3:]]) == [b"version 2"] * 6
        assert application.asked == 1


async def test_a_door_that_closes_answers_those_that_wait(monkeypatch: pytest.MonkeyPatch):
    patient(monkeypatch)
    async with asking(monkeypatch) as (door, application, clients):
        await all_ask(clients)
        door.stopping.set()
        await trio.testing.wait_all_tasks_blocked(0.005)
        application.gate.set()
        assert await bodies(clients) == [b"version 2"] * 8
