"""Whether the clock is right."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate
from functools import partial

import pytest
import trio

from fingertrio.cli.doctor.check import Report
from fingertrio.cli.doctor.clock import CHECK, kernel_is_synchronised, look_at_clock
from tests.cli.doctor.kit import FakeMachine, installation, levels, look


def with_kernel(synchronised: bool | None):
    return replace(CHECK, look=partial(look_at_clock, synchronised=lambda: synchronised))


@asynccontextmanager
async def dated(seconds: float) -> AsyncIterator[str]:
    """A web server whose clock is `seconds` ahead."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        date = formatdate(time.time() + seconds, usegmt=True)
        await stream.send_all(f"HTTP/1.1 404 x\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode())
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"http://localhost:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_a_clock_that_a_program_keeps_right():
    results = await look(with_kernel(True), installation())
    assert [result.level for result in results] == ["ok", "ok"]
    assert "no other machine to compare with" in results[1].what


async def test_a_clock_that_no_program_keeps_right():
    assert await levels(with_kernel(False), installation()) == ["warning", "ok"]
    assert await levels(with_kernel(None), installation()) == ["warning", "ok"]


@pytest.mark.parametrize(
    ("seconds", "level", "said"),
    [(0, "ok", "agrees"), (30, "warning", "behind"), (-30, "warning", "ahead of"), (3600, "problem", "behind")],
)
async def test_a_difference_to_another_machine(
    monkeypatch: pytest.MonkeyPatch, fake: FakeMachine, seconds: float, level: str, said: str
):
    async def resolve(_host: str, port: int) -> list[tuple[str, int]]:
        return [("9.9.9.9", port)]

    monkeypatch.setattr("fingertrio.cli.doctor.clock.resolve", resolve)
    async with dated(seconds) as url:
        place = installation({"http": {"listen": ["127.0.0.1:0"], "url": url}}, machine=fake.machine)
        results = await look(with_kernel(True), place)
    assert results[0].level == level
    assert said in results[0].what


async def test_our_own_answer_is_not_compared(fake: FakeMachine):
    async with dated(3600) as url:
        place = installation({"http": {"listen": ["127.0.0.1:0"], "url": url}}, machine=fake.machine)
        assert await levels(with_kernel(True), place) == ["ok", "ok"]


def test_the_kernel_can_be_asked():
    assert kernel_is_synchronised() in {True, False, None}
    assert Report().results == []
