"""The mirror of a real fingertrio: in another process for the contract, in this one for every failure."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import TextMessage

from fingertrio.backend import Backend, BackendError, Change, EmitsChanges, ListsUsers, SetsStatus, UserInfo
from fingertrio.backends.memory import MemoryBackend
from fingertrio.backends.mirror import MirrorBackend, MirrorOptions, open_mirror
from fingertrio.backends.mirror import backend as mirror_backend
from fingertrio.clients.dial import RemoteError
from fingertrio.clients.setter import set_status
from fingertrio.config.errors import ConfigError
from fingertrio.config.plugins import find_backend
from fingertrio.service import FingerService, staleness
from fingertrio.testing import FakeReader, check_backend
from fingertrio.testing.program import Program, running
from fingertrio.wire import live
from tests.clients.test_live import scripted
from tests.frontends.web.kit import serving
from tests.helpers import Ageing, loopback_listener

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
USERS = {"moshez": "Happy and well", "shawn": "Grüße\nfrom the garden", "张三": "在"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect after breaks almost at once."""
    monkeypatch.setattr(mirror_backend, "_BACKOFF", (0.005, 0.05))


@pytest.fixture(scope="module")
def origin() -> Iterator[Program]:
    doors = {"setter": {"listen": ["127.0.0.1:0"]}, "http": {"listen": ["127.0.0.1:0"]}}
    with running({"backend": {"use": "memory", "users": USERS}, **doors}) as program:
        yield program


async def test_the_contract(origin: Program):
    async def alter(user: str, status: str) -> None:
        await set_status(user, status, host="127.0.0.1", port=origin.port("setter"))

    options = MirrorOptions(url=origin.addresses["http"])
    checked = await check_backend(lambda: open_mirror(options), known=USERS, alter=alter, seconds=20)
    assert {"the_list_is_of_the_users", "what_others_change_is_told", "nothing_is_left"} <= set(checked)
    assert {"recent_statuses_are_those_of_the_users", "recent_statuses_are_paged_exactly"} <= set(checked)


def test_its_capabilities():
    backend = MirrorBackend(MirrorOptions(url="http://127.0.0.1:1"))
    assert isinstance(backend, Backend)
    assert isinstance(backend, ListsUsers)
    assert isinstance(backend, EmitsChanges)
    assert not isinstance(backend, SetsStatus)


def test_it_is_found_by_its_name_and_checks_its_options():
    plugin = find_backend("mirror")
    assert plugin.check_options({"url": "https://example.org"}, "x.toml") == MirrorOptions(url="https://example.org")
    for url in ("example.org", "ftp://example.org", "https://a:b@example.org"):
        with pytest.raises(ConfigError, match=r"x\.toml: the mirror backend: \[backend\] url"):
            plugin.check_options({"url": url}, "x.toml")


@asynccontextmanager
async def mirroring(url: str, **options: float) -> AsyncIterator[MirrorBackend]:
    async with open_mirror(MirrorOptions.model_validate({"url": url, **options})) as backend:
        yield backend


async def everything(backend: Backend) -> dict[str, UserInfo | None]:
    assert isinstance(backend, ListsUsers)
    return {user: await backend.get_user(user) for user in await backend.get_users()}


async def until_same(one: Backend, other: Backend, seconds: float = 10) -> None:
    """Wait until `one` answers like `other`, looking again only after its changes, as the service does."""
    assert isinstance(one, EmitsChanges)
    async with one.changes() as feed:
        with trio.fail_after(seconds):
            while True:
                with suppress(BackendError):
                    if await everything(one) == await everything(other):
                        return
                await anext(feed)


class Line:
    """A relay for a mirror's connection, which can be cut at any byte, and restored."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.connections: set[trio.SocketStream] = set()
        self.made = 0
        self.allowed: Iterator[int] = iter(())
        self.up = True

    async def relay(self, near: trio.SocketStream) -> None:
        self.made += 1
        if not self.up:
            return
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async with await trio.open_tcp_stream("127.0.0.1", self.to) as far, trio.open_nursery() as nursery:
                self.connections |= {near, far}
                nursery.start_soon(self._copy, near, far, None)
                nursery.start_soon(self._copy, far, near, next(self.allowed, None))

    async def _copy(self, source: trio.SocketStream, sink: trio.SocketStream, allowed: int | None) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(65536 if allowed is None else max(1, min(allowed, 65536))):
                await sink.send_all(data)
                if allowed is not None:
                    allowed -= len(data)
                    if allowed <= 0:
                        break
        await trio.aclose_forcefully(source)
        await trio.aclose_forcefully(sink)

    async def cut(self) -> None:
        while self.connections:
            await trio.aclose_forcefully(self.connections.pop())


@asynccontextmanager
async def line(to: int) -> AsyncIterator[tuple[Line, str]]:
    relay = Line(to)
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), relay.relay, 0)
        yield relay, f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def mirrored(users: Mapping[str, str] = USERS) -> AsyncIterator[tuple[MemoryBackend, Line, MirrorBackend]]:
    """An origin, the line to it, and its mirror."""
    backend = MemoryBackend(users)
    async with serving(backend) as site, line(site.address[1]) as (relay, url), mirroring(url) as copy:
        yield backend, relay, copy


async def test_it_answers_as_its_origin_and_in_its_order():
    async with mirrored() as (backend, _line, copy):
        assert list(await copy.get_users()) == list(USERS)
        info = await backend.set_user("moshez", "眠い", until=datetime.now(UTC) + timedelta(hours=1))
        await backend.set_user("ada", "Weaving")
        await until_same(copy, backend)
        assert await copy.get_user("moshez") == info
        assert list(await copy.get_users()) == [*USERS, "ada"]
        assert await copy.get_user("nobody") is None


async def test_a_user_removed_at_the_origin_is_removed_here():
    async with mirrored() as (backend, _line, copy):
        del backend._lasting["shawn"]
        backend._hub.emit(Change("shawn"))
        await until_same(copy, backend)
        assert await copy.get_user("shawn") is None


async def test_after_a_break_it_resumes():
    async with mirrored() as (backend, relay, copy):
        kept = copy._copy
        relay.up = False
        await relay.cut()
        while not copy._lost_at:
            await wait_all_tasks_blocked(0.001)
        for number in range(50):
            await backend.set_user(f"user{number % 3}", f"{number}")
        assert await copy.get_user("user0") is None
        relay.up = True
        await until_same(copy, backend)
        assert copy._copy is kept, "it received a snapshot"


async def test_wherever_the_connection_is_cut_nothing_is_missed():
    """Forty connections, each cut at some byte, while statuses change; a service over the mirror sees the same."""
    rng = random.Random(7)
    async with mirrored() as (backend, relay, copy), FingerService.open(copy) as service:
        relay.allowed = iter([rng.randrange(3000) for _ in range(40)])
        await relay.cut()
        number = 0
        while relay.made < 41:
            number += 1
            user = rng.choice(["ada", "grace", *USERS])
            if rng.random() < 0.1 and user in backend._lasting:
                del backend._lasting[user]
                backend._hub.emit(Change(user))
            elif rng.random() < 0.05:
                backend._hub.emit(Change(None))
            else:
                await backend.set_user(user, f"Status {number}")
            with suppress(BackendError):
                await service.get_user(user)
            await trio.sleep(rng.random() * 0.004)
        await until_same(copy, backend)
        with trio.fail_after(5):
            while {user: await service.get_user(user) for user in await service.get_users()} != await everything(
                backend
            ):
                await wait_all_tasks_blocked(0.001)


async def test_an_origin_that_starts_anew_with_other_statuses():
    first = MemoryBackend({**USERS, "ada": "Weaving"})
    again = MemoryBackend({"张三": "在", "moshez": "In the garden"})
    async with line(1) as (relay, url), mirroring(url, wait=0) as copy:
        async with serving(first) as site:
            relay.to = site.address[1]
            await until_same(copy, first)
        async with copy.changes() as feed, serving(again) as site:
            relay.to = site.address[1]
            heard: set[str | None] = set()
            while heard < {"ada", "moshez", "shawn"}:
                heard.add((await anext(feed)).user)
            assert heard == {"ada", "moshez", "shawn"}, "an unchanged user has not changed"
            assert await everything(copy) == await everything(again)
            assert list(await copy.get_users()) == ["张三", "moshez"]


async def test_while_the_origin_is_unavailable_it_answers_as_before_and_logs_once(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "fingertrio")
    async with mirrored() as (_backend, relay, copy):
        for outage in range(1, 3):
            assert copy.stale_since() is None
            made = relay.made
            relay.up = False
            await relay.cut()
            while relay.made < made + 5:
                await wait_all_tasks_blocked(0.001)
            assert {user: info and info.status for user, info in (await everything(copy)).items()} == USERS
            messages = [record.getMessage() for record in caplog.records]
            assert sum("is unavailable, answers are as old as this" in message for message in messages) == outage
            since = copy.stale_since()
            assert since is not None
            assert timedelta() <= datetime.now(UTC) - since < timedelta(seconds=10)
            relay.up = True
            while copy._lost_at:
                await wait_all_tasks_blocked(0.001)
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2


async def test_it_is_as_stale_as_its_origin(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(staleness, "_INTERVAL", 0.05)
    origin = Ageing(USERS)
    origin.age = NOON
    async with serving(origin) as site, mirroring(site.url) as copy:
        while copy.stale_since() is None:
            await wait_all_tasks_blocked(0.001)
        assert copy.stale_since() == NOON
        assert await everything(copy) == await everything(origin)
        origin.age = None
        while copy.stale_since() is not None:
            await wait_all_tasks_blocked(0.001)


async def test_it_opens_without_its_origin_and_knows_no_users_until_it_is_there(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
):
    with loopback_listener() as listener:
        port = listener.getsockname()[1]
    async with line(port) as (relay, url), mirroring(url, wait=3) as copy:
        assert trio.current_time() == pytest.approx(3)
        for question in (copy.get_users(), copy.get_user("moshez")):
            with pytest.raises(BackendError) as error:
                await question
            assert isinstance(error.value.__cause__, RemoteError)
        assert copy.stale_since() is None, "nothing is answered, so no answer is stale"
        assert [record.getMessage().count("no user is known yet") for record in caplog.records] == [1]
        backend = MemoryBackend(USERS)
        async with copy.changes() as feed, serving(backend) as site:
            relay.to = site.address[1]
            assert await anext(feed) == Change(None)
            assert await everything(copy) == await everything(backend)


async def test_a_status_whose_time_is_over_is_not_answered():
    """While connected, a request waits for what follows it; without the origin, that cannot be known."""
    async with mirrored() as (backend, relay, copy):
        until = datetime.now(UTC) + timedelta(seconds=0.2)
        async with copy.changes() as feed:
            await backend.set_user("moshez", "Back soon", until=until)
            await anext(feed)

        async def tell_the_end() -> None:
            while datetime.now(UTC) <= until:
                await wait_all_tasks_blocked(0.01)
            backend._hub.emit(Change("moshez"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_the_end)
            while (await copy.get_user("moshez") or UserInfo("", "")).status == "Back soon":
                await wait_all_tasks_blocked(0.01)
        assert (await copy.get_user("moshez") or UserInfo("", "")).status == USERS["moshez"]
        async with copy.changes() as feed:
            until = datetime.now(UTC) + timedelta(seconds=0.2)
            await backend.set_user("moshez", "Back soon", until=until)
            await anext(feed)
        relay.up = False
        await relay.cut()
        while datetime.now(UTC) <= until or not copy._lost_at:
            await wait_all_tasks_blocked(0.01)
        with trio.fail_after(1), pytest.raises(BackendError):
            await copy.get_user("moshez")


async def test_a_new_order_of_the_users_is_a_change():
    async with mirrored() as (backend, _line, copy), copy.changes() as feed:
        backend._lasting = dict(reversed(backend._lasting.items()))
        backend._hub.emit(Change(None))
        assert await anext(feed) == Change(None)
        assert list(await copy.get_users()) == list(reversed(USERS))


HELLO = live.render_hello(epoch="e", at=None, resumed=False, complete=True, alive=15)
RESUMED = live.render_hello(epoch="e", at="e:1", resumed=True, complete=True, alive=15)
INCOMPLETE = live.render_hello(epoch="e", at=None, resumed=False, complete=False, alive=15)
ADA = live.render_user({"user": "ada", "status": "Weaving"})
LONG = live.render_user({"user": "ada", "status": "x" * 100_000})
END = live.render_end("e:1")
HOSTILE = {
    "a change without a snapshot": ([HELLO, live.change("e:1", ADA)], "before a snapshot"),
    "resuming what was not": ([RESUMED, live.change("e:2", ADA)], "before a snapshot"),
    "a change within a snapshot": ([HELLO, live.SNAPSHOT, live.change("e:1", ADA)], "within a snapshot"),
    "a user without a snapshot": ([HELLO, live.present(ADA)], "before a snapshot"),
    "a user after a snapshot": ([HELLO, live.SNAPSHOT, END, live.present(ADA)], "without its beginning"),
    "an invalid name": (
        [HELLO, live.SNAPSHOT, live.present(live.render_user({"user": "-l", "status": "x"}))],
        "invalid user name",
    ),
    "more than there is room for": ([HELLO, live.SNAPSHOT, live.present(LONG)], "more than `memory`"),
    "more and more": ([HELLO, live.SNAPSHOT, END, live.change("e:2", LONG)], "more than `memory`"),
    "no changes": ([INCOMPLETE, live.SNAPSHOT, live.present(ADA), END], "does not emit changes"),
}


@pytest.mark.parametrize(("messages", "complaint"), HOSTILE.values(), ids=HOSTILE)
async def test_an_invalid_feed_is_refused(messages: list[bytes], complaint: str, caplog: pytest.LogCaptureFixture):
    async with scripted(*[TextMessage(message.decode()) for message in messages]) as url:
        async with mirroring(url, memory=50_000, wait=0) as copy:
            with trio.fail_after(5):
                while not caplog.records:
                    await wait_all_tasks_blocked(0.001)
            assert complaint in caplog.records[0].getMessage()
            if END not in messages:
                with pytest.raises(BackendError):
                    await copy.get_users()


async def test_more_than_fits_is_asked_for_again_after_minutes_and_the_copy_is_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Each attempt transfers up to `memory`, so one that does not fit must not be repeated every few seconds."""
    monkeypatch.setattr(mirror_backend, "_TOO_LARGE_PAUSE", 300.0)
    pauses: list[float] = []
    backend = MemoryBackend(USERS)
    async with serving(backend) as site, mirroring(site.url, memory=50_000) as copy:
        sleep = trio.sleep

        async def noting(seconds: float) -> None:
            pauses.append(seconds)
            await sleep(min(seconds, 0.01))

        monkeypatch.setattr(trio, "sleep", noting)
        await backend.set_user("ada", "x" * 15_000)
        await until_same(copy, backend)
        backend._lasting |= {f"user{number}": UserInfo(f"user{number}", "x" * 10_000) for number in range(5)}
        backend._hub.emit(Change(None))
        with trio.fail_after(5):
            while 300.0 not in pauses:
                await wait_all_tasks_blocked(0.001)
        assert "need more than `memory`" in caplog.records[0].getMessage()
        assert {"ada", *USERS} <= set(await copy.get_users())
        assert copy.stale_since() is not None


async def test_during_a_slow_snapshot_the_old_copy_is_stale():
    """No change arrives before the snapshot has ended, so an origin that never ends it must not look up to date."""
    snapshot = [TextMessage(message.decode()) for message in (HELLO, live.SNAPSHOT, live.present(ADA), END)]

    async def begin_another(stream: trio.SocketStream) -> None:
        await begin.wait()
        await stream.send_all(b"\x81" + bytes([len(live.SNAPSHOT)]) + live.SNAPSHOT)
        await trio.sleep_forever()

    begin = trio.Event()
    async with scripted(*snapshot, then=begin_another) as url, mirroring(url, timeout=1) as copy:
        assert copy.stale_since() is None
        begin.set()
        with trio.fail_after(10):
            while copy.stale_since() is None:
                await wait_all_tasks_blocked(0.01)
        assert await copy.get_user("ada") == UserInfo("ada", "Weaving")


async def test_an_id_without_a_snapshot_is_not_resumed_from():
    messages = [
        TextMessage(message.decode()) for message in (RESUMED, live.render_alive("e:7"), live.change("e:8", ADA))
    ]
    async with scripted(*messages) as origin, line(int(origin.rpartition(":")[2])) as (relay, url):
        async with mirroring(url, wait=0) as copy:
            while relay.made < 3:
                await wait_all_tasks_blocked(0.001)
            with pytest.raises(BackendError):
                await copy.get_users()


async def test_a_snapshot_takes_effect_when_it_is_complete():
    backend = MemoryBackend(USERS)
    async with serving(backend) as site, line(site.address[1]) as (relay, url), mirroring(url) as copy:
        snapshot = [TextMessage(message.decode()) for message in (HELLO, live.SNAPSHOT, live.present(ADA))]

        async def stay(_stream: trio.SocketStream) -> None:
            arrived.set()
            await trio.sleep_forever()

        arrived = trio.Event()
        async with scripted(*snapshot, then=stay) as elsewhere:
            relay.to = int(elsewhere.rpartition(":")[2])
            await relay.cut()
            await arrived.wait()
            await wait_all_tasks_blocked(0.01)
            assert await everything(copy) == await everything(backend)


async def test_a_user_the_origin_cannot_read_is_an_error():
    messages = [HELLO, live.SNAPSHOT, live.present(live.render_unavailable("ada")), END]
    told = trio.Event()

    async def tell(stream: trio.SocketStream) -> None:
        await told.wait()
        message = live.change("e:2", ADA)
        await stream.send_all(b"\x81" + bytes([len(message)]) + message)
        await trio.sleep_forever()

    async with scripted(*[TextMessage(message.decode()) for message in messages], then=tell) as url:
        async with mirroring(url) as copy:
            assert list(await copy.get_users()) == ["ada"]
            with pytest.raises(BackendError):
                await copy.get_user("ada")
            async with copy.changes() as feed:
                told.set()
                assert await anext(feed) == Change("ada")
            assert await copy.get_user("ada") == UserInfo("ada", "Weaving")


async def test_memory_that_becomes_free_can_be_used_again():
    backend = MemoryBackend({"ada": "x" * 10_000})
    async with serving(backend) as site, mirroring(site.url, memory=25_000) as copy:
        for number in range(20):
            await backend.set_user("ada", f"{number}" * 5000)
            await until_same(copy, backend)


async def test_an_origin_that_does_not_emit_changes_cannot_be_mirrored(caplog: pytest.LogCaptureFixture):
    async with serving(FakeReader(USERS)) as site, mirroring(site.url, wait=0):
        while not caplog.records:
            await wait_all_tasks_blocked(0.001)
        assert "HTTP status 404" in caplog.records[0].getMessage()


async def test_a_change_reaches_the_service_of_the_mirror_within_a_second():
    """The path of a change has no pause in it."""
    async with mirrored() as (backend, _line, copy), FingerService.open(copy) as service:
        for number in range(20):
            await service.get_user("moshez")
            async with service.changes() as feed:
                with trio.fail_after(1):
                    await backend.set_user("moshez", f"{number}")
                    await anext(feed)
                    info = await service.get_user("moshez")
            assert info is not None
            assert info.status == f"{number}"


async def test_the_newest_statuses_follow_the_origin(patient_clock: MockClock):
    source = MemoryBackend({"ada": "a", "bob": "b", "cy": ""})
    async with serving(source) as site, open_mirror(MirrorOptions(url=site.url)) as mirror:
        async with mirror.changes() as feed:
            assert [info.user for info in await mirror.get_recent(9)] == ["ada", "bob"]
            await source.set_user("bob", "new")
            assert (await anext(feed)).user == "bob"
            assert [info.user for info in await mirror.get_recent(9)] == ["bob", "ada"]
            await source.clear_user("bob")
            assert (await anext(feed)).user == "bob"
            assert [info.user for info in await mirror.get_recent(9)] == ["ada"]
            await source.set_user("dee", "Lunch", until=datetime.now(UTC) + timedelta(seconds=0.2))
            assert (await anext(feed)).user == "dee"
            found = await mirror.get_recent(1)
            assert [info.user for info in found] == ["dee"]
            assert await mirror.get_user("dee") == found[0]


async def test_a_status_that_has_ended_at_the_origin_is_left_out_until_the_next_one_comes(patient_clock: MockClock):
    source = MemoryBackend({"ada": "a"})  # its `run` does not run, so it does not say that the status has ended
    async with serving(source) as site, open_mirror(MirrorOptions(url=site.url)) as mirror:
        async with mirror.changes() as feed:
            until = datetime.now(UTC) + timedelta(seconds=0.05)
            await source.set_user("bob", "Lunch", until=until)
            assert (await anext(feed)).user == "bob"
        while datetime.now(UTC) < until:
            await wait_all_tasks_blocked(0.01)
        assert [info.user for info in await mirror.get_recent(1)] == ["ada"]
