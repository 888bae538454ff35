"""The client with real servers on the loopback, including careless and hostile ones."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio

from fingertrio.clients.dial import AddressRefusedError, HostNotFoundError, UnreachableError, is_public
from fingertrio.clients.finger import BrokenOffError, DeadlineError, TooLargeError, _exchange, answer_text, finger
from fingertrio.wire.finger import Query

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """The port of a server on `host`. A connection ends with its handler."""

    async def guarded(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):  # the client disconnected, as some tests require
            await handler(stream)

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, guarded, 0, host=host))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def read_line(stream: trio.SocketStream) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        data = await stream.receive_some()
        assert data, "the client closed its half"
        line += data
    return line


async def happy(stream: trio.SocketStream) -> None:
    await stream.send_all(b"You asked " + await read_line(stream))


async def mute(stream: trio.SocketStream) -> None:
    await read_line(stream)
    await trio.sleep_forever()


def reset(stream: trio.SocketStream) -> None:
    """Close with RST."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_asks_and_reads_to_the_end(host: str) -> None:
    async with serving(happy, host) as port:
        assert await finger(Query("moshez"), host, port) == b"You asked moshez\r\n"
        assert await finger(Query("a", verbose=True, hosts=("h",)), host, port) == b"You asked /W a@h\r\n"
        assert await finger(Query(), host, port) == b"You asked \r\n"


async def test_query_comes_in_one_piece_and_the_input_stays_open(patient_clock: trio.testing.MockClock) -> None:
    """Some servers read once, and some treat the end of input as a client that disconnected."""
    seen: list[bytes] = []

    async def handler(stream: trio.SocketStream) -> None:
        seen.append(await stream.receive_some())
        with trio.move_on_after(60) as scope:
            seen.append(await stream.receive_some())
        assert scope.cancelled_caught
        await stream.send_all(b"fine\r\n")

    async with serving(handler) as port:
        assert await finger(Query("moshez"), "127.0.0.1", port, timeout=120) == b"fine\r\n"
    assert seen == [b"moshez\r\n"]


async def test_answer_in_pieces_is_put_together() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await read_line(stream)
        for byte in b"piecemeal\r\n":
            await stream.send_all(bytes([byte]))

    async with serving(handler) as port:
        assert await finger(Query("x"), "127.0.0.1", port) == b"piecemeal\r\n"


async def test_empty_answer_is_an_answer() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await read_line(stream)

    async with serving(handler) as port:
        assert await finger(Query("x"), "127.0.0.1", port) == b""


async def test_refusal_of_a_server_that_does_not_read_arrives() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.send_all(b"Too busy\r\n")
        await stream.send_eof()
        await read_line(stream)

    async with serving(handler) as port:
        assert await finger(Query("x"), "127.0.0.1", port) == b"Too busy\r\n"


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
async def test_limit_is_reached_without_harm(size: int) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await read_line(stream)
        await stream.send_all(b"x" * size)

    async with serving(handler) as port:
        assert len(await finger(Query("x"), "127.0.0.1", port, limit=1000)) == size


async def test_endless_answer_is_cut() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await read_line(stream)
        while True:
            await stream.send_all(b"spam" * 1000)

    async with serving(handler) as port:
        with pytest.raises(TooLargeError, match="1001 bytes") as caught:
            await finger(Query("x"), "127.0.0.1", port, limit=1001)
    assert caught.value.received == b"spam" * 250 + b"s"


async def test_answer_that_does_not_come(patient_clock: trio.testing.MockClock) -> None:
    async with serving(mute) as port:
        with pytest.raises(DeadlineError, match="within 5 seconds") as caught:
            await finger(Query("x"), "127.0.0.1", port, timeout=5)
        assert trio.current_time() == pytest.approx(5)
    assert caught.value.received == b""


async def test_dribbled_answer_does_not_stretch_the_deadline(patient_clock: trio.testing.MockClock) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await read_line(stream)
        while True:
            await stream.send_all(b".")
            await trio.sleep(1)

    async with serving(handler) as port:
        with pytest.raises(DeadlineError) as caught:
            await finger(Query("x"), "127.0.0.1", port, timeout=4.5)
        assert trio.current_time() == pytest.approx(4.5)
    assert caught.value.received == b"....."


async def test_name_that_does_not_resolve_in_time(patient_clock: trio.testing.MockClock) -> None:
    async def never(host: str, port: int) -> list[tuple[str, int]]:
        await trio.sleep_forever()

    with pytest.raises(DeadlineError):
        await finger(Query("x"), "slow.example", timeout=5, resolve=never)
    assert trio.current_time() == pytest.approx(5)


async def test_reset_after_some_words_keeps_them() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await read_line(stream)
        await stream.send_all(b"half an ans")
        await trio.testing.wait_all_tasks_blocked(0.01)  # the client has read it and waits for more
        reset(stream)

    async with serving(handler) as port:
        with pytest.raises(BrokenOffError) as caught:
            await finger(Query("x"), "127.0.0.1", port)
    assert caught.value.received == b"half an ans"


async def test_cancelled_asking_closes_the_connection() -> None:
    closed = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        await read_line(stream)
        scope.cancel()
        assert await stream.receive_some() == b""
        closed.set()

    async with serving(handler) as port:
        with trio.CancelScope() as scope:
            await finger(Query("x"), "127.0.0.1", port)
        assert scope.cancelled_caught
        with trio.fail_after(5):
            await closed.wait()


async def test_kinds_of_servers_that_cannot_be_reached() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1: Connection refused"):
            await finger(Query("x"), "127.0.0.1", port)
    with pytest.raises(HostNotFoundError):
        await finger(Query("x"), "a..b")
    with pytest.raises(AddressRefusedError):
        await finger(Query("x"), "127.0.0.1", allow=is_public)


@pytest.mark.parametrize("query", [Query("a\r\nb"), Query("a b"), Query("/W"), Query("a", hosts=("b\n",))])
async def test_what_cannot_be_said_is_not_sent(query: Query) -> None:
    with pytest.raises(ValueError, match="not a finger query"):
        await finger(query, "127.0.0.1", 1)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"one\r\ntwo\r\n", "one\ntwo\n"),
        (b"one\rtwo", "one\ntwo"),
        ("zażółć\r\n".encode(), "zażółć\n"),
        (b"caf\xe9 5 \x80\r\n", "café 5 €\n"),  # Windows-1252
        ("cut: é".encode()[:-1], "cut: "),
        ("\x1b]0;owned\x07\x9b31m\tX".encode(), "\tX"),
        ("a\u202eb\u009b".encode(), "ab"),
        (b"\x9d\xff", "ÿ"),
    ],
)
def test_text_is_fit_for_a_terminal(answer: bytes, text: str) -> None:
    assert answer_text(answer) == text


async def test_server_that_stopped_reading_is_still_heard() -> None:
    """It answered that it is busy and closed: the query cannot be sent, but the answer can be read."""
    client, server = trio.testing.memory_stream_pair()
    await server.send_all(b"Too busy\r\n")
    await server.receive_stream.aclose()
    await server.send_eof()
    received = bytearray()
    await _exchange(client, b"x\r\n", received, 100)
    assert received == b"Too busy\r\n"

    client, server = trio.testing.memory_stream_pair()
    await server.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await _exchange(client, b"x\r\n", received, 100)
