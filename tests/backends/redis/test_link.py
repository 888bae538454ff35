"""What happens when Redis goes away and comes back: killed, frozen, emptied, cut off, or changed meanwhile."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from fingertrio.backend import BackendError, Change
from fingertrio.backends.redis import RedisBackend, RedisOptions, open_redis
from fingertrio.backends.redis import backend as backend_module
from fingertrio.backends.redis.keys import Keys
from fingertrio.backends.redis.link import ConnectionLostError, Link
from fingertrio.service import FingerService
from fingertrio.testing.redis_server import RedisServer
from fingertrio.wire.times import to_microseconds
from tests.backends.redis.kit import RECOVERY, set_when_possible, until
from tests.helpers import ANYONE

# Seconds. A killed server is noticed at once; only a silent one takes `timeout`, and a loaded machine can be silent for
# a while too. So tests with a frozen server wait for IMPATIENT, and the others do not mistake load for an outage.
HEARTBEAT, PATIENT, IMPATIENT = 0.1, 10.0, 0.8


def options_for(server: RedisServer, **more: object) -> RedisOptions:
    return RedisOptions.model_validate({"url": server.url, "heartbeat": HEARTBEAT, "timeout": PATIENT, **more})


async def status_of(asked: RedisBackend | FingerService, user: str) -> str | None:
    info = await asked.get_user(user)
    return None if info is None else info.status


async def until_status(asked: RedisBackend | FingerService, user: str, status: str) -> None:
    """A service that has not entered its feed again keeps an answer for its `cache_ttl`."""
    with trio.fail_after(RECOVERY):
        while True:
            if await status_of(asked, user) == status:
                return
            await trio.sleep(0.01)


async def until_away(backend: RedisBackend) -> None:
    await until(lambda: backend.stale_since() is not None)


async def until_there(backend: RedisBackend) -> None:
    await until(lambda: backend.stale_since() is None)


@asynccontextmanager
async def away(server: RedisServer, backend: RedisBackend) -> AsyncIterator[RedisOptions]:
    """Redis cannot be reached by `backend`, but at another address; back at its own when the context ends."""
    server.kill()
    await until_away(backend)
    path, hidden = server.socket_path, server.directory / "t"
    server.socket_path = hidden
    server.start()
    try:
        yield RedisOptions(url=server.url, backlog=1)
    finally:
        server.kill()
        server.socket_path = path
        server.start()
    await until_there(backend)


async def test_redis_is_killed_and_started_again_and_again(server: RedisServer) -> None:
    """Three nodes, and one ends for good: known answers are given meanwhile, and soon everything works again."""
    async with AsyncExitStack() as stack, AsyncExitStack() as third:
        backends = [await stack.enter_async_context(open_redis(options_for(server))) for _ in range(2)]
        services = [await stack.enter_async_context(FingerService.open(backend)) for backend in backends]
        await third.enter_async_context(
            FingerService.open(await third.enter_async_context(open_redis(options_for(server))))
        )
        status = "Status 0"
        await services[0].set_user("moshez", status, writer=ANYONE)
        for number in range(1, 6):
            for service in services:
                assert await status_of(service, "moshez") == status
            server.kill()
            for service in services:
                assert await status_of(service, "moshez") == status
                with pytest.raises(BackendError):
                    await service.set_user("moshez", "Lost", writer=ANYONE)
                assert await status_of(service, "moshez") == status
                with pytest.raises(BackendError):
                    await service.get_user("nobody")
            server.start()
            status = f"Status {number}"
            with trio.fail_after(RECOVERY):
                async with backends[1].changes() as feed:
                    await set_when_possible(services[0], "moshez", status)
                    assert await anext(feed) == Change("moshez")
                await until_status(services[1], "moshez", status)
            if number == 2:
                await third.aclose()


async def test_an_outage_and_its_end_are_logged_once_each(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fingertrio")
    async with open_redis(options_for(server)) as backend:
        await backend.set_user("moshez", "Happy and well")
        await backend.get_user("moshez")
        server.kill()
        await until_away(backend)
        for _ in range(10):
            assert await status_of(backend, "moshez") == "Happy and well"
            await trio.sleep(0.05)
        server.start()
        await until_there(backend)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert f"Redis at {server.socket_path} is unavailable" in messages[0]
    assert "stale" in messages[0]
    assert "is available again after" in messages[1]
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_silent_redis_is_unavailable(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with open_redis(options_for(server, timeout=IMPATIENT)) as backend, backend.changes() as feed:
        await backend.set_user("moshez", "Happy and well")
        assert await anext(feed) == Change("moshez")
        await backend.get_user("moshez")
        server.freeze()
        try:
            with trio.fail_after(RECOVERY):
                assert await status_of(backend, "moshez") == "Happy and well"
                with pytest.raises(BackendError):
                    await anext(feed)
                with pytest.raises(BackendError, match="cannot be reached"):
                    await backend.set_user("moshez", "Gone")
            await trio.sleep(1)  # attempts to connect go unanswered, too
        finally:
            server.thaw()
        await until_there(backend)
        await backend.set_user("moshez", "In the garden")
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_set_without_an_answer_says_that_its_outcome_is_unknown(server: RedisServer) -> None:
    async with open_redis(options_for(server, timeout=IMPATIENT)) as backend:
        await backend.set_user("moshez", "Happy and well")
        server.freeze()
        try:
            with pytest.raises(BackendError, match="may or may not have been set"):
                await backend.set_user("moshez", "Gone")
        finally:
            server.thaw()


async def test_calls_under_way_are_cut_off_all_at_once(server: RedisServer) -> None:
    async with open_redis(options_for(server, timeout=IMPATIENT)) as backend:
        await backend.set_user("moshez", "Happy and well")
        await backend.get_user("moshez")
        server.freeze()
        answers: list[str | None] = []

        async def ask() -> None:
            answers.append(await status_of(backend, "moshez"))

        try:
            with trio.fail_after(RECOVERY):
                async with trio.open_nursery() as nursery:
                    for _ in range(50):
                        nursery.start_soon(ask)
        finally:
            server.thaw()
        assert answers == ["Happy and well"] * 50


async def test_cut_connections_are_reopened_each_time(server: RedisServer) -> None:
    async with open_redis(options_for(server)) as backend:
        for number in range(4):
            await set_when_possible(backend, "moshez", f"Status {number}")
            assert await status_of(backend, "moshez") == f"Status {number}"
            server.command("CLIENT", "KILL", "TYPE", "normal")
        await set_when_possible(backend, "moshez", "Last")
        with trio.fail_after(RECOVERY):
            async with backend.changes() as feed:
                await backend.set_user("alice", "In the garden")
                assert await anext(feed) == Change("alice")


async def test_a_feed_breaks_with_the_connection_and_can_be_entered_again(server: RedisServer) -> None:
    async with open_redis(options_for(server)) as backend:
        async with backend.changes() as feed:
            server.kill()
            with pytest.raises(BackendError), trio.fail_after(RECOVERY):
                await anext(feed)
            with pytest.raises(BackendError):
                await anext(feed)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, server.start)
            with trio.fail_after(RECOVERY):
                async with backend.changes() as feed:
                    await backend.set_user("moshez", "Happy and well")
                    assert await anext(feed) == Change("moshez")


async def test_it_opens_while_redis_is_unavailable_and_works_once_it_is_back(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.stop()
    async with open_redis(options_for(server)) as backend, FingerService.open(backend) as service:
        assert "is unavailable" in caplog.text
        with pytest.raises(BackendError, match="cannot be reached"):
            await service.get_user("moshez")
        with pytest.raises(BackendError, match="cannot be reached"):
            await service.get_users()
        server.start()
        await set_when_possible(service, "moshez", "Happy and well")
        assert await status_of(service, "moshez") == "Happy and well"
        with trio.fail_after(RECOVERY):
            async with backend.changes() as feed:
                await service.set_user("moshez", "In the garden", writer=ANYONE)
                assert await anext(feed) == Change("moshez")


async def test_a_rejected_password_is_an_error_at_the_start(directory: Path, server: RedisServer) -> None:
    server.command("CONFIG", "SET", "requirepass", "secret")
    with pytest.raises(ExceptionGroup) as caught:
        async with open_redis(options_for(server)):
            raise AssertionError("it opened")
    assert caught.group_contains(ValueError, match="Redis at .*: .*authenticate")
    assert server.directory == directory


async def test_a_connection_that_is_lost_during_a_stop_is_no_failure_of_the_stop() -> None:
    """A request that is cut off and cancelled at once must not turn into an exception of the program."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        async with trio.open_nursery() as nursery:  # as coredis has one
            nursery.start_soon(trio.sleep_forever)
            yield object()

    async def lost_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ConnectionLostError

    async def prepare(_store: object) -> None:
        await trio.lowlevel.checkpoint()

    link = Link("Redis", connect, prepare, lambda _session: [lost_when_cancelled, trio.sleep_forever], 10)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


# --- what may be answered from memory ---------------------------------------------------------------------------------


async def test_while_redis_is_unavailable_statuses_end_at_their_until(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    async with open_redis(options_for(server)) as backend:
        await backend.set_user("moshez", "Happy and well")
        await backend.set_user("moshez", "Back soon", until=until)
        await backend.set_user("bob", "Passing by", until=until)
        for user in ("moshez", "bob"):
            await backend.get_user(user)
        assert await backend.get_users() == ["bob", "moshez"]
        server.kill()
        assert await status_of(backend, "moshez") == "Back soon"
        assert await backend.get_users() == ["bob", "moshez"]
        monkeypatch.setattr(backend_module, "_now", lambda: to_microseconds(until))
        assert await status_of(backend, "moshez") == "Happy and well"
        assert await status_of(backend, "bob") is None
        assert await backend.get_users() == ["moshez"]


async def test_a_copy_known_to_have_changed_is_not_served(server: RedisServer) -> None:
    options = options_for(server)
    async with open_redis(options) as backend, open_redis(options) as other, backend.changes() as feed:
        for user in ("moshez", "alice"):
            await other.set_user(user, "old")
            assert await anext(feed) == Change(user)
            await backend.get_user(user)
        await other.set_user("moshez", "new")
        assert await anext(feed) == Change("moshez")
        server.kill()
        await until_away(backend)
        assert await status_of(backend, "alice") == "old"
        with pytest.raises(BackendError):
            await backend.get_user("moshez")


async def test_without_stale_answers_there_are_none(server: RedisServer) -> None:
    async with open_redis(options_for(server, stale=0)) as backend:
        await backend.set_user("moshez", "Happy and well")
        await backend.get_user("moshez")
        server.kill()
        await until_away(backend)
        with pytest.raises(BackendError):
            await backend.get_user("moshez")


async def test_after_a_break_only_what_changed_in_it_is_forgotten(server: RedisServer) -> None:
    options = options_for(server)
    async with open_redis(options) as backend:
        async with backend.changes() as feed:
            for user in ("moshez", "alice"):
                await backend.set_user(user, "old")
                assert await anext(feed) == Change(user)
                await backend.get_user(user)
        async with away(server, backend) as elsewhere, open_redis(elsewhere) as other:
            await other.set_user("moshez", "new")
        async with backend.changes():
            server.kill()
        await until_away(backend)
        assert await status_of(backend, "alice") == "old"
        with pytest.raises(BackendError):
            await backend.get_user("moshez")


async def test_after_a_break_with_a_gap_everything_is_forgotten(server: RedisServer) -> None:
    options = options_for(server, backlog=1)
    users = ("moshez", "alice")
    keys = Keys(options.prefix, options.shards)
    busy = next(name for name in map(str, range(1000)) if keys.shard(name) == keys.shard("moshez"))
    async with open_redis(options) as backend, FingerService.open(backend) as service:
        async with service.changes() as feed:
            for user in users:
                await service.set_user(user, "old", writer=ANYONE)
            while not all([(await service.ask_user(user)).expires > 1e9 for user in users]):
                await anext(feed)
        async with away(server, backend) as elsewhere, open_redis(elsewhere) as other:
            await other.set_user("moshez", "new")
            for number in range(300):  # Redis trims streams by pieces of a hundred
                await other.set_user(busy, f"Status {number}")
        with trio.fail_after(RECOVERY):
            async with backend.changes():
                assert await status_of(service, "moshez") == "new"
        server.kill()
        await until_away(backend)
        with pytest.raises(BackendError):
            await backend.get_user("alice")


async def test_a_redis_that_was_emptied_is_noticed(server: RedisServer) -> None:
    async with open_redis(options_for(server)) as backend, FingerService.open(backend) as service:
        await service.set_user("moshez", "Happy and well", writer=ANYONE)
        async with service.changes() as feed:
            while (await service.ask_user("moshez")).expires < trio.current_time() + 1000:
                await anext(feed)
            server.command("FLUSHALL")
            with trio.fail_after(RECOVERY):
                while await service.get_user("moshez") is not None:
                    await anext(feed)
