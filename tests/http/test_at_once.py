"""Bytes that leave without waiting arrive in order, whatever the kernel has room for."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trustme

from fingertrio.http.at_once import Sender, sender_of
from fingertrio.http.tls import is_quiet

PIECE = bytes(range(256)) * 40  # ten kilobytes


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


Ends = tuple[trio.SocketStream, trio.SocketStream] | tuple[trio.SSLStream[trio.SocketStream], trio.abc.Stream]


@asynccontextmanager
async def connected(kind: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> AsyncIterator[Ends]:
    """The sending end, with a small buffer, and the other one."""
    ours, theirs = map(trio.SocketStream, trio.socket.socketpair())
    ours.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 20_000)
    async with ours, theirs:
        if kind == "plain":
            yield ours, theirs
            return
        server = trio.SSLStream(ours, contexts[0], server_side=True, https_compatible=True)
        client = trio.SSLStream(theirs, contexts[1], server_hostname="localhost", https_compatible=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            await server.do_handshake()
        yield server, client


def fill(sender: Sender) -> bytes:
    """Send pieces until no more are taken; returns all that were."""
    taken = bytearray()
    for number in range(1000):
        piece = bytes([number % 256]) + PIECE
        if not sender.send(piece):
            return bytes(taken)
        taken += piece
    raise AssertionError("the kernel takes everything")


async def read(stream: trio.abc.Stream, size: int) -> bytes:
    data = bytearray()
    with trio.fail_after(5):
        while len(data) < size:
            data += await stream.receive_some(size - len(data))
    return bytes(data)


@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_what_the_kernel_does_not_take_follows_before_anything_else(
    kind: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
):
    async with connected(kind, contexts) as (ours, theirs):
        await ours.send_all(b"hello")
        sender = sender_of(ours)
        assert sender is not None
        taken = fill(sender)
        assert sender.has_rest or kind == "plain"  # a socket pair takes a whole piece or none; see the next test
        async with trio.open_nursery() as nursery:
            received = bytearray()

            async def receive() -> None:
                received.extend(await read(theirs, len(b"hello") + len(taken) + len(b"behind it")))

            nursery.start_soon(receive)
            await sender.finish()
            assert not sender.has_rest
            await ours.send_all(b"behind it")
        assert bytes(received) == b"hello" + taken + b"behind it"
        assert sender.send(b"again")
        assert await read(theirs, 5) == b"again"


async def test_a_plain_rest_is_not_copied(monkeypatch: pytest.MonkeyPatch):
    ours, theirs = map(trio.SocketStream, trio.socket.socketpair())
    async with ours, theirs:
        sender = sender_of(ours)
        assert sender is not None
        with monkeypatch.context() as patch:
            patch.setattr("fingertrio.http.at_once.os.write", lambda _fd, data: len(data) // 2)
            assert sender.send(PIECE)
        assert sender.has_rest
        assert not sender.send(b"more")
        await sender.finish()
        assert await read(theirs, len(PIECE) // 2) == PIECE[len(PIECE) // 2 :]


async def test_tls_sends_nothing_while_another_send_is_under_way(contexts: tuple[ssl.SSLContext, ssl.SSLContext]):
    async with connected("tls", contexts) as (ours, theirs), trio.open_nursery() as nursery:
        assert isinstance(ours, trio.SSLStream)
        sender = sender_of(ours)
        assert sender is not None
        assert sender.send(b"with the session tickets, ")  # Trio holds them back until the first send
        await ours.send_all(b"hello")
        nursery.start_soon(ours.send_all, PIECE * 100)
        await trio.testing.wait_all_tasks_blocked()
        assert not is_quiet(ours)
        assert not sender.send(b"amid it")
        assert await read(theirs, 30) == b"with the session tickets, hell"
        await read(theirs, 1 + 100 * len(PIECE))
        await trio.testing.wait_all_tasks_blocked()
        assert sender.send(b"after it")
        assert await read(theirs, 8) == b"after it"


async def test_a_failed_connection_is_an_error():
    ours, theirs = map(trio.SocketStream, trio.socket.socketpair())
    async with ours:
        await theirs.aclose()
        sender = sender_of(ours)
        assert sender is not None
        with pytest.raises(OSError, match="Broken pipe"):
            sender.send(b"hello")


def test_other_streams_have_no_sender():
    stream, _ = trio.testing.memory_stream_pair()
    assert sender_of(stream) is None
