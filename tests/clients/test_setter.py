"""The setter's clients with servers of every kind: the status is set, refused with a reason, or in an unknown state.

Each test runs with the client for Trio and with the blocking one.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fingertrio.clients import setter, setter_blocking
from fingertrio.clients.dial import UnreachableError
from fingertrio.clients.setter import ANSWER_LIMIT, SetterError
from fingertrio.net.address import Address
from fingertrio.net.listen import bind, close_all
from tests.helpers import loopback_listener

Script = Callable[[trio.SocketStream], Awaitable[None]]
SetStatus = Callable[..., Awaitable[None]]


async def _set_blocking(*arguments: Any, **options: Any) -> None:
    await trio.to_thread.run_sync(partial(setter_blocking.set_status, *arguments, **options))


@pytest.fixture(params=[setter.set_status, _set_blocking], ids=["trio", "blocking"])
def set_status(request: pytest.FixtureRequest) -> SetStatus:
    client: SetStatus = request.param
    return client


@asynccontextmanager
async def server(script: Script) -> AsyncIterator[int]:
    """A server that does what `script` says with each connection; its port."""
    with loopback_listener() as sock:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, script, [listener])
            yield sock.getsockname()[1]
            nursery.cancel_scope.cancel()


def answering(answer: bytes, received: bytearray | None = None) -> Script:
    """Read to the end of input, then answer."""

    async def script(stream: trio.SocketStream) -> None:
        async for chunk in stream:
            if received is not None:
                received.extend(chunk)
        await stream.send_all(answer)
        await stream.aclose()

    return script


async def test_it_says_two_lines_and_ends_its_input(set_status: SetStatus):
    received = bytearray()
    async with server(answering(b"OK\r\n", received)) as port:
        await set_status("s\u00f8ren", "In the garden", host="127.0.0.1", port=port)
    assert received == "s\u00f8ren\r\nIn the garden\r\n".encode()


async def test_it_speaks_through_a_unix_socket(tmp_path: Path, set_status: SetStatus):
    path = tmp_path / "setter"
    (sock,) = bind(Address(path=path))
    received = bytearray()
    try:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, answering(b"OK\r\n", received), [listener])
            await set_status("moshez", "well", path=path)
            nursery.cancel_scope.cancel()
    finally:
        close_all([sock])
    assert received == b"moshez\r\nwell\r\n"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"ERROR the status is empty\r\n", "the status is empty"),
        (b"ERROR Zugriff verweigert: f\xc3\xbcr dich\r\n", "Zugriff verweigert: f\u00fcr dich"),
        (b"ERROR \x1b[2Jcleared\x9b\r\n", "cleared\u203a"),
        (b"ERROR one\r\nand another\r\n", "one and another"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "the server is not a setter; it answered: HTTP/1.1 400 Bad Request",
        ),
        (b"ok\r\n", "the server is not a setter; it answered: ok"),
        (b"", "no answer: is the server a setter? The status may or may not have been set"),
        (b"O", "the answer is incomplete; the status may or may not have been set"),
        (b"OK", "the answer is incomplete; the status may or may not have been set"),
        (b"ERROR the sta", "the answer is incomplete; the status may or may not have been set"),
        (b"x" * 100_000, "the answer is incomplete; the status may or may not have been set"),
    ],
    ids=lambda value: ascii(value)[:30],
)
async def test_whatever_is_not_ok_is_an_error_in_one_clean_line(answer: bytes, message: str, set_status: SetStatus):
    async with server(answering(answer)) as port:
        with pytest.raises(SetterError) as error:
            await set_status("moshez", "well", host="127.0.0.1", port=port)
    assert str(error.value) == message


async def test_a_server_that_talks_without_end_is_not_listened_to_for_ever(set_status: SetStatus):
    async def script(stream: trio.SocketStream) -> None:
        try:
            while True:
                await stream.send_all(b"x" * ANSWER_LIMIT)
        except trio.BrokenResourceError:
            pass

    async with server(script) as port:
        with pytest.raises(SetterError, match="the answer is incomplete"):
            await set_status("moshez", "well", host="127.0.0.1", port=port)


async def test_one_that_refuses_without_reading_is_heard(set_status: SetStatus):
    """Like a door with too many connections."""

    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(b"ERROR too many\r\n")
        await stream.send_eof()
        async for _ in stream:
            pass

    async with server(script) as port:
        with pytest.raises(SetterError, match="too many"):
            await set_status("moshez", "x" * 16_000, host="127.0.0.1", port=port)


async def test_one_that_breaks_off_leaves_it_open_whether_the_status_was_set(set_status: SetStatus):
    async def script(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()  # with RST

    async with server(script) as port:
        with pytest.raises(SetterError, match="the connection was reset; the status may or may not have been set"):
            await set_status("moshez", "well", host="127.0.0.1", port=port)


async def test_one_that_never_answers_is_not_waited_for_longer_than_wished(patient_clock: MockClock):
    async def script(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with server(script) as port:
        with pytest.raises(SetterError, match="no answer within 3 seconds; the status may or may not have been set"):
            await setter.set_status("moshez", "well", host="127.0.0.1", port=port, timeout=3)
    assert trio.current_time() == pytest.approx(3)


async def test_the_blocking_client_does_not_wait_longer_either():
    with loopback_listener() as sock:  # accepts in the kernel, and never answers
        port = sock.getsockname()[1]
        with pytest.raises(SetterError, match=r"no answer within 0\.05 seconds"):
            await _set_blocking("moshez", "well", host="127.0.0.1", port=port, timeout=0.05)


async def test_where_nobody_listens_it_says_so(tmp_path: Path, set_status: SetStatus):
    with loopback_listener() as sock:
        port = sock.getsockname()[1]
    with pytest.raises((UnreachableError, ConnectionRefusedError), match=r"Connection refused"):
        await set_status("moshez", "well", host="127.0.0.1", port=port)
    with pytest.raises(FileNotFoundError):
        await set_status("moshez", "well", path=tmp_path / "nothing")


@pytest.mark.parametrize(("user", "status"), [("mos\nhez", "x"), ("moshez", "x\r\nalice\r\ny"), ("moshez", "\ud800")])
async def test_an_invalid_request_is_refused_before_connecting(user: str, status: str, set_status: SetStatus):
    with pytest.raises(ValueError, match=r"one line|surrogates"):
        await set_status(user, status, host="127.0.0.1", port=1)
