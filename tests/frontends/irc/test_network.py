"""Successive connections: pauses, log records, stopping and cancellation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fingertrio.frontends.irc import IRCFrontend
from fingertrio.observe.observer import Observer
from fingertrio.testing.fakes import FakeReader
from tests.frontends.irc.fakes import FakeNetwork, FakeServer, Log, Stuck

Make = Callable[..., IRCFrontend]


def pauses(network: FakeNetwork) -> list[float]:
    return [round(later - earlier, 6) for earlier, later in pairwise(network.attempts)]


async def test_pauses_grow_to_five_minutes(
    autojump_clock: MockClock, network: FakeNetwork, make: Make, nursery: trio.Nursery
) -> None:
    network.failure = ConnectionRefusedError("refused")
    nursery.start_soon(make().serve, trio.Event())
    await trio.sleep(3000)
    assert pauses(network)[:10] == [5, 10, 20, 40, 80, 160, 300, 300, 300, 300]


async def test_pauses_vary_by_a_quarter(
    autojump_clock: MockClock, network: FakeNetwork, make: Make, nursery: trio.Nursery
) -> None:
    asked = []

    def jitter(least: float, most: float) -> float:
        asked.append((least, most))
        return least

    network.failure = OSError("no route")
    nursery.start_soon(make(jitter=jitter).serve, trio.Event())
    await trio.sleep(300)
    assert asked[:4] == [(3.75, 6.25), (7.5, 12.5), (15, 25), (30, 50)]
    assert pauses(network)[:4] == [3.75, 7.5, 15, 30]


async def test_the_log_warns_once_then_logs_info(
    autojump_clock: MockClock, network: FakeNetwork, make: Make, nursery: trio.Nursery, log: Log
) -> None:
    network.failure = OSError("no route")
    nursery.start_soon(make().serve, trio.Event())
    await trio.sleep(40)
    network.failure = None
    server = await network.accept()
    await server.welcome()
    await server.settled()
    network.failure = OSError("no route")
    await server.stream.aclose()
    await trio.sleep(100)
    assert [(record["event"], record["level"]) for record in log.records()] == [
        ("irc_unreachable", "warning"),
        *[("irc_still_unreachable", "info")] * 3,
        ("irc_registered", "info"),
        ("irc_lost", "warning"),
        ("irc_still_unreachable", "info"),
    ]
    [first] = log.records("irc_unreachable")
    [lost] = log.records("irc_lost")
    assert first["reason"] == "no route"
    assert (first["server"], first["pause"], first["network"]) == ("irc.test:6667", 5, "test")
    assert lost["reason"] == "closed by the server"


async def test_a_session_that_lasted_makes_the_pauses_short_again(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event
) -> None:
    async def session(seconds: float) -> None:
        server = await network.accept()
        await server.welcome()
        for _ in range(int(seconds // 10)):
            await trio.sleep(10)
            await server.settled()
        ended.append(trio.current_time())
        await server.stream.aclose()

    ended: list[float] = []
    for seconds in (10, 10, 10, 300, 10):
        await session(seconds)
    await network.accept()
    # The pauses also grow if the server accepts and soon disconnects us.
    came_back = [later - earlier for earlier, later in zip(ended, network.attempts[1:], strict=True)]
    assert came_back == [5, 10, 20, 5, 10]


async def test_connecting_has_a_deadline(
    autojump_clock: MockClock, network: FakeNetwork, make: Make, nursery: trio.Nursery, log: Log
) -> None:
    network.hang = True
    nursery.start_soon(make().serve, trio.Event())
    await trio.sleep(60)
    assert network.attempts == [0, 35]
    assert log.records("irc_unreachable")[0]["reason"] == "connect timed out"


async def test_registration_has_a_deadline(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event, log: Log
) -> None:
    server = await network.accept()
    await server.introduced()
    for number in range(5):  # activity of the server does not extend the deadline
        await trio.sleep(10)
        await server.say(f"NOTICE * :still thinking {number}")
    assert await server.rest() == []
    assert trio.current_time() == 60
    await network.accept()
    assert log.records("irc_unreachable")[0]["reason"] == "registration timed out"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ERROR :Closing link: (restart\x1b)", "Closing link: (restart\\x1b)"),
        ("x" * 13000, "line too long"),
        ("\r\n".join([":s.x 433 * x :taken"] * 10), "no nickname was accepted"),
    ],
)
async def test_a_session_ends_for_a_reason(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event, log: Log, line: str, reason: str
) -> None:
    server = await network.accept()
    await server.introduced()
    await server.say(line)
    await server.rest()
    await network.accept()
    assert log.records("irc_unreachable")[0]["reason"] == reason


async def test_the_servers_reason_counts_even_if_it_cannot_be_answered(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event, log: Log
) -> None:
    server = await registered(network)
    await server.say("PING x", "ERROR :Closing link: (shutting down)")
    await server.stream.aclose()
    await network.accept()
    [record] = log.records("irc_lost")
    assert record["reason"] == "Closing link: (shutting down)"


async def test_all_nicks_in_use_ends_with_a_quit(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event
) -> None:
    server = await network.accept()
    await server.introduced()
    await server.say(*[":irc.test 433 * x :Nickname is already in use"] * 10)
    assert (await server.rest())[-1] == "QUIT :no nickname left to try"


async def test_a_server_that_closes_before_it_sends_anything_may_expect_tls(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event, log: Log
) -> None:
    server = await network.accept()
    assert await server.line() == "CAP LS 302"
    await server.stream.aclose()
    await network.accept()
    [record] = log.records("irc_unreachable")
    assert record["reason"] == "closed by the server before it sent anything; is this a TLS port?"


async def test_a_server_that_answers_with_an_alert_may_expect_tls(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event, log: Log
) -> None:
    server = await network.accept()
    assert await server.line() == "CAP LS 302"
    await server.stream.send_all(b"\x15\x03\x03\x00\x02\x01\x00")  # close notify, as ircd-hybrid sends it
    await server.stream.aclose()
    await network.accept()
    [record] = log.records("irc_unreachable")
    assert record["reason"] == "closed by the server before it sent anything; is this a TLS port?"


async def test_a_half_open_connection_times_out(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event, log: Log, observer: Observer
) -> None:
    server = await network.accept()
    await server.welcome()
    await network.accept()
    assert network.attempts == [0, 60 + 30 + 5]
    assert log.records("irc_lost")[0]["reason"] == "ping timed out"
    assert observer.metrics.connections["irc"] == 0, "the second connection is not registered yet"


async def test_without_the_server_the_program_is_degraded_but_ready(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event, observer: Observer
) -> None:
    assert observer.metrics.conditions["irc_connection:test"].reason == "not connected yet"
    assert observer.metrics.ready
    server = await registered(network)
    assert not observer.metrics.conditions
    await server.stream.aclose()
    server = await network.accept()
    assert observer.metrics.conditions["irc_connection:test"].reason == "closed by the server"
    assert observer.metrics.ready
    await server.welcome()
    await server.settled()
    assert not observer.metrics.conditions


async def test_stopping_sends_open_replies_and_quits(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event, stopping: trio.Event, backend: FakeReader
) -> None:
    server = await registered(network)
    backend.hold()
    await server.ask("moshez")
    await server.settled()
    stopping.set()
    await trio.sleep(1)
    await server.ask("plan")  # too late
    await server.settled()
    backend.release()
    assert await server.lines(2) == ["PRIVMSG alice :Status of moshez: Happy and well", "QUIT stopping"]
    assert not serving.is_set()
    await server.say("ERROR :Closing connection")
    await serving.wait()
    assert await server.rest() == []
    assert trio.current_time() == 31
    assert len(network.attempts) == 1


async def test_stopping_without_questions_takes_no_time(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event, stopping: trio.Event, log: Log
) -> None:
    server = await registered(network)
    stopping.set()
    assert await server.line() == "QUIT stopping"
    await server.stream.aclose()
    await serving.wait()
    assert trio.current_time() == 30
    assert log.records("irc_lost") == [], "to leave is not to lose"


async def test_stopping_has_deadlines(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event, stopping: trio.Event, backend: FakeReader
) -> None:
    """Three seconds for a backend that hangs, one for a server that does not close; less than the grace of five."""
    server = await registered(network)
    backend.hold()
    await server.ask("moshez")
    await server.settled()
    stopping.set()
    await serving.wait()
    assert trio.current_time() == 34
    assert await server.rest() == ["QUIT stopping"]


async def test_stopping_while_the_server_disconnects(
    autojump_clock: MockClock, network: FakeNetwork, serving: trio.Event, stopping: trio.Event, backend: FakeReader
) -> None:
    server = await registered(network)
    backend.hold()
    await server.ask("moshez")
    await server.settled()
    stopping.set()
    await trio.sleep(1)
    await server.stream.aclose()
    await serving.wait()
    assert trio.current_time() == 31


async def registered(network: FakeNetwork) -> FakeServer:
    server = await network.accept()
    await server.welcome()
    await server.settled()
    await trio.sleep(30)
    return server


Start = Callable[[], Awaitable[None]]


async def refused(start: Start, network: FakeNetwork, backend: FakeReader) -> None:
    network.failure = OSError("no")
    await start()
    await wait_all_tasks_blocked()
    assert network.attempts == [0]


async def connecting(start: Start, network: FakeNetwork, backend: FakeReader) -> None:
    network.hang = True
    await start()
    await wait_all_tasks_blocked()
    assert network.attempts == [0]


async def registering(start: Start, network: FakeNetwork, backend: FakeReader) -> None:
    await start()
    await (await network.accept()).introduced()


async def idle(start: Start, network: FakeNetwork, backend: FakeReader) -> None:
    await start()
    await registered(network)


async def pinging(start: Start, network: FakeNetwork, backend: FakeReader) -> None:
    await start()
    server = await registered(network)
    server.shows_pings = True
    assert await server.line() == "PING fingertrio"


async def asking(start: Start, network: FakeNetwork, backend: FakeReader) -> None:
    await start()
    server = await registered(network)
    backend.hold()
    await server.ask("moshez")
    await server.settled()
    assert backend.calls["get_user"] == 1


async def answering(start: Start, network: FakeNetwork, backend: FakeReader) -> None:
    """More lines wait than the flood rule allows."""
    await start()
    server = await registered(network)
    for number in range(8):
        await server.ask("moshez", nick=f"nick{number}")
    await server.lines(5)


async def sending(start: Start, network: FakeNetwork, backend: FakeReader) -> None:
    """The server does not read."""
    network.wrap = Stuck
    await start()
    await network.accept()
    await wait_all_tasks_blocked()


async def pausing(start: Start, network: FakeNetwork, backend: FakeReader) -> None:
    await start()
    await (await registered(network)).stream.aclose()
    await wait_all_tasks_blocked()


@pytest.mark.parametrize(
    "stage",
    [refused, connecting, registering, idle, pinging, asking, answering, sending, pausing],
    ids=lambda stage: stage.__name__,
)
@pytest.mark.parametrize(("how", "within"), [("cancelled", 0), ("stopped", 4)])
async def test_ends_at_every_stage(
    autojump_clock: MockClock,
    network: FakeNetwork,
    make: Make,
    observer: Observer,
    backend: FakeReader,
    stage: Callable[[Start, FakeNetwork, FakeReader], Awaitable[None]],
    how: str,
    within: float,
) -> None:
    """When cancelled it ends immediately, when stopped within the grace; its stream is closed in both cases."""
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:

        async def start() -> None:
            await nursery.start(make().serve, stopping)

        await stage(start, network, backend)
        began = trio.current_time()
        if how == "cancelled":
            nursery.cancel_scope.cancel()
        else:
            stopping.set()
    assert trio.current_time() - began <= within
    for stream in network.streams:
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
    assert observer.metrics.connections["irc"] == 0
