"""The accept loop over real sockets: both lanes, every way a peer can misbehave, and an end that loses nothing."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import socket
import struct
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fingertrio.net import server as server_module
from fingertrio.net.address import Address
from fingertrio.net.connection import Connection
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.listen import address_of, bind, close_all
from fingertrio.net.server import BURST, Server, raw_accept
from tests.helpers import RecordingReports, loopback_listener, open_descriptors, reset

REFUSAL = b"Too many connections\r\n"
Place = tuple[str, int] | str


class Echo:
    """A protocol of lines: `hot NAME` is answered in the lane, all else by the handler, and both count.

    Attributes:
        given: what each connection's handler was given to begin with.
        proceed: handlers wait for it once they have the line.
    """

    def __init__(self, *, padding: int = 0) -> None:
        self.padding = b"x" * padding
        self.in_lane = 0
        self.bug: Exception = ValueError("a bug in the handler")
        self.peers: list[str] = []
        self.given: list[bytes] = []
        self.at_work = 0
        self.proceed = trio.Event()
        self.proceed.set()

    def answer(self, line: bytes) -> bytes:
        return self.padding + b"<" + line + b">\r\n"

    def lane(self, data: bytes, peer: str) -> bytes | None:
        line, end, _ = data.partition(b"\n")
        if not end or not line.startswith(b"hot "):
            return None
        self.in_lane += 1
        self.peers.append(peer)
        if line.startswith(b"hot bug"):
            raise ValueError("a bug in the lane")
        return self.answer(line.strip())

    async def handler(self, connection: Connection) -> None:
        self.peers.append(connection.peer)
        self.given.append(connection.data)
        data = connection.data
        while b"\n" not in data:
            if not (chunk := await connection.stream.receive_some(1024)):
                return
            data += chunk
        line = data.partition(b"\n")[0].strip()
        if line == b"bug":
            raise self.bug
        self.at_work += 1
        try:
            await self.proceed.wait()
            await connection.send(self.answer(line), 10)
        finally:
            self.at_work -= 1


class Door:
    """A server that serves, and what a test wants of it."""

    def __init__(self, server: Server, listener: socket.socket, echo: Echo, told: RecordingReports) -> None:
        self.server = server
        self.echo = echo
        self.told = told
        self.stopping = trio.Event()
        self.place: Place = listener.getsockname()

    async def connect(self, first: bytes = b"") -> trio.SocketStream:
        """A connection that has said `first` before the server could look at it."""
        family = (socket.AF_UNIX, socket.AF_INET6 if ":" in self.place[0] else socket.AF_INET)[
            isinstance(self.place, tuple)
        ]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.connect(self.place)
        sock.setblocking(False)
        sent = sock.send(first) if first else 0
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        await stream.send_all(first[sent:])
        return stream

    async def ask(self, first: bytes, *more: bytes) -> bytes:
        """All that is answered to what is sent chunk by chunk, up to its orderly end."""
        async with await self.connect(first) as stream:
            for chunk in more:
                await wait_all_tasks_blocked()
                await stream.send_all(chunk)
            return await read_all(stream)


async def read_all(stream: trio.SocketStream) -> bytes:
    data = bytearray()
    with trio.fail_after(60):
        while chunk := await stream.receive_some(65536):
            data += chunk
    return bytes(data)


@asynccontextmanager
async def serving(
    listener: socket.socket | None = None,
    *,
    echo: Echo | None = None,
    lane: bool = True,
    caps: ConnectionCaps | None = None,
    rate: RateLimiter | None = None,
) -> AsyncIterator[Door]:
    """A door that is open, and at the end stopped, having to end in time and to leave nothing open."""
    echo, told = echo or Echo(), RecordingReports()
    with ExitStack() as stack:
        listener = listener or stack.enter_context(loopback_listener())
        server = Server(
            "echo",
            [listener],
            echo.handler,
            lane=echo.lane if lane else None,
            reports=told,
            caps=caps or ConnectionCaps(total=1000, per_address=1000),
            rate=rate,
            refusal=REFUSAL,
        )
        door = Door(server, listener, echo, told)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, door.stopping)
            yield door
            door.stopping.set()
            nursery.cancel_scope.deadline = trio.current_time() + 10
    assert not nursery.cancel_scope.cancelled_caught, "it did not end"
    assert told.open == 0
    assert len(server._linger) == 0


@pytest.fixture(autouse=True)
def _no_descriptor_is_left_open() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() == before


class TestLanes:
    async def test_what_the_lane_knows_costs_no_task(self):
        async with serving() as door:
            assert await door.ask(b"hot moshez\r\n") == b"<hot moshez>\r\n"
            assert door.echo.in_lane == 1
            assert not door.echo.given
            assert door.told.most_open == 0

    async def test_what_it_does_not_know_is_the_handler_s_with_what_was_read(self):
        async with serving() as door:
            assert await door.ask(b"cold moshez\r\n") == b"<cold moshez>\r\n"
            assert door.echo.given == [b"cold moshez\r\n"]
            assert door.told.most_open == 1

    async def test_a_query_in_pieces_is_the_handler_s(self):
        async with serving() as door:
            assert await door.ask(b"hot ", b"mos", b"hez\r", b"\n") == b"<hot moshez>\r\n"
            assert door.echo.given == [b"hot "]

    async def test_one_who_speaks_late_is_the_handler_s(self):
        async with serving() as door:
            assert await door.ask(b"", b"hot moshez\r\n") == b"<hot moshez>\r\n"
            assert door.echo.given == [b""]

    async def test_one_who_says_nothing_is_let_go(self):
        async with serving() as door:
            async with await door.connect() as stream:
                await stream.send_eof()
                assert await read_all(stream) == b""

    async def test_without_a_lane_nothing_is_read_ahead(self):
        async with serving(lane=False) as door:
            assert await door.ask(b"hot moshez\r\n") == b"<hot moshez>\r\n"
            assert door.echo.given == [b""]

    @pytest.mark.parametrize("lane", [True, False])
    async def test_hundreds_at_once_are_all_answered(self, lane: bool):
        async with serving(lane=lane) as door:
            answers: list[bytes] = []

            async def one(number: int) -> None:
                answers.append(await door.ask(b"hot %d\r\n" % number))

            async with trio.open_nursery() as nursery:
                for number in range(300):
                    nursery.start_soon(one, number)
            assert sorted(answers) == sorted(b"<hot %d>\r\n" % number for number in range(300))

    async def test_a_burst_is_bounded_and_others_have_their_turn(self):
        """However many wait at the door, no other task waits for more than BURST of them."""
        echo, turns = Echo(), []
        with ExitStack() as stack:
            listener = stack.enter_context(loopback_listener())
            peers = [stack.enter_context(socket.create_connection(listener.getsockname())) for _ in range(6 * BURST)]
            for peer in peers:
                peer.sendall(b"hot moshez\r\n")
            async with serving(listener, echo=echo):
                while echo.in_lane < len(peers):
                    turns.append(echo.in_lane)
                    await trio.lowlevel.checkpoint()
                for peer in peers:
                    peer.close()
        # Trio runs a batch of tasks in any order, so that between two turns of ours there may be two of the loop.
        assert max(later - earlier for earlier, later in zip(turns, [*turns[1:], len(peers)], strict=True)) <= 2 * BURST

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    @pytest.mark.parametrize("query", [b"hot x\n", b"cold x\n"])
    async def test_the_peer_is_told_as_text(self, host: str, query: bytes):
        with loopback_listener(host) as listener:
            async with serving(listener) as door:
                await door.ask(query)
                assert door.echo.peers[-1] == host

    @pytest.mark.parametrize("query", [b"hot x\n", b"cold x\n"])
    async def test_a_unix_socket_is_served_alike_and_its_peer_has_no_address(self, query: bytes, tmp_path: Path):
        (listener,) = bind(Address(path=tmp_path / "socket"))
        try:
            async with serving(listener, caps=ConnectionCaps(total=10, per_address=1)) as door:
                assert await door.ask(query) == b"<" + query.strip() + b">\r\n"
                assert door.echo.peers[-1] == ""
        finally:
            close_all([listener])

    async def test_it_serves_all_its_listeners_and_says_where(self):
        told, stopping = RecordingReports(), trio.Event()
        with loopback_listener() as one, loopback_listener("::1") as other:
            server = Server(
                "x", [one, other], Echo().handler, reports=told, caps=ConnectionCaps(total=9, per_address=9)
            )
            async with trio.open_nursery() as nursery:
                assert await nursery.start(server.serve, stopping) == [address_of(one), address_of(other)]
                for listener in (one, other):
                    assert await Door(server, listener, Echo(), told).ask(b"x\n") == b"<x>\r\n"
                stopping.set()


class TestLargeAnswers:
    """Larger than any send buffer, so that the lane's answer has to be finished by a task."""

    PADDING = 8 * 1024 * 1024

    @pytest.mark.parametrize("query", [b"hot x\n", b"cold x\n"])
    async def test_a_slow_reader_has_all_of_it(self, query: bytes):
        async with serving(echo=Echo(padding=self.PADDING)) as door:
            async with await door.connect(query) as stream:
                await wait_all_tasks_blocked()
                data = await read_all(stream)
            assert len(data) == self.PADDING + len(query) + 3
            assert hashlib.sha256(data).digest() == hashlib.sha256(door.echo.answer(query.strip())).digest()

    async def test_one_who_does_not_read_is_given_up(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(server_module, "SEND_DEADLINE", 0.05)
        async with serving(echo=Echo(padding=self.PADDING)) as door:
            async with await door.connect(b"hot x\n") as stream:
                with trio.fail_after(10):
                    while not door.told.refusals:
                        await wait_all_tasks_blocked(0.01)
                assert door.told.refusals == {"slow_reader": 1}
                assert door.told.open == 0
                with pytest.raises(trio.BrokenResourceError):  # not an orderly end: this was not all
                    await read_all(stream)

    async def test_a_limit_reached_in_the_middle_of_an_answer_adds_no_refusal_to_the_answer(self):
        caps = ConnectionCaps(total=1, per_address=1)
        async with serving(echo=Echo(padding=self.PADDING), caps=caps) as door:
            async with await door.connect():  # has the one place
                await wait_all_tasks_blocked()
                async with await door.connect(b"hot x\n") as stream:
                    await wait_all_tasks_blocked()
                    received = bytearray()
                    with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
                        while chunk := await stream.receive_some():
                            received += chunk
                    assert not set(received) - set(b"x")
                assert door.told.refusals == {"connections": 1}


class TestClosing:
    """RFC 1288 section 2.1 and GOTCHAS of TCP: what was not read must not turn the close into a reset."""

    JUNK = b"j" * 65536

    @pytest.mark.parametrize("query", [b"hot x\r\n", b"cold x\r\n"])
    async def test_junk_after_the_query_destroys_no_answer(self, query: bytes):
        async with serving(echo=Echo(padding=20_000)) as door:
            expected = door.echo.answer(query.strip())
            for _ in range(100):
                async with await door.connect(query + self.JUNK) as stream:
                    assert await read_all(stream) == expected

    @pytest.mark.parametrize("query", [b"hot x\r\n", b"cold x\r\n"])
    async def test_nor_does_junk_that_comes_after_the_answer(self, query: bytes):
        async with serving(echo=Echo(padding=20_000)) as door:
            expected = door.echo.answer(query.strip())
            for _ in range(20):
                async with await door.connect(query) as stream:
                    await wait_all_tasks_blocked()
                    await stream.send_all(self.JUNK)
                    assert await read_all(stream) == expected

    async def test_nor_junk_for_a_handler_that_never_reads(self):
        class Busy(Echo):
            async def handler(self, connection: Connection) -> None:
                await connection.stream.send_all(b"busy\r\n")

        async with serving(echo=Busy(), lane=False) as door:
            for _ in range(20):
                async with await door.connect(self.JUNK) as stream:
                    assert await read_all(stream) == b"busy\r\n"


class TestPeersThatVanish:
    @pytest.mark.parametrize("lane", [True, False])
    async def test_a_reset_at_any_stage_ends_one_connection_quietly(self, lane: bool):
        echo = Echo(padding=2_000_000)
        async with serving(echo=echo, lane=lane) as door:

            async def vanish(*chunks: bytes, read: int = 0) -> None:
                stream = await door.connect(chunks[0])
                for chunk in chunks[1:]:
                    await wait_all_tasks_blocked()
                    await stream.send_all(chunk)
                await wait_all_tasks_blocked()
                if read:
                    await stream.receive_some(read)
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await trio.aclose_forcefully(stream)

            for _ in range(5):
                await vanish(b"")
                await vanish(b"hot")
                await vanish(b"hot x\n")
                await vanish(b"cold x\n")
                await vanish(b"hot x\n", read=1000)
                await vanish(b"cold x\n", read=1000)
                await vanish(b"hot x\n", TestClosing.JUNK)
                echo.proceed = trio.Event()
                await vanish(b"cold x\n")
                echo.proceed.set()
            echo.padding = b""
            assert await door.ask(b"hot y\n") == b"<hot y>\r\n"
            await wait_all_tasks_blocked()
            assert door.told.events() == []
            assert door.told.open == 0

    async def test_a_reset_before_it_was_accepted_costs_nothing(self):
        with loopback_listener() as listener:
            for _ in range(20):
                peer = socket.create_connection(listener.getsockname())
                peer.sendall(b"hot x\n")
                reset(peer)
            async with serving(listener) as door:
                assert await door.ask(b"hot y\n") == b"<hot y>\r\n"
                assert door.told.events() == []


class TestBugs:
    @pytest.mark.parametrize(
        "bug", [ValueError(), FileNotFoundError(), ExceptionGroup("nursery", [ValueError()]), trio.TooSlowError()]
    )
    async def test_a_bug_in_the_handler_ends_its_connection_and_is_reported(self, bug: Exception):
        async with serving() as door:
            door.echo.bug = bug
            door.echo.proceed = trio.Event()
            async with await door.connect(b"cold y\n") as other:
                await wait_all_tasks_blocked()
                assert await door.ask(b"bug\n") == b""
                (report,) = door.told.reports
                assert (report.level, report.event) == ("error", "connection_failed")
                assert report.fields == {"door": "echo", "peer": "127.0.0.1"}
                assert report.exc is bug
                door.echo.proceed.set()
                assert await read_all(other) == b"<cold y>\r\n"

    async def test_a_bug_in_the_lane_is_reported_and_the_handler_answers(self):
        async with serving() as door:
            assert await door.ask(b"hot bug\n") == b"<hot bug>\r\n"
            assert door.told.events("error") == ["lane_failed"]
            assert await door.ask(b"hot y\n") == b"<hot y>\r\n"
            assert door.echo.given == [b"hot bug\n"]


class TestLimits:
    @pytest.mark.parametrize(
        ("caps", "reason"),
        [
            (ConnectionCaps(total=2, per_address=9), "connections"),
            (ConnectionCaps(total=9, per_address=2), "connections_per_address"),
        ],
    )
    async def test_one_too_many_is_refused_in_the_protocol_s_words_until_there_is_room(
        self, caps: ConnectionCaps, reason: str
    ):
        async with serving(caps=caps) as door:
            async with await door.connect(), await door.connect() as second:
                await wait_all_tasks_blocked()
                for _ in range(3):
                    assert await door.ask(b"cold x\n" + TestClosing.JUNK) == REFUSAL
                assert door.told.refusals == {reason: 3}
                assert await door.ask(b"hot x\n") == b"<hot x>\r\n", "the lane holds nothing open"
                await second.aclose()
                await wait_all_tasks_blocked()
                assert await door.ask(b"cold x\n") == b"<cold x>\r\n"
            assert door.told.most_open == 2

    async def test_one_who_asks_too_often_is_refused_in_both_lanes(self, patient_clock: MockClock):
        async with serving(rate=RateLimiter(rate=1, burst=2)) as door:
            for query in (b"hot x\n", b"cold x\n"):
                assert await door.ask(query) == b"<" + query.strip() + b">\r\n"
            for query in (b"hot x\n", b"cold x\n"):
                assert await door.ask(query + TestClosing.JUNK) == REFUSAL
            assert door.told.refusals == {"rate": 2}
            await trio.sleep(10)
            assert await door.ask(b"hot x\n") == b"<hot x>\r\n"

    async def test_without_words_a_refusal_is_an_end(self):
        with loopback_listener() as listener:
            server = Server(
                "x", [listener], Echo().handler, reports=RecordingReports(), caps=ConnectionCaps(total=0, per_address=1)
            )
            stopping = trio.Event()
            async with trio.open_nursery() as nursery:
                await nursery.start(server.serve, stopping)
                assert await Door(server, listener, Echo(), RecordingReports()).ask(b"x\n") == b""
                stopping.set()


@contextmanager
def faulty_listener(faults: Iterable[int]) -> Iterator[socket.socket]:
    """A listener whose `accept` fails with each of `faults`, and then works."""
    with loopback_listener() as listener, pytest.MonkeyPatch.context() as patch:
        number, real, inner = iter(faults), server_module.raw_accept, raw_accept(listener)

        def accept() -> tuple[int, tuple[str, int]]:
            for error in number:
                raise OSError(error, os.strerror(error))
            return inner()

        patch.setattr(server_module, "raw_accept", lambda sock: accept if sock is listener else real(sock))
        yield listener


def test_the_socket_module_still_has_the_raw_accept():
    """If this fails after an upgrade of Python, let `raw_accept` in fingertrio/net/server.py wrap `socket.accept`."""
    with loopback_listener() as listener, socket.create_connection(listener.getsockname()) as peer:
        descriptor, address = raw_accept(listener)()
        os.close(descriptor)
        assert address == peer.getsockname()


class TestRunningOut:
    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
    async def test_it_pauses_says_so_at_most_once_a_second_and_recovers(self, number: int, patient_clock: MockClock):
        with faulty_listener([number] * 25) as listener:
            async with serving(listener) as door:
                begun = trio.current_time()
                assert await door.ask(b"hot x\n") == b"<hot x>\r\n"
                seconds = trio.current_time() - begun
                assert seconds == pytest.approx(2.5, abs=0.1), "25 pauses, each far below the second that is allowed"
                assert door.told.refusals == {"resources": 25}
                assert door.told.events("warning") == ["cannot_accept"] * 3
                assert door.told.reports[0].fields == {"door": "echo", "reason": os.strerror(number)}
                assert await door.ask(b"hot y\n") == b"<hot y>\r\n"

    async def test_doors_that_share_a_log_share_that_line(self, patient_clock: MockClock):
        """It is the process that has run out."""
        told, stopping, echo = RecordingReports(), trio.Event(), Echo()
        caps = ConnectionCaps(total=9, per_address=9)
        with faulty_listener([errno.EMFILE] * 5) as one, faulty_listener([errno.EMFILE] * 5) as other:
            async with trio.open_nursery() as nursery:
                for listener in (one, other):
                    server = Server("x", [listener], echo.handler, reports=told, caps=caps)
                    await nursery.start(server.serve, stopping)
                    nursery.start_soon(Door(server, listener, echo, told).ask, b"x\n")
                await trio.sleep(0.95)
                assert told.events("warning") == ["cannot_accept"]
                stopping.set()

    @pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EINTR])
    async def test_a_connection_that_failed_before_it_was_accepted_delays_no_other(
        self, number: int, patient_clock: MockClock
    ):
        with faulty_listener([number] * 5) as listener:
            async with serving(listener) as door:
                begun = trio.current_time()
                assert await door.ask(b"hot x\n") == b"<hot x>\r\n"
                assert trio.current_time() - begun < 0.1
                assert door.told.events() == []

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.EPERM, errno.ECONNABORTED])
    async def test_an_accept_that_keeps_failing_is_tried_ten_times_a_second_and_logged(
        self, number: int, patient_clock: MockClock
    ):
        """Also errors of single connections, if they follow one another without end."""
        tried = 0

        def faults() -> Iterator[int]:
            nonlocal tried
            while trio.current_time() < 3:
                tried += 1
                yield number

        with faulty_listener(faults()) as listener:
            async with serving(listener) as door:
                assert await door.ask(b"hot x\n") == b"<hot x>\r\n"
                assert trio.current_time() == pytest.approx(3, abs=0.2)
                assert tried < 30 + BURST
                assert door.told.events("warning") == ["cannot_accept"] * 3
                assert door.told.reports[0].fields == {"door": "echo", "reason": os.strerror(number)}

    async def test_an_accept_that_fails_for_ten_seconds_fails_the_door(self, patient_clock: MockClock):
        with faulty_listener(itertools.repeat(errno.EINVAL)) as listener, pytest.raises(ExceptionGroup) as caught:
            async with serving(listener) as door:
                await door.ask(b"hot x\n")
        assert trio.current_time() == pytest.approx(10, abs=0.2)
        assert caught.group_contains(OSError, match="Invalid argument")

    async def test_a_lack_of_descriptors_never_fails_the_door(self, patient_clock: MockClock):
        with faulty_listener([errno.EMFILE] * 120) as listener:
            async with serving(listener) as door:
                assert await door.ask(b"hot x\n") == b"<hot x>\r\n"
                assert trio.current_time() == pytest.approx(12, abs=0.5)

    def test_descriptors_that_really_run_out(self):
        """A process with few descriptors, more connections than it may have, and one who asks when they are gone."""
        program = """
            import resource, sys, trio
            from fingertrio.net.address import Address
            from fingertrio.net.limits import ConnectionCaps
            from fingertrio.net.listen import bind
            from fingertrio.net.server import Server
            from fingertrio.observe.observer import Observer

            async def handler(connection):
                await connection.stream.receive_some(100)
                await connection.send(b"well", 5)

            async def main():
                resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
                (listener,) = bind(Address("127.0.0.1", 0))
                observer = Observer(sys.stdout, human=False)
                caps = ConnectionCaps(total=999, per_address=999)
                server = Server("x", [listener], handler, reports=observer, caps=caps)
                async with trio.open_nursery() as nursery:
                    await nursery.start(server.serve, trio.Event())
                    print(listener.getsockname()[1], flush=True)
                    await trio.to_thread.run_sync(sys.stdin.read)
                    nursery.cancel_scope.cancel()

            trio.run(main)
        """
        with (
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as process,
            ExitStack() as stack,
        ):
            stack.callback(process.kill)
            assert process.stdout is not None
            place = ("127.0.0.1", int(process.stdout.readline()))
            idle = [stack.enter_context(socket.create_connection(place, timeout=10)) for _ in range(100)]
            assert "cannot_accept" in process.stdout.readline()
            with socket.create_connection(place, timeout=10) as peer:
                peer.sendall(b"x\n")
                for sock in idle:
                    sock.close()
                peer.settimeout(1)
                assert peer.recv(100) == b"well"
            output, errors = process.communicate(timeout=10)
            assert process.returncode == 0
            assert errors == ""
            assert output.count("cannot_accept") <= 2


class TestEnding:
    async def test_a_stop_takes_nothing_new_and_lets_what_is_in_flight_finish(self):
        async with serving() as door:
            door.echo.proceed = trio.Event()
            async with await door.connect(b"cold x\n") as stream, await door.connect(b"cold") as partial:
                await wait_all_tasks_blocked()
                door.stopping.set()
                await wait_all_tasks_blocked()
                async with await door.connect(b"hot y\n"):  # as far as the kernel's queue
                    await wait_all_tasks_blocked()
                    assert door.echo.in_lane == 0
                await partial.send_all(b" y\n")
                await wait_all_tasks_blocked()
                door.echo.proceed.set()
                assert await read_all(stream) == b"<cold x>\r\n"
                assert await read_all(partial) == b"<cold y>\r\n"

    async def test_a_stop_waits_three_tenths_of_a_second_for_peers_that_do_not_close(self, patient_clock: MockClock):
        async with serving() as door:
            stream = await door.connect(b"hot x\n")
            await wait_all_tasks_blocked()
            assert len(door.server._linger) == 1
            begun = trio.current_time()
        assert 0.2 < trio.current_time() - begun <= 0.31
        assert await read_all(stream) == b"<hot x>\r\n"
        await stream.aclose()

    async def test_a_cancellation_ends_everything_at_once(self):
        told, echo = RecordingReports(), Echo(padding=8_000_000)
        with loopback_listener() as listener:
            server = Server(
                "x", [listener], echo.handler, lane=echo.lane, reports=told, caps=ConnectionCaps(total=9, per_address=9)
            )
            door = Door(server, listener, echo, told)
            async with trio.open_nursery() as nursery:
                await nursery.start(server.serve, door.stopping)
                streams = [await door.connect(query) for query in (b"", b"cold", b"cold x\n", b"hot x\n")]
                await wait_all_tasks_blocked()
                assert told.open == 4
                nursery.cancel_scope.cancel()
                begun = trio.current_time()
            assert trio.current_time() - begun < 1
            assert told.open == 0
            assert told.events() == []
            for stream in streams:
                await stream.aclose()

    async def test_it_serves_again_after_it_was_cancelled(self):
        """As the supervisor restarts it: on the same sockets, so that who came meanwhile is answered."""
        told, echo = RecordingReports(), Echo()
        with loopback_listener() as listener:
            server = Server(
                "x", [listener], echo.handler, lane=echo.lane, reports=told, caps=ConnectionCaps(total=9, per_address=9)
            )
            door = Door(server, listener, echo, told)
            async with trio.open_nursery() as nursery:
                await nursery.start(server.serve, door.stopping)
                lingering = await door.connect(b"hot x\n")
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            async with await door.connect(b"hot y\n") as patient:
                async with trio.open_nursery() as nursery:
                    await nursery.start(server.serve, door.stopping)
                    assert await read_all(patient) == b"<hot y>\r\n"
                    await patient.aclose()
                    await lingering.aclose()
                    door.stopping.set()
