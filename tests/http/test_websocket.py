"""One WebSocket over a pair of connected sockets: how it ends, and that it always does."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock
from wsproto.events import CloseConnection, Pong, TextMessage

from fingertrio.http.pushing import Code
from fingertrio.http.websocket import WebSocket, accept_token, text_frame
from tests.frontends.web.watching import WebSocketClient, frame

HELLO = text_frame(b"hello")


class Pair:
    """A WebSocket that runs and its other end."""

    def __init__(self, socket: WebSocket, other: WebSocketClient) -> None:
        self.socket = socket
        self.other = other
        self.said: bool | None = None
        self.failure: BaseException | None = None
        self.ended = trio.Event()
        self.scope = trio.CancelScope()

    async def run(self, talk: Callable[[WebSocket], Awaitable[None]]) -> None:
        try:
            with self.scope:
                self.said = await self.socket.run(lambda: talk(self.socket))
        except Exception as error:  # noqa: BLE001 -- the test looks at it
            self.failure = error
        self.ended.set()


@asynccontextmanager
async def running(
    talk: Callable[[WebSocket], Awaitable[None]], *, early: bytes = b"", buffer: int | None = None
) -> AsyncIterator[Pair]:
    ours, theirs = map(trio.SocketStream, trio.socket.socketpair())
    if buffer is not None:
        ours.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, buffer)
    async with ours, theirs, trio.open_nursery() as nursery:
        pair = Pair(WebSocket(ours, early), WebSocketClient(theirs))
        nursery.start_soon(pair.run, talk)
        yield pair
        if isinstance(pair.other.stream, trio.SocketStream):
            await trio.aclose_forcefully(pair.other.stream)
        with trio.fail_after(100):
            await pair.ended.wait()


async def greet(socket: WebSocket) -> None:
    await socket.send(HELLO)
    await trio.sleep_forever()


async def flood(socket: WebSocket) -> None:
    while True:
        await socket.send(text_frame(b"x" * 1000))


def test_the_accept_token_is_that_of_the_rfc():
    assert accept_token("dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    "key", ["", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZQ==", "\xff" * 24, "é", "====", " " * 24]
)
def test_what_is_no_key_has_no_token(key):
    assert accept_token(key) is None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
async def test_frames_of_every_size_are_read_as_they_were_written(size):
    async def talk(socket: WebSocket) -> None:
        await socket.send(text_frame(b"x" * size) + HELLO)

    async with running(talk) as pair:
        assert await pair.other.next() == TextMessage("x" * size)
        assert await pair.other.next() == TextMessage("hello")
        assert await pair.other.closed() == Code.OVER


async def test_pings_are_answered_while_the_talk_waits():
    async with running(greet) as pair:
        await pair.other.stream.send_all(frame(b"are you there?", opcode=9))
        assert await pair.other.event() == TextMessage("hello")
        assert await pair.other.event() == Pong(b"are you there?")


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_a_close_is_answered_with_its_code(code):
    async with running(greet) as pair:
        await pair.other.stream.send_all(pair.other.frames.send(CloseConnection(code, "bye")))
        assert await pair.other.closed() == code
        await pair.ended.wait()
        assert pair.said is True


async def test_a_close_without_a_code_is_answered():
    async with running(greet) as pair:
        await pair.other.stream.send_all(frame(b"", opcode=8))
        assert await pair.other.closed() == 1005  # wsproto's word for none


GARBAGE = {
    "unmasked": (frame(b"x", masked=False), 1002),
    "reserved opcode": (frame(b"", opcode=3), 1002),
    "reserved bit, as compression sets it": (frame(b"x", opcode=0x41), 1002),
    "continuation of nothing": (frame(b"x", opcode=0), 1002),
    "new message within one": (frame(b"x", fin=False) + frame(b"y"), 1002),
    "fragmented ping": (frame(b"", opcode=9, fin=False), 1002),
    "long ping": (frame(b"x" * 126, opcode=9), 1002),
    "close with one byte": (frame(b"x", opcode=8), 1002),
    "close with a code that is none": (frame(b"\x00\x01", opcode=8), 1002),
    "text that is not UTF-8": (frame(b"\xff"), 1007),
    "long message": (frame(b"x" * 1025), 1009),
    "long message in parts": (frame(b"x" * 600, fin=False) + frame(b"x" * 600, opcode=0), 1009),
    "a length beyond everything": (frame(b"x" * 2000, size=2**62), 1009),
    "too many messages": (frame(b"hi") * 60, 1008),
    "too many pings": (frame(b"", opcode=9) * 60, 1008),
    "too many pongs": (frame(b"", opcode=10) * 60, 1008),
    "too many empty parts": (frame(b"", fin=False) + frame(b"", opcode=0, fin=False) * 60, 1008),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", 1002),
}


@pytest.mark.parametrize(("data", "code"), GARBAGE.values(), ids=GARBAGE)
async def test_the_close_code_tells_how_the_protocol_was_broken(data: bytes, code: int):
    async with running(greet) as pair:
        await pair.other.stream.send_all(data)
        assert await pair.other.closed() == code
        await pair.ended.wait()
        assert pair.said is True


SHORT = {name: case for name, case in GARBAGE.items() if len(case[0]) <= 400}


@pytest.mark.parametrize(("data", "code"), SHORT.values(), ids=SHORT)
async def test_the_close_code_is_the_same_byte_by_byte(data: bytes, code: int):
    async with running(greet) as pair:
        with suppress(trio.BrokenResourceError):
            for byte in data:
                await pair.other.stream.send_all(bytes([byte]))
                await trio.testing.wait_all_tasks_blocked()
        assert await pair.other.closed() == code


@pytest.mark.parametrize("received", [3, 7])
async def test_what_came_with_the_handshake_is_read(received: int):
    data = frame(b"\xff")
    async with running(greet, early=data[:received]) as pair:
        await pair.other.stream.send_all(data[received:])
        assert await pair.other.closed() == 1007


async def test_a_few_messages_are_ignored_and_ever_again(patient_clock: MockClock):
    async with running(greet) as pair:
        for _ in range(100):
            await pair.other.stream.send_all(frame(b"subscribe to everybody", opcode=1) + frame(b"", opcode=2))
            await trio.sleep(1)
        await pair.other.stream.send_all(frame(b"still there?", opcode=9))
        assert await pair.other.event() == TextMessage("hello")
        assert await pair.other.event() == Pong(b"still there?")


async def test_a_client_that_closes_without_a_close_frame_is_noticed():
    async with running(greet) as pair:
        assert await pair.other.next() == TextMessage("hello")
        await trio.aclose_forcefully(pair.other.stream)
        await pair.ended.wait()
        assert pair.said is False


async def test_a_slow_reader_gets_the_close_behind_the_frame_that_it_was_reading(patient_clock: MockClock):
    async with running(flood, buffer=10_000) as pair:
        await trio.sleep(30.5)
        assert not pair.ended.is_set()
        assert await pair.other.closed() == Code.TRY_AGAIN_LATER
        await pair.ended.wait()
        assert pair.said is True


async def test_a_client_that_never_reads_is_dropped_without_a_close_frame(patient_clock: MockClock):
    async with running(flood, buffer=10_000) as pair:
        await pair.ended.wait()
        assert trio.current_time() == pytest.approx(31)
        assert (pair.said, pair.socket.ending) == (False, Code.TRY_AGAIN_LATER)


async def test_a_reader_that_is_slow_but_steady_stays(patient_clock: MockClock):
    async with running(flood, buffer=10_000) as pair:
        for _ in range(30):
            await trio.sleep(20)
            for _ in range(30):
                assert await pair.other.next() == TextMessage("x" * 1000)
        assert not pair.ended.is_set()


async def beat(socket: WebSocket) -> None:
    while True:
        await socket.beat(HELLO)
        await trio.sleep(15)


async def test_a_client_that_answers_pings_stays(patient_clock: MockClock):
    async with running(beat) as pair:
        for _ in range(100):
            assert await pair.other.next() == TextMessage("hello")
        assert pair.other.pings == pytest.approx(100, abs=1)


async def test_a_client_that_does_not_answer_pings_is_closed_as_a_slow_reader(patient_clock: MockClock):
    async with running(beat) as pair:
        pair.other.answers_pings = False
        assert await pair.other.closed() == Code.TRY_AGAIN_LATER
        assert trio.current_time() == pytest.approx(30)


async def test_it_ends_at_once_when_told_to():
    async with running(greet) as pair:
        assert await pair.other.next() == TextMessage("hello")
        pair.socket.end(Code.GOING_AWAY, "the server stops")
        pair.socket.end(Code.FAILED, "a second reason does not count")
        assert await pair.other.next() == CloseConnection(Code.GOING_AWAY, "the server stops")


async def test_it_can_be_ended_before_it_begins():
    ours, theirs = map(trio.SocketStream, trio.socket.socketpair())
    async with ours, theirs:
        socket = WebSocket(ours)
        socket.end(Code.GOING_AWAY)
        assert await socket.run(trio.sleep_forever)
        assert await WebSocketClient(theirs).closed() == Code.GOING_AWAY


@pytest.mark.parametrize("way", ["ended", "cancelled"])
async def test_a_client_that_does_not_read_does_not_delay_the_end(way: str, patient_clock: MockClock):
    async with running(flood, buffer=10_000) as pair:
        await trio.sleep(5)
        pair.socket.end(Code.GOING_AWAY) if way == "ended" else pair.scope.cancel()
        await pair.ended.wait()
        assert trio.current_time() == pytest.approx(6)
        assert not pair.said


async def test_a_frame_sent_in_the_last_moment_does_not_delay_the_end(patient_clock: MockClock):
    async def talk(socket: WebSocket) -> None:
        socket.end(Code.GOING_AWAY)
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        await socket.send(text_frame(b"x" * 1_000_000))

    async with running(talk, buffer=10_000) as pair:
        await pair.ended.wait()
        assert trio.current_time() == pytest.approx(6)


async def test_the_frame_that_is_on_its_way_gets_whole_before_the_close(patient_clock: MockClock):
    async with running(flood, buffer=10_000) as pair:
        await trio.sleep(5)
        pair.socket.end(Code.GOING_AWAY)
        assert await pair.other.closed() == Code.GOING_AWAY
        assert trio.current_time() == 5


async def test_after_a_cancellation_the_close_code_is_1011():
    async with running(greet) as pair:
        assert await pair.other.next() == TextMessage("hello")
        pair.scope.cancel()
        assert await pair.other.closed() == Code.FAILED


async def test_a_sender_that_fails_ends_with_a_close_frame_and_its_exception():
    async def talk(socket: WebSocket) -> None:
        await socket.send(HELLO)
        raise ZeroDivisionError

    async with running(talk) as pair:
        assert await pair.other.closed() == Code.FAILED
        await pair.ended.wait()
        assert isinstance(pair.failure, ExceptionGroup)
        assert pair.failure.subgroup(ZeroDivisionError)


@given(data=st.lists(st.binary(max_size=200), max_size=5))
def test_whatever_comes_it_ends_when_the_client_does(data: list[bytes]):
    async def main() -> None:
        async with running(greet) as pair:
            with trio.move_on_after(5):
                with suppress(trio.BrokenResourceError):
                    for piece in data:
                        await pair.other.stream.send_all(piece)
            await trio.aclose_forcefully(pair.other.stream)
            await pair.ended.wait()
            assert pair.failure is None

    trio.run(main)


async def test_frames_that_leave_at_once_are_whole_and_in_order(patient_clock: MockClock):
    """Also the one that the kernel took in part, before a pong that another task sends."""
    flushed = trio.Event()

    async def talk(socket: WebSocket) -> None:
        await flushed.wait()
        await socket.flush()
        await trio.sleep_forever()

    async with running(talk, buffer=10_000) as pair:
        count = 0
        while pair.socket.send_at_once(text_frame(b"%5d" % count + b"x" * 1000)):
            count += 1
        assert count > 2
        await pair.other.stream.send_all(frame(b"are you there?", opcode=9))
        flushed.set()
        for number in range(count):
            event = await pair.other.event()
            assert isinstance(event, TextMessage)
            assert event.data[:5] == f"{number:5}"
        assert await pair.other.event() == Pong(b"are you there?")
        assert pair.socket.send_at_once(HELLO)
        assert await pair.other.event() == TextMessage("hello")


async def test_a_rest_leaves_before_the_close_frame(monkeypatch: pytest.MonkeyPatch):
    async with running(greet) as pair:
        assert await pair.other.next() == TextMessage("hello")
        with monkeypatch.context() as patch:
            original = os.write
            patch.setattr("fingertrio.http.at_once.os.write", lambda fd, data: original(fd, data[: len(data) // 2]))
            assert pair.socket.send_at_once(text_frame(b"x" * 1000))
        assert pair.socket.has_rest
        assert not pair.socket.send_at_once(HELLO)
        pair.socket.end(Code.GOING_AWAY)
        assert await pair.other.next() == TextMessage("x" * 1000)
        assert await pair.other.closed() == Code.GOING_AWAY


async def test_nothing_leaves_at_once_when_the_end_has_begun_or_another_send_is_under_way(patient_clock: MockClock):
    async with running(flood, buffer=10_000) as pair:
        await trio.sleep(1)
        assert not pair.socket.send_at_once(HELLO)
    async with running(greet) as pair:
        assert await pair.other.next() == TextMessage("hello")
        assert not pair.socket.send_at_once(text_frame(b"x" * 100_000))
        pair.socket.end(Code.GOING_AWAY)
        assert not pair.socket.send_at_once(HELLO)
