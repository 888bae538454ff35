"""Closing so that the answer arrives: how long a socket waits for its peer, and that the wait always ends."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
import trio
import trio.testing

from fingertrio.net.linger import LingerPool
from tests.helpers import reset

# Seconds from `add` to each check of a socket.
LOOKS = (0.01, 0.11, 1.11, 2.11)


class Ours(socket.socket):
    """Our end of a connection, with an event for its close."""

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(fileno=accepted.detach())
        self.setblocking(False)
        self.closed = trio.Event()

    def close(self) -> None:
        super().close()
        self.closed.set()


@contextmanager
def pair() -> Iterator[tuple[Ours, socket.socket]]:
    """Both ends of a TCP connection: ours and the peer's."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as peer:
        with Ours(listener.accept()[0]) as ours:
            yield ours, peer


@asynccontextmanager
async def running(pool: LingerPool) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        yield
        nursery.cancel_scope.cancel()


def is_open(sock: socket.socket) -> bool:
    return sock.fileno() >= 0


def unread(sock: socket.socket) -> int:
    """Bytes that the kernel holds for us. Of a socket that is closed with some, the peer sees a reset."""
    (count,) = struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))
    return int(count)


async def closed_after(sock: Ours) -> float:
    """Seconds until `sock` is closed, by Trio's clock, to the hundredth."""
    begun = trio.current_time()
    await sock.closed.wait()
    return round(trio.current_time() - begun, 2)


async def test_the_peer_sees_the_end_at_once(patient_clock: trio.testing.MockClock):
    pool = LingerPool()
    async with running(pool):
        with pair() as (ours, peer):
            ours.send(b"answer")
            pool.add(ours)
            assert peer.recv(100) == b"answer"
            assert peer.recv(100) == b""
            assert is_open(ours)


async def test_closed_at_the_first_look_if_the_peer_has_closed(patient_clock: trio.testing.MockClock):
    pool = LingerPool()
    async with running(pool):
        with pair() as (ours, peer):
            peer.close()
            pool.add(ours)
            assert await closed_after(ours) == LOOKS[0]
            assert len(pool) == 0


@pytest.mark.parametrize("look", [1, 2])
async def test_closed_at_the_next_look_after_the_peer_closes(look: int, patient_clock: trio.testing.MockClock):
    pool = LingerPool()
    async with running(pool):
        with pair() as (ours, peer):
            pool.add(ours)
            await trio.sleep(LOOKS[look] - 0.005)
            assert is_open(ours)
            peer.close()
            assert await closed_after(ours) <= 0.01


async def test_closed_after_the_last_look_whatever_the_peer_does(patient_clock: trio.testing.MockClock):
    pool = LingerPool()
    async with running(pool):
        with pair() as (ours, peer):
            pool.add(ours)
            assert await closed_after(ours) == LOOKS[3]
            assert is_open(peer)


async def test_a_peer_that_keeps_sending_is_read_and_then_closed(patient_clock: trio.testing.MockClock):
    pool = LingerPool()
    async with running(pool):
        with pair() as (ours, peer):
            ours.send(b"answer")
            pool.add(ours)
            peer.setblocking(False)
            begun = trio.current_time()
            while is_open(ours):
                with suppress(BlockingIOError):
                    peer.send(b"x" * 1024)
                await trio.sleep(0.05)
            assert trio.current_time() - begun == pytest.approx(LOOKS[3], abs=0.051)
            assert peer.recv(100) == b"answer"


async def test_junk_before_the_close_is_no_reset(patient_clock: trio.testing.MockClock):
    """The peer sent more than was read, reads late, and has the whole answer and an orderly end."""
    pool = LingerPool()
    async with running(pool):
        with pair() as (ours, peer):
            peer.sendall(b"x" * 60_000)
            ours.send(b"answer")
            pool.add(ours)
            await trio.sleep(LOOKS[0] + 0.001)
            assert unread(ours) == 0  # closed now, it would be no reset
            await closed_after(ours)
            assert peer.recv(100) == b"answer"
            assert peer.recv(100) == b""


async def test_a_peer_that_is_gone_is_not_waited_for(patient_clock: trio.testing.MockClock):
    pool = LingerPool()
    async with running(pool):
        with pair() as (ours, peer):
            reset(peer)
            pool.add(ours)
            assert not is_open(ours)
            assert len(pool) == 0
            await pool.wait_empty()


async def test_a_peer_that_resets_later_is_closed_at_the_next_look(patient_clock: trio.testing.MockClock):
    pool = LingerPool()
    async with running(pool):
        with pair() as (ours, peer):
            pool.add(ours)
            reset(peer)
            assert await closed_after(ours) == LOOKS[0]


async def test_one_that_lingers_long_delays_no_other(patient_clock: trio.testing.MockClock):
    """A socket that arrives while the pool waits for a late check is checked in time."""
    pool = LingerPool()
    async with running(pool):
        with pair() as (slow, _), pair() as (quick, peer):
            pool.add(slow)
            await trio.sleep(LOOKS[1] + 0.05)
            peer.close()
            pool.add(quick)
            assert await closed_after(quick) == LOOKS[0]
            assert is_open(slow)


async def test_empty_once_the_last_is_closed(patient_clock: trio.testing.MockClock):
    pool = LingerPool()
    async with running(pool):
        await pool.wait_empty()
        with pair() as (one, _), pair() as (other, _):
            pool.add(one)
            await trio.sleep(1)
            pool.add(other)
            begun = trio.current_time()
            await pool.wait_empty()
            assert trio.current_time() - begun == pytest.approx(LOOKS[3], abs=0.01)
            assert not is_open(one)
            assert not is_open(other)
            assert len(pool) == 0


async def test_past_the_limit_the_oldest_is_closed_early(patient_clock: trio.testing.MockClock):
    pool = LingerPool(limit=2)
    async with running(pool):
        with pair() as (one, _), pair() as (two, _), pair() as (three, _), pair() as (four, _):
            pool.add(one)
            await trio.sleep(0.05)  # one is past its first look, the others are not
            pool.add(two)
            pool.add(three)
            assert [is_open(sock) for sock in (one, two, three)] == [False, True, True]
            pool.add(four)
            assert [is_open(sock) for sock in (two, three, four)] == [False, True, True]
            assert len(pool) == 2
            await pool.wait_empty()
            assert len(pool) == 0


async def test_at_a_stop_no_socket_waits_longer_than_three_tenths_of_a_second(
    patient_clock: trio.testing.MockClock,
):
    pool = LingerPool()
    async with running(pool):
        with pair() as (old, _), pair() as (new, _), pair() as (quick, peer):
            pool.add(old)
            await trio.sleep(LOOKS[1] + 0.01)
            pool.add(new)
            pool.add(quick)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pool.finish)
                await trio.sleep(0.05)
                peer.close()
                assert await closed_after(quick) <= 0.01, "a peer that closes is noticed at once"
                assert await closed_after(old) == pytest.approx(0.24, abs=0.02)
            assert not is_open(new)
            assert len(pool) == 0


async def test_shedding_all_there_is_does_not_forget_who_waits_for_the_end(patient_clock: trio.testing.MockClock):
    pool = LingerPool(limit=1)
    with trio.fail_after(10):
        async with running(pool), trio.open_nursery() as nursery:
            with pair() as (one, _), pair() as (two, _):
                pool.add(one)
                nursery.start_soon(pool.wait_empty)
                await trio.testing.wait_all_tasks_blocked(0.0001)
                pool.add(two)
                assert not is_open(one)
                await pool.wait_empty()


async def test_cancelling_closes_all_of_them_at_once(patient_clock: trio.testing.MockClock):
    pool = LingerPool()
    with pair() as (one, _), pair() as (other, _):
        async with running(pool):
            pool.add(one)
            await trio.sleep(0.5)
            pool.add(other)
        assert not is_open(one)
        assert not is_open(other)
        assert len(pool) == 0


async def test_one_that_comes_after_the_cancellation_is_closed_at_once(patient_clock: trio.testing.MockClock):
    """A connection may be answered in the very moment in which everything is cancelled."""
    pool = LingerPool()
    async with running(pool):
        await trio.testing.wait_all_tasks_blocked()
    with pair() as (late, _):
        pool.add(late)
        assert not is_open(late)
    assert len(pool) == 0


async def test_one_that_comes_after_the_end_is_closed_at_once(patient_clock: trio.testing.MockClock):
    """A handler that was on its last line when everything was cancelled adds its socket after the end."""
    pool = LingerPool()
    with pair() as (ours, _):
        async with running(pool):
            pass
        pool.add(ours)
        assert not is_open(ours)
        assert len(pool) == 0


async def test_it_runs_again_after_it_was_cancelled(patient_clock: trio.testing.MockClock):
    """As after the restart of a front end."""
    pool = LingerPool()
    with pair() as (one, _):
        async with running(pool):
            pool.add(one)
            await trio.sleep(0.001)
    async with running(pool):
        await pool.wait_empty()
        with pair() as (other, peer):
            peer.close()
            pool.add(other)
            assert await closed_after(other) == LOOKS[0]
            await pool.wait_empty()


async def test_an_empty_pool_sleeps(patient_clock: trio.testing.MockClock):
    """It wakes for nothing: neither before the first socket nor after the last."""
    pool = LingerPool()

    class Wakings(trio.abc.Instrument):
        count = 0

        def task_scheduled(self, task: trio.lowlevel.Task) -> None:
            self.count += "LingerPool" in task.name

    wakings = Wakings()
    async with running(pool):
        trio.lowlevel.add_instrument(wakings)
        with pair() as (ours, _):
            pool.add(ours)
            await pool.wait_empty()
        busy, wakings.count = wakings.count, 0
        await trio.sleep(1000)
        trio.lowlevel.remove_instrument(wakings)
    assert busy >= len(LOOKS)
    assert wakings.count == 0
