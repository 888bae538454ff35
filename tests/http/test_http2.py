"""What HTTP/2 refuses, ignores and survives, and how much of it one connection may have."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from trio.testing import MockClock

from fingertrio.http.limits import HEADER_LIMIT
from fingertrio.http.request import is_proper
from fingertrio.http.server import HttpFrontend
from fingertrio.net.address import parse_address
from fingertrio.net.limits import ConnectionCaps
from fingertrio.net.listen import bind, close_all
from fingertrio.observe.observer import Observer
from fingertrio.testing import FakeBackend
from tests.frontends.web.kit import USERS, Client, Http2Client, Site, assert_unharmed, serving


@pytest.mark.parametrize(
    ("method", "path", "proper"),
    [
        (b"GET", b"/moshez", True),
        (b"GET", b"/\xff", False),
        (b"G\xc3\x89T", b"/", False),
        (b"GET", b"", False),
        (b"GET", b"*", False),
        (b"CONNECT", b"/", False),
    ],
)
def test_http2_requests_need_a_method_and_a_path(method: bytes, path: bytes, *, proper: bool) -> None:
    assert is_proper([(b":method", method), (b":path", path), (b"accept", b"*/*")]) is proper


async def test_http2_with_prior_knowledge_is_spoken_even_if_its_preface_comes_in_pieces() -> None:
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await client.send(b"PRI * HTTP/2.0\r\n")
        await client.send(b"\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        await client.send(browser.request(1) + browser.request(3, pseudo={"path": b"/api/users/moshez"}))
        status, body = await browser.answer(1)
        assert status == 200
        assert b"<p>Happy and well</p>" in body


@pytest.mark.parametrize(
    "pseudo",
    [
        {"path": b"/\xff"},
        {"path": "/日本".encode()},
        {"method": b"G\xc3\x89T"},
        {"method": b"CONNECT", "path": None, "scheme": None},
        {"path": b"*"},
    ],
    ids=str,
)
async def test_a_bad_http2_request_ends_its_stream_and_nothing_else(pseudo: dict[str, bytes | None]) -> None:
    async with serving() as site:
        async with await site.connect() as client:
            browser = Http2Client(client)
            await browser.start()
            await client.send(browser.request(1, pseudo=pseudo))
            await browser.wait_for(RstStreamFrame, 1)
            await client.send(browser.request(3))
            assert (await browser.answer(3))[0] == 200
        await assert_unharmed(site)


@pytest.mark.parametrize(
    ("pseudo", "headers", "status"),
    [
        ({"authority": b"a/b c"}, [], 400),
        ({"authority": None}, [(b"host", b"a/b c")], 400),
        ({"authority": None}, [(b"host", b"test")], 200),
        ({}, [(b"x", b"x" * HEADER_LIMIT)], 431),
        ({}, [(b"x%d" % number, b"x" * 1000) for number in range(17)], 431),
        ({}, [(b"x", b"x" * (HEADER_LIMIT - 200))], 200),
    ],
)
async def test_hosts_and_headers_are_limited_as_in_http_1(
    pseudo: dict[str, bytes | None], headers: list[tuple[bytes, bytes]], status: int
) -> None:
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start(MAX_FRAME_SIZE=2**15)
        block = browser.request(1, pseudo=pseudo, headers=headers)[9:]
        first, rest = HeadersFrame(1, block[:16000], flags=["END_STREAM"]), ContinuationFrame(1, block[16000:])
        (rest if len(block) > 16000 else first).flags.add("END_HEADERS")
        await client.send(first.serialize() + (rest.serialize() if len(block) > 16000 else b""))
        assert (await browser.answer(1))[0] == status
        await client.send(browser.request(3))
        assert (await browser.answer(3))[0] == 200


async def test_priorities_are_ignored() -> None:
    async with serving() as site:
        async with await site.connect() as client:
            browser = Http2Client(client)
            await browser.start()
            await client.send(b"".join(PriorityFrame(n, depends_on=0).serialize() for n in range(1, 1201, 2)))
            await client.send(browser.request(1201))
            assert (await browser.answer(1201))[0] == 200
        await assert_unharmed(site)


async def test_data_that_comes_after_its_answer_is_ignored_and_costs_no_window() -> None:
    async with serving() as site:
        async with await site.connect() as client:
            browser = Http2Client(client)
            await browser.start()
            for stream in (1, 5, 9, 13):  # together they need twice the connection's first window, so it is given back
                await client.send(browser.request(stream, end=False, pseudo={"method": b"POST"}))
                assert (await browser.answer(stream))[0] == 405
                await client.send(DataFrame(stream, b"x" * 16_384).serialize() * 2)
                await client.send(browser.request(stream + 2))
                assert (await browser.answer(stream + 2))[0] == 200
        await assert_unharmed(site)


async def test_a_protocol_error_ends_the_http2_connection_with_one_goaway() -> None:
    async with serving() as site:
        async with await site.connect() as client:
            browser = Http2Client(client)
            await browser.start()
            await client.send(DataFrame(5, b"a stream that was never opened").serialize())
            frame = await browser.wait_for(GoAwayFrame, 0)
            assert frame.error_code != 0
            assert await client.rest() == b""
        await assert_unharmed(site)


async def test_an_idle_http2_connection_is_closed_with_a_goaway(patient_clock: MockClock) -> None:
    async with serving(keep_alive=5) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        await client.send(browser.request(1))
        await browser.answer(1)
        begun = patient_clock.current_time()
        frame = await browser.wait_for(GoAwayFrame, 0)
        assert frame.error_code == 0
        assert patient_clock.current_time() - begun == pytest.approx(5)


async def test_a_connection_is_idle_again_when_its_last_request_was_cancelled(patient_clock: MockClock) -> None:
    """Also if the request was refused and cancelled in one segment."""
    async with serving(keep_alive=5) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        for request_ in (browser.request(1), browser.request(3, pseudo={"path": b"*"})):
            stream = int.from_bytes(request_[5:9])
            await client.send(request_ + RstStreamFrame(stream, error_code=8).serialize())
        frame = await browser.wait_for(GoAwayFrame, 0)
        assert frame.error_code == 0
        assert trio.current_time() == pytest.approx(5, abs=0.1)
        await assert_unharmed(site)


async def test_a_cancelled_request_is_stopped() -> None:
    backend = FakeBackend(USERS)
    async with serving(backend) as site, await site.connect() as client:
        backend.hold()
        browser = Http2Client(client)
        await browser.start()
        await client.send(browser.request(1))
        while not backend.calls:
            await trio.testing.wait_all_tasks_blocked(0.001)
        await client.send(RstStreamFrame(1, error_code=8).serialize() + browser.request(3, pseudo={"path": b"/shawn"}))
        while '"bad"' not in site.log.getvalue():
            await trio.testing.wait_all_tasks_blocked(0.001)
        backend.release()
        assert (await browser.answer(3))[0] == 200


# How much one connection may have: RFC 9113 section 10.5.


def cancelled(browser: Http2Client, stream: int, **pseudo: bytes) -> bytes:
    return browser.request(stream, pseudo=pseudo) + RstStreamFrame(stream, error_code=ErrorCodes.CANCEL).serialize()


async def assert_disconnected(browser: Http2Client, site: Site, reason: str) -> None:
    frame = await browser.wait_for(GoAwayFrame, 0)
    assert frame.error_code == ErrorCodes.ENHANCE_YOUR_CALM
    assert await browser.client.rest() == b""
    assert site.observer.metrics.refusals == {("http", reason): 1}
    await assert_unharmed(site)


IDLE_FRAMES = {
    "empty DATA": DataFrame(1).serialize(),
    "DATA of one byte": DataFrame(1, b"x").serialize(),
    "WINDOW_UPDATE of the connection": WindowUpdateFrame(0, window_increment=1).serialize(),
    "WINDOW_UPDATE of a stream": WindowUpdateFrame(1, window_increment=1).serialize(),
    "PRIORITY": PriorityFrame(1).serialize(),
    "PING": PingFrame(0, opaque_data=b"12345678").serialize(),
    "SETTINGS": SettingsFrame(0).serialize(),
    "unknown": b"\0\0\0\x20\0\0\0\0\1",
    "PRIORITY of streams that are not open": PriorityFrame(99).serialize(),
}


@pytest.mark.parametrize("kind", IDLE_FRAMES)
async def test_frames_that_do_nothing_end_the_connection_after_about_a_thousand(kind: str) -> None:
    backend = FakeBackend(USERS)
    async with serving(backend) as site, await site.connect() as client:
        backend.hold()
        browser = Http2Client(client)
        await browser.start()
        await client.send(browser.request(1, end=False))
        await client.send(IDLE_FRAMES[kind] * 900)
        await client.send(PingFrame(0, opaque_data=b"the last").serialize())
        while (await browser.wait_for(PingFrame, 0)).opaque_data != b"the last":
            pass
        with suppress(trio.BrokenResourceError):
            await client.send(IDLE_FRAMES[kind] * 300)
        backend.release()
        await assert_disconnected(browser, site, "flood")


async def test_reading_a_long_answer_and_pinging_stay_within_the_allowance(patient_clock: MockClock) -> None:
    """A WINDOW_UPDATE for each DATA frame of a long answer, and a ping each second."""
    async with serving({"big": "#" * 1_000_000}, keep_alive=7200) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start(INITIAL_WINDOW_SIZE=2**24)
        await client.send(WindowUpdateFrame(0, window_increment=2**24).serialize())
        for stream in (1, 3):
            await client.send(browser.request(stream, pseudo={"path": b"/api/users/big"}))
            frame: Frame | None = None
            while frame is None or "END_STREAM" not in frame.flags:
                frame = await browser.wait_for(DataFrame, stream)
                await client.send(IDLE_FRAMES["WINDOW_UPDATE of the connection"] * 2)
        for _ in range(20):
            await trio.sleep(60)
            await client.send(IDLE_FRAMES["PING"] * 60)
            await browser.wait_for(PingFrame, 0)
        assert site.observer.metrics.refusals == {}


async def test_a_request_that_is_cancelled_at_once_is_not_begun() -> None:
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        await client.send(b"".join(cancelled(browser, stream) for stream in range(1, 1001, 2)))
        await browser.client.rest()
        # The end of a portion that the server was given may separate a few from what takes them back.
        assert site.observer.metrics.queries.total() < 20


async def test_a_client_that_cancels_all_its_requests_is_disconnected() -> None:
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        await client.send(b"".join(cancelled(browser, stream) for stream in range(1, 203, 2)))
        await assert_disconnected(browser, site, "flood")


async def test_a_hundred_cancelled_requests_are_allowed() -> None:
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        await client.send(b"".join(cancelled(browser, stream) for stream in range(1, 200, 2)))
        await client.send(browser.request(201))
        assert (await browser.answer(201))[0] == 200
        await assert_unharmed(site)


async def test_requests_that_were_begun_before_they_were_cancelled_count_too() -> None:
    backend = FakeBackend(USERS)
    async with serving(backend) as site, await site.connect() as client:
        backend.hold()
        browser = Http2Client(client)
        await browser.start()
        for stream in range(1, 203, 2):
            await client.send(browser.request(stream) + PingFrame(0, opaque_data=b"%08d" % stream).serialize())
            await browser.wait_for(PingFrame, 0)
            await client.send(RstStreamFrame(stream, error_code=ErrorCodes.CANCEL).serialize())
        backend.release()
        await assert_disconnected(browser, site, "flood")


async def test_an_answer_pays_for_a_cancelled_request() -> None:
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        for stream in range(1, 600, 4):  # half as many again as could be taken back without
            # An answer without a body needs no window.
            await client.send(cancelled(browser, stream) + browser.request(stream + 2, pseudo={"method": b"HEAD"}))
            assert (await browser.answer(stream + 2))[0] == 200
        await assert_unharmed(site)


async def test_an_answer_that_was_never_read_pays_for_nothing() -> None:
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start(INITIAL_WINDOW_SIZE=0)
        for stream in range(1, 203, 2):
            await client.send(browser.request(stream))
            await browser.wait_for(HeadersFrame, stream)
            await client.send(RstStreamFrame(stream, error_code=ErrorCodes.CANCEL).serialize())
        await assert_disconnected(browser, site, "flood")


async def test_a_client_all_of_whose_requests_are_reset_is_disconnected() -> None:
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        for first in range(1, 201, 20):  # not all at once, which is another mistake
            await client.send(b"".join(browser.request(first + n, pseudo={"path": b"*"}) for n in range(0, 20, 2)))
            await browser.wait_for(RstStreamFrame, first + 18)
        await client.send(browser.request(201, pseudo={"path": b"*"}))
        await assert_disconnected(browser, site, "flood")


async def test_a_fifth_request_at_once_is_refused_unseen_and_may_be_repeated() -> None:
    backend = FakeBackend(USERS)
    async with serving(backend) as site, await site.connect() as client:
        backend.hold()
        browser = Http2Client(client)
        await browser.start()
        await client.send(b"".join(browser.request(stream) for stream in range(1, 13, 2)))
        for stream in (9, 11):
            frame = await browser.wait_for(RstStreamFrame, stream)
            assert frame.error_code == ErrorCodes.REFUSED_STREAM
        backend.release()
        later: list[int] = [13, 15, 17, 19]
        ended: set[int] = set()
        while len(ended) < 8:
            if "END_STREAM" in (frame := await browser.next()).flags:
                ended.add(frame.stream_id)
                if later:  # at once: an answer that is there whole does not count
                    await client.send(browser.request(later.pop(0)))
        assert not [frame for frame in browser.frames if isinstance(frame, RstStreamFrame) and frame.stream_id > 11]
        announced = [frame.settings.get(SettingsFrame.MAX_CONCURRENT_STREAMS) for frame in settings(browser)]
        assert announced == [4]


def settings(browser: Http2Client) -> list[SettingsFrame]:
    return [frame for frame in browser.frames if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags]


async def test_the_application_produces_no_more_than_the_client_reads() -> None:
    sent = 0
    stuck = trio.Event()

    async def pour(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        nonlocal sent
        if scope["type"] != "http":
            await send({"type": "lifespan.startup.complete"})
            await trio.sleep_forever()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        stuck.set()
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
            sent += 1000

    observer = Observer()
    listeners = bind(parse_address("127.0.0.1:0"))
    door = HttpFrontend(
        lambda: pour, door="http", observer=observer, listeners=listeners, caps=ConnectionCaps(total=9, per_address=9)
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve, trio.Event())
        async with Client(await trio.open_tcp_stream(*listeners[0].getsockname())) as client:
            browser = Http2Client(client)
            await browser.start(INITIAL_WINDOW_SIZE=5000)
            await client.send(browser.request(1))
            await stuck.wait()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert 5000 <= sent <= 7000
            await client.send(WindowUpdateFrame(1, window_increment=5000).serialize())
            while len(browser.bodies.get(1, b"")) < 10_000:
                await browser.next()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert 10_000 <= sent <= 12_000
        nursery.cancel_scope.cancel()
    close_all(listeners)


@pytest.mark.parametrize("increment", [0, 1])
async def test_a_client_that_opens_next_to_no_window_is_disconnected(increment: int, patient_clock: MockClock) -> None:
    async with serving(backend_deadline=60) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start(INITIAL_WINDOW_SIZE=0)
        await client.send(browser.request(1) + browser.request(3))
        async with trio.open_nursery() as nursery:

            async def open_it() -> None:
                while increment:
                    await trio.sleep(4)
                    await client.send(WindowUpdateFrame(1, window_increment=increment).serialize())

            nursery.start_soon(open_it)
            begun = trio.current_time()
            await assert_disconnected(browser, site, "slow_reader")
            assert trio.current_time() - begun == pytest.approx(30, abs=0.1)
            nursery.cancel_scope.cancel()


async def test_a_client_that_cancels_what_it_has_no_room_for_is_not_a_slow_reader(patient_clock: MockClock) -> None:
    async with serving(keep_alive=40) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start(INITIAL_WINDOW_SIZE=10)
        await client.send(browser.request(1))
        await browser.wait_for(DataFrame, 1)
        await client.send(RstStreamFrame(1, error_code=ErrorCodes.CANCEL).serialize())
        frame = await browser.wait_for(GoAwayFrame, 0)
        assert frame.error_code == 0
        assert trio.current_time() == pytest.approx(40, abs=0.1)


async def test_a_client_that_has_read_everything_may_wait_silently_for_its_next_answer(
    patient_clock: MockClock,
) -> None:
    backend = FakeBackend(USERS)
    async with serving(backend, backend_deadline=25) as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start(INITIAL_WINDOW_SIZE=10)
        await client.send(browser.request(1))
        await browser.wait_for(DataFrame, 1)
        await trio.sleep(20)
        await client.send(WindowUpdateFrame(1, window_increment=50_000).serialize())
        await browser.wait_for(DataFrame, 1, "END_STREAM")
        backend.hold()
        await client.send(WindowUpdateFrame(0, window_increment=50_000).serialize())
        await client.send(browser.request(3, pseudo={"path": b"/shawn"}))
        assert await waiting(browser, 20)
        backend.release()
        await client.send(WindowUpdateFrame(3, window_increment=50_000).serialize())
        assert (await browser.answer(3))[0] == 200
        await assert_unharmed(site)


async def waiting(browser: Http2Client, seconds: float) -> bool:
    """Whether nothing but greetings comes for so long."""
    with trio.move_on_after(seconds) as nothing:
        while not isinstance(await browser.next(), GoAwayFrame):
            pass
    return nothing.cancelled_caught
