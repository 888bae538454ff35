"""The live feed over real sockets: which client receives what, and how a client resumes after a break.

Tests with `watch` are about both kinds of connection, a WebSocket and an event stream.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from fingertrio.backend import BackendError, Change
from fingertrio.backends.memory import MemoryBackend
from fingertrio.frontends.web.frontend import WebFrontend
from fingertrio.frontends.web.live_hub import LiveHub
from fingertrio.frontends.web.live_log import LOG_LIMIT
from fingertrio.frontends.web.live_watcher import LivePolicy
from fingertrio.net.limits import ConnectionCaps
from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService, staleness
from fingertrio.testing import FakeBackend, FakeReader
from tests.frontends.web.kit import USERS, Client, Http2Client, Site, serving
from tests.frontends.web.watching import (
    AnyClient,
    WebSocketClient,
    frame,
    handshake,
    listening,
    opened,
    watching,
)
from tests.helpers import Ageing, loopback_listener, open_descriptors


@pytest.fixture(params=[watching, listening], ids=["websocket", "events"])
def watch(request: pytest.FixtureRequest) -> Any:
    """Opens a client of the feed."""
    return request.param


async def snapshot(other: AnyClient) -> dict[str, Any]:
    """What a snapshot that comes now says, by user; the id of its end under ""."""
    assert await other.message() == {"type": "snapshot"}
    statuses: dict[str, Any] = {}
    while (message := await other.message())["type"] == "user":
        statuses[message["user"]] = message.get("status", "unavailable" if message.get("unavailable") else None)
    assert message["type"] == "end"
    return {**statuses, "": message["id"]}


async def next_change(other: AnyClient) -> tuple[str, str, str | None]:
    """The next change: its id, user and status."""
    message = await other.message()
    assert message["type"] == "change", message
    assert ("status" in message) != ("removed" in message)
    return message["id"], message["user"], message.get("status")


async def test_changes_are_told_from_now_on(watch: Any):
    backend = MemoryBackend(USERS)
    async with serving(backend) as site, watch(site) as other:
        hello = await other.message()
        epoch = hello["epoch"]
        assert hello == {
            "type": "hello",
            "protocol": 1,
            "epoch": epoch,
            "id": f"{epoch}:0",
            "resumed": False,
            "complete": True,
            "alive": 15.0,
            "stale_since": None,
        }
        info = await backend.set_user("moshez", 'In the\n"garden"')
        assert info.since is not None
        assert await other.message() == {
            "type": "change",
            "id": f"{epoch}:1",
            "user": "moshez",
            "status": 'In the\n"garden"',
            "emoji": None,
            "line": "In the",
            "name": None,
            "since": info.since.isoformat().replace("+00:00", "Z"),
            "until": None,
            "details": {},
        }
        await backend.set_user("張三", "眠い")
        assert await next_change(other) == (f"{epoch}:2", "張三", "眠い")


async def test_a_snapshot_comes_first_if_it_is_asked_for(watch: Any):
    backend = MemoryBackend(USERS)
    async with serving(backend) as site, watch(site, "?snapshot=1") as other:
        hello = await other.message()
        assert (hello["id"], hello["resumed"]) == (None, False)
        assert await snapshot(other) == {**USERS, "": f"{hello['epoch']}:0"}
        await backend.set_user("ada", "Weaving")
        assert await next_change(other) == (f"{hello['epoch']}:1", "ada", "Weaving")


async def test_those_who_are_named_are_told_of_and_nobody_else(watch: Any):
    backend = MemoryBackend(USERS)
    async with serving(backend) as site, watch(site, "?snapshot=1&user=ada&user=shawn&user=ada") as other:
        epoch = (await other.message())["epoch"]
        assert await snapshot(other) == {"shawn": USERS["shawn"], "": f"{epoch}:0"}
        await backend.set_user("moshez", "In the garden")
        await backend.set_user("ada", "Weaving")
        assert await next_change(other) == (f"{epoch}:2", "ada", "Weaving")


async def test_a_user_may_be_named_in_nfd(watch: Any):
    backend = MemoryBackend({"zo\u00eb": "Here"})
    async with serving(backend) as site, watch(site, "?snapshot=1&user=zoe%CC%88") as other:
        epoch = (await other.message())["epoch"]
        assert await snapshot(other) == {"zo\u00eb": "Here", "": f"{epoch}:0"}
        await backend.set_user("zo\u00eb", "Away")
        assert await next_change(other) == (f"{epoch}:1", "zo\u00eb", "Away")


async def test_an_expired_status_is_told_as_what_comes_after_it(watch: Any):
    backend = MemoryBackend(USERS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.run)
        async with serving(backend) as site, watch(site) as other:
            await other.message()
            until = datetime.now(UTC) + timedelta(milliseconds=50)
            await backend.set_user("moshez", "Back soon", until=until)
            await backend.set_user("ada", "Just looking", until=until)
            changes = [(await next_change(other))[1:] for _ in range(4)]
            assert sorted(changes[:2]) == [("ada", "Just looking"), ("moshez", "Back soon")]
            assert set(changes[2:]) == {("ada", None), ("moshez", USERS["moshez"])}
        nursery.cancel_scope.cancel()


async def test_who_comes_back_is_told_what_was_missed_each_user_once(watch: Any):
    backend = MemoryBackend(USERS)
    async with serving(backend) as site:
        async with watch(site) as other:
            await other.message()
            await backend.set_user("moshez", "one")
            at, *_ = await next_change(other)
        for status in ("two", "three"):
            await backend.set_user("moshez", status)
            await backend.set_user("ada", status)
        async with watch(site, f"?since={at}") as other:
            hello = await other.message()
            assert (hello["id"], hello["resumed"]) == (at, True)
            changes = [await next_change(other) for _ in range(2)]
            assert sorted((user, status) for _, user, status in changes) == [("ada", "three"), ("moshez", "three")]
            await backend.set_user("shawn", "four")
            at, *rest = await next_change(other)
            assert rest == ["shawn", "four"]
        async with watch(site, f"?since={at}&snapshot=1") as other:
            assert (await other.message())["resumed"] is True
            await backend.set_user("shawn", "five")
            assert (await next_change(other))[1:] == ("shawn", "five")


async def test_who_was_away_for_too_long_gets_a_snapshot():
    backend = MemoryBackend(USERS)
    async with serving(backend) as site:
        async with watching(site) as other:
            at = (await other.message())["id"]
        for number in range(LOG_LIMIT + 1):
            await backend.set_user(f"user{number}", "x")
        async with watching(site, f"?since={at}&user=moshez") as other:
            hello = await other.message()
            assert (hello["id"], hello["resumed"]) == (None, False)
            assert await snapshot(other) == {"moshez": USERS["moshez"], "": f"{hello['epoch']}:{LOG_LIMIT + 1}"}


@pytest.mark.parametrize("since", ["0123456789ab:0", "", "x", "{epoch}:999", "{epoch}:-1", "%00", "%ff", "x" * 5000])
async def test_an_id_that_means_nothing_here_leads_to_a_snapshot(watch: Any, since: str):
    async with serving() as site:
        async with watch(site) as other:
            epoch = (await other.message())["epoch"]
        async with watch(site, "?since=" + since.format(epoch=epoch)) as other:
            assert (await other.message())["resumed"] is False
            assert await snapshot(other) == {**USERS, "": f"{epoch}:0"}


async def test_each_run_of_a_door_has_ids_of_its_own():
    """Between two runs no hub listened, so an id of the first run cannot show what was missed."""
    epochs = set()
    with loopback_listener() as listener:
        async with FingerService.open(MemoryBackend(USERS)) as service:
            caps = ConnectionCaps(total=9, per_address=9)
            door = WebFrontend(service=service, observer=Observer(), listeners=[listener], caps=caps)
            for _ in range(2):
                stopping = trio.Event()
                async with trio.open_nursery() as nursery:
                    await nursery.start(door.serve, stopping)
                    async with Client(await trio.open_tcp_stream(*listener.getsockname())) as client:
                        epochs.add((await (await opened(client)).message())["epoch"])
                    stopping.set()
    assert len(epochs) == 2


@pytest.mark.parametrize("query", ["", "?user=moshez&user=shawn"])
async def test_when_anything_may_have_changed_a_snapshot_follows(watch: Any, query: str):
    backend = MemoryBackend(USERS)
    async with serving(backend) as site, watch(site, query) as other:
        await other.message()
        del backend._lasting["shawn"]
        backend._hub.emit(Change(None))
        statuses = await snapshot(other)
        assert {user for user in statuses if user} == {"moshez"}
        await backend.set_user("shawn", "Here again")
        assert (await next_change(other))[1:] == ("shawn", "Here again")


async def test_who_is_told_nothing_is_told_that_the_server_is_alive_and_where_it_is(
    watch: Any, patient_clock: MockClock
):
    backend = MemoryBackend(USERS)
    async with serving(backend) as site, watch(site, "?user=ada") as other:
        epoch = (await other.message())["epoch"]
        await backend.set_user("moshez", "In the garden")
        for number in range(1, 5):
            assert await other.message() == {"type": "alive", "id": f"{epoch}:1", "stale_since": None}
            assert trio.current_time() == pytest.approx(15 * number)
        assert other.pings == (3 if watch is watching else 4)  # a ping, which comes behind the message; a comment


async def test_who_watches_is_told_when_answers_begin_to_be_out_of_date_and_when_that_is_over(
    watch: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(staleness, "_INTERVAL", 0.01)
    backend = Ageing(USERS)
    async with serving(backend) as site, watch(site) as early:
        at = (await early.message())["id"]
        backend.age = datetime(2026, 1, 1, 12, tzinfo=UTC)
        stale = {"type": "alive", "id": at, "stale_since": "2026-01-01T12:00:00Z"}
        assert await early.message() == stale
        async with watch(site) as late:
            assert (await late.message())["stale_since"] == "2026-01-01T12:00:00Z"
            backend.age = None
            for other in (early, late):
                assert await other.message() == stale | {"stale_since": None}


async def test_one_call_to_the_backend_serves_all_watchers(watch: Any):
    backend = FakeBackend(USERS)
    async with serving(backend) as site, AsyncExitStack() as stack:
        others = [await stack.enter_async_context(watch(site, "?snapshot=1")) for _ in range(20)]
        for other in others:
            await other.message()
            await snapshot(other)
        assert backend.calls == {"get_users": 1, "get_user": 2}
        await backend.set_user("moshez", "In the garden")
        changes = {await next_change(other) for other in others}
        assert len(changes) == 1
        assert backend.calls["get_user"] == 3


async def test_a_snapshot_waits_for_a_backend_that_fails(watch: Any, patient_clock: MockClock):
    backend = FakeBackend(USERS)
    backend.failure = BackendError()
    async with serving(backend) as site, watch(site, "?snapshot=1") as other:
        await other.message()
        assert await other.message() == {"type": "alive", "id": None, "stale_since": None}
        backend.failure = None
        assert set(await snapshot(other)) == {*USERS, ""}


async def test_who_cannot_be_read_is_there_all_the_same_and_told_of_later(watch: Any, patient_clock: MockClock):
    class Broken(FakeBackend):
        works = False

        async def get_user(self, user: str) -> Any:
            if user == "shawn" and not self.works:
                raise BackendError
            return await super().get_user(user)

    backend = Broken(USERS)
    async with serving(backend) as site, watch(site, "?snapshot=1") as other:
        await other.message()
        statuses = await snapshot(other)
        assert (statuses["moshez"], statuses["shawn"]) == (USERS["moshez"], "unavailable")
        backend.works = True
        assert (await next_change(other))[1:] == ("shawn", USERS["shawn"])


@asynccontextmanager
async def slow_reader(watch: Any = watching) -> AsyncIterator[tuple[Site, MemoryBackend, Any]]:
    """A client that does not read while all statuses, which are long, change again and again."""
    backend = MemoryBackend({f"user{number}": "" for number in range(50)})
    async with serving(backend) as site, watch(site, buffer=200_000) as other:
        await other.message()
        for status in range(10):
            for user in list(backend._lasting):
                await backend.set_user(user, f"{status}" + "x" * 15_000)
        yield site, backend, other


async def test_a_slow_reader_is_told_the_latest_of_each_user_and_not_all_there_was(watch: Any):
    async with slow_reader(watch) as (_site, backend, other):
        await backend.set_user("last", "x")
        changes: list[tuple[str, str | None]] = []
        with trio.fail_after(10):
            while dict(changes) != {user: info.status for user, info in backend._lasting.items()}:
                changes.append((await next_change(other))[1:])
        assert len(changes) < 450


async def test_who_does_not_read_for_too_long_is_dropped_with_a_word(patient_clock: MockClock):
    async with slow_reader() as (site, _backend, other):
        await trio.sleep(30.5)
        assert await other.closed() == 1013
        await other.stream.aclose()
        await site.empty()
        assert site.observer.metrics.refusals["watch", "slow_reader"] == 1
        assert site.observer.metrics.connections == {"http": 0, "watch": 0}


async def test_who_never_reads_again_is_dropped_without(watch: Any, patient_clock: MockClock):
    async with slow_reader(watch) as (site, _backend, _other):
        await site.empty(60)
        assert trio.current_time() < 40
        assert site.observer.metrics.refusals["watch", "slow_reader"] == 1


async def test_a_stop_is_told_at_once_and_waits_for_nobody(watch: Any):
    async with serving() as site, watch(site) as other, watch(site, "?snapshot=1") as second:
        assert (await other.message())["type"] == "hello"
        site.stopping.set()
        for each in (other, second):
            assert await each.closed() == (1001 if watch is watching else None)
        for each in (other, second):
            await each.stream.aclose()
        with trio.fail_after(2):
            await site.returned.wait()
        assert site.observer.metrics.connections == {"http": 0, "watch": 0}


async def test_who_does_not_read_does_not_hold_up_a_stop(watch: Any, patient_clock: MockClock):
    async with slow_reader(watch) as (site, _backend, _other):
        begun = trio.current_time()
        site.stopping.set()
        await site.returned.wait()
        assert trio.current_time() - begun < 1.1


async def test_a_door_that_is_cancelled_says_that_it_failed_and_ends_promptly(patient_clock: MockClock):
    async with slow_reader() as (site, _backend, _stuck), watching(site) as other:
        assert (await other.message())["type"] == "hello"
        begun = trio.current_time()
        site.scope.cancel()
        with trio.CancelScope(shield=True):
            assert await other.closed() == 1011
            await site.empty(2)
        assert trio.current_time() - begun < 1.1


async def test_a_failure_of_ours_is_told_as_one_and_logged(monkeypatch: pytest.MonkeyPatch):
    async def fail(_hub: LiveHub, _users: Sequence[str]) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(LiveHub, "render", fail)
    async with serving() as site, watching(site, "?snapshot=1") as other:
        assert await other.closed() == 1011
        await other.stream.aclose()
        await site.empty()
        assert "watch_failed" in site.log.getvalue()
        assert "ZeroDivisionError" in site.log.getvalue()


@pytest.mark.parametrize(
    ("data", "code"), [(frame(b"hi") * 60, 1008), (frame(b"x" * 2000), 1009), (b"GET / HTTP", 1002)]
)
async def test_a_client_that_talks_is_shown_out(data: bytes, code: int):
    async with serving() as site, watching(site) as other:
        await other.stream.send_all(data)
        assert await other.closed() == code
        await other.stream.aclose()
        await site.empty()
        refused = {1008: {("watch", "flood"): 1}, 1009: {("watch", "body"): 1}, 1002: {}}
        assert site.observer.metrics.refusals == refused[code]


async def test_the_last_word_reaches_even_who_goes_on_talking():
    """Input that the server did not read must not turn its close into a reset, which would destroy the close frame."""
    async with serving() as site, watching(site) as other:
        for _ in range(20):
            await other.stream.send_all(frame(b"x" * 2000) * 10)
        assert await other.closed() == 1009


async def test_what_is_sent_with_the_handshake_counts():
    async with serving() as site, await site.connect() as client:
        await client.send(handshake("/api/watch") + frame(b"bye", opcode=9) + frame(b"x" * 2000))
        await client.until(b"\r\n\r\n")
        assert await WebSocketClient(client.stream, client.received).closed() == 1009


async def test_watchers_are_counted_per_address_and_together():
    policy = LivePolicy(caps=ConnectionCaps(total=3, per_address=2))
    async with serving(live=policy) as site:
        async with watching(site), watching(site):
            async with watching(site) as third:
                assert await third.closed() == 1013
        while policy.caps._open:
            await trio.testing.wait_all_tasks_blocked(0.001)
        assert site.observer.metrics.refusals == {("watch", "connections_per_address"): 1}
        async with watching(site) as again:
            assert (await again.message())["type"] == "hello"


ORIGINS = {
    "none": ({}, 101),
    "ours": ({"Origin": "http://test"}, 101),
    "ours, behind TLS": ({"Origin": "https://TEST:443"}, 101),
    "listed": ({"Origin": "https://friend.example"}, 101),
    "another": ({"Origin": "https://evil.example"}, 403),
    "ours with another port": ({"Origin": "http://test:8001"}, 403),
    "ours at the end": ({"Origin": "http://eviltest"}, 403),
    "listed at the beginning": ({"Origin": "https://friend.example.evil.example"}, 403),
    "of a file or a sandbox": ({"Origin": "null"}, 403),
    "nothing": ({"Origin": ""}, 403),
    "no origin": ({"Origin": "http://["}, 403),
}


@pytest.mark.parametrize(("headers", "status"), ORIGINS.values(), ids=ORIGINS)
async def test_pages_of_other_sites_may_not_watch_unless_they_are_listed(headers: dict[str, str], status: int):
    async with serving(live=LivePolicy(origins=("https://friend.example",))) as site, await site.connect() as client:
        await client.send(handshake("/api/watch", **headers))
        assert (await client.until(b"\r\n")).split()[1] == str(status).encode()


async def test_all_may_be_allowed():
    async with serving(live=LivePolicy(origins=("*",))) as site, watching(site, Origin="null") as other:
        assert (await other.message())["type"] == "hello"


async def test_compression_is_not_agreed_to():
    async with serving() as site:
        async with watching(site, Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits") as other:
            assert (await other.message())["type"] == "hello"


PATH = "/api/watch"
REFUSED = {
    "no upgrade": (b"GET /api/watch HTTP/1.1\r\nHost: test\r\n\r\n", 426),
    "HEAD": (handshake(PATH).replace(b"GET", b"HEAD"), 426),
    "another upgrade": (handshake(PATH).replace(b"Upgrade: websocket", b"Upgrade: h2c"), 426),
    "no wish in Connection": (handshake(PATH).replace(b"Connection: Upgrade", b"Connection: keep-alive"), 426),
    "HTTP/1.0": (handshake(PATH).replace(b"HTTP/1.1", b"HTTP/1.0"), 426),
    "version 8": (handshake(PATH).replace(b"Version: 13", b"Version: 8"), 426),
    "no key": (handshake(PATH).replace(b"WebSocket-Key", b"WebSocket-Kay"), 400),
    "short key": (handshake(PATH).replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZQ=="), 400),
    "a body": (handshake(PATH, Content_Length="5") + b"hello", 400),
    "POST": (handshake(PATH).replace(b"GET", b"POST"), 405),
    "no name": (handshake(PATH + "?user=-l"), 400),
    "an empty name": (handshake(PATH + "?user="), 400),
    "too many names": (handshake(PATH + "?" + "&".join(f"user=u{n}" for n in range(101))), 400),
    "half a snapshot": (handshake(PATH + "?snapshot=2"), 400),
    "another path": (handshake("/api/users"), 200),
    "below it": (handshake("/api/watch/"), 404),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
async def test_what_is_no_proper_wish_to_watch_is_answered_like_any_request(data: bytes, status: int):
    async with serving() as site, await site.connect() as client:
        await client.send(data)
        head = await client.until(b"\r\n\r\n")
        assert head.split()[1] == str(status).encode()
        assert (b"\r\nupgrade: websocket\r\n" in head.lower()) == (status == 426)


async def test_names_in_either_spelling_of_the_headers_are_understood():
    async with serving() as site, await site.connect() as client:
        data = handshake("/api/watch").replace(b"Connection: Upgrade", b"connection: keep-alive, UPGRADE")
        await client.send(data.replace(b"Upgrade: websocket", b"upgrade: WebSocket"))
        assert (await client.until(b"\r\n")).split()[1] == b"101"


async def test_over_http_2_it_is_refused():
    async with serving() as site, await site.connect() as client:
        browser = Http2Client(client)
        await browser.start()
        await client.send(browser.request(1, pseudo={"path": b"/api/watch"}))
        assert (await browser.answer(1))[0] == 426


async def test_where_no_list_is_kept_those_who_are_watched_must_be_named(watch: Any):
    backend = FakeReader(USERS)
    async with serving(backend) as site:
        for path in ("/api/watch", "/api/events"):
            async with await site.connect() as client:
                await client.send(handshake(path))
                assert (await client.until(b"\r\n")).split()[1] == b"404"
                assert f"{path}?user=NAME".encode() in await client.response()
        async with watch(site, "?snapshot=1&user=moshez&user=nobody") as other:
            assert (await other.message())["complete"] is False
            assert set(await snapshot(other)) == {"moshez", ""}


async def test_watching_is_a_line_in_the_log():
    async with serving() as site:
        async with watching(site, "?user=ada") as other:
            assert (await other.message())["type"] == "hello"
            while '"GET /api/watch?user=ada", "outcome": "ok"' not in site.log.getvalue():
                await trio.testing.wait_all_tasks_blocked(0.001)


async def test_over_tls(tmp_path: Path):
    authority = trustme.CA()
    certfile = tmp_path / "localhost.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certfile)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    backend = MemoryBackend(USERS)
    async with serving(backend, certfile=certfile) as site, await site.connect(trusting) as client:
        other = await opened(client, "?snapshot=1")
        await other.message()
        await snapshot(other)
        await backend.set_user("moshez", "x" * 16_000)
        assert (await next_change(other))[1:] == ("moshez", "x" * 16_000)
        site.stopping.set()
        assert await other.closed() == 1001


async def test_watchers_that_come_and_go_leave_nothing():
    backend = MemoryBackend(USERS)
    async with serving(backend) as site:
        async with watching(site) as other:
            await other.message()
        await site.empty()
        before = open_descriptors()
        for ending in ("reset", "close", "frame"):
            for _ in range(10):
                async with watching(site, "?snapshot=1") as other:
                    await other.messages(3)
                    if ending == "frame":
                        await other.stream.send_all(frame(b"\x03\xe8", opcode=8))
                        assert await other.closed() == 1000
                    elif ending == "reset":
                        assert isinstance(other.stream, trio.SocketStream)
                        other.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await site.empty()
        assert site.observer.metrics.connections == {"http": 0, "watch": 0}
        assert not site.observer.metrics.events["error"]
        with trio.fail_after(3):
            while open_descriptors() > before:  # sockets that linger; only the kernel knows until when
                await trio.testing.wait_all_tasks_blocked(0.01)


_users = st.sampled_from(["ada", "grace", "linus", "moshez"])
_steps = st.lists(
    st.tuples(st.just("set"), _users) | st.tuples(st.sampled_from(["break", "anything", "read"]), st.just("")),
    max_size=15,
)


class Memory:
    """What a client knows from its messages, and the id from which it would resume."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.at: str | None = None

    @property
    def query(self) -> str:
        return "?snapshot=1" if self.at is None else f"?since={self.at}"

    async def read(self, other: AnyClient) -> None:
        message = await other.message()
        self.at = message.get("id") or self.at
        if message["type"] == "snapshot":
            self.known, self.at = {}, None
        elif message["type"] in {"user", "change"}:
            self.known[message["user"]] = message["status"]


@settings(max_examples=40, deadline=None)
@given(steps=_steps, watch=st.sampled_from([watching, listening]))
def test_whenever_the_connection_breaks_nothing_is_missed(steps: list[tuple[str, str]], watch: Any):
    """A client that keeps what it received, and resumes with its last id, ends up with the current statuses."""
    backend, memory = MemoryBackend(USERS), Memory()

    async def play(other: AnyClient) -> None:
        while steps:
            step, user = steps.pop(0)
            if step == "break":
                return
            if step == "set":
                await backend.set_user(user, f"{len(steps)} to go")
            elif step == "anything":
                backend._hub.emit(Change(None))
            else:
                with trio.move_on_after(0.002):
                    await memory.read(other)

    async def main() -> None:
        async with serving(backend) as site:
            while steps:
                async with watch(site, memory.query) as other:
                    await play(other)
            async with watch(site, memory.query) as other:
                with trio.fail_after(5):
                    while memory.known != {user: info.status for user, info in backend._lasting.items()}:
                        await memory.read(other)

    trio.run(main)
