"""The staleness that a backend reports reaches every front end, and no cached answer contradicts it."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta, timezone

import trio
from trio.testing import MockClock

from fingertrio.observe.observer import Observer
from fingertrio.service import FingerService
from fingertrio.testing import FakeBackend
from tests.helpers import Ageing

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def test_a_backend_that_does_not_tell_is_not_out_of_date(autojump_clock: MockClock):
    async with FingerService.open(FakeBackend({"moshez": "x"})) as service:
        assert (await service.ask_user("moshez")).stale_since is None
        await trio.sleep(10)
        assert service.staleness.since is None


async def test_every_answer_is_marked_as_its_backend_says_when_it_answers(autojump_clock: MockClock):
    backend = Ageing({"moshez": "x", "ada": "y"})
    async with FingerService.open(backend) as service:
        await trio.sleep(0.1)
        backend.age = NOON  # not checked yet
        assert (await service.ask_user("moshez")).stale_since == NOON
        assert (await service.ask_users()).stale_since == NOON
        assert (await service.ask_user("not a name")).stale_since is None


async def test_within_a_second_nothing_that_is_kept_says_otherwise(autojump_clock: MockClock):
    backend = Ageing({"moshez": "x"})
    async with FingerService.open(backend) as service:
        kept = await service.ask_user("moshez")
        for since in (NOON, NOON + timedelta(hours=1), None):
            epoch = service.epoch
            backend.age = since
            with trio.fail_after(1.5):
                await service.staleness.changed.wait()
            assert service.staleness.since == since
            assert service.epoch != epoch
            assert kept.expires < trio.current_time()
            assert service.peek("moshez") is None
            kept = await service.ask_user("moshez")
            assert kept.stale_since == since


async def test_a_time_to_come_is_now_and_one_that_no_zone_can_show_is_a_mistake(autojump_clock: MockClock):
    backend, observer = Ageing({"moshez": "x"}), Observer()
    async with FingerService.open(backend, observer=observer) as service:
        backend.age = datetime.now(UTC) + timedelta(days=1000)
        since = (await service.ask_user("moshez")).stale_since
        assert since is not None
        assert since <= datetime.now(UTC)
        backend.age = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
        await trio.sleep(5)
        assert (await service.ask_user("moshez")).value is not None
        assert "year 1 or year 9999" in observer.metrics.conditions["stale_answers"].reason


async def test_it_is_a_condition_that_is_not_essential_and_that_the_log_has_from_the_backend(autojump_clock: MockClock):
    backend, log = Ageing({}), io.StringIO()
    observer = Observer(log, human=False)
    async with FingerService.open(backend, observer=observer):
        backend.age = NOON
        await trio.sleep(5)
        condition = observer.metrics.conditions["stale_answers"]
        assert not condition.essential
        assert condition.reason == "the source of the answers is unavailable; they are as of 2026-01-01 12:00:00 UTC"
        backend.age = None
        await trio.sleep(5)
        assert "stale_answers" not in observer.metrics.conditions
    assert not log.getvalue()


async def test_a_backend_that_fails_to_tell_closes_no_door(autojump_clock: MockClock):
    class Fails(FakeBackend):
        def stale_since(self) -> datetime | None:
            raise RuntimeError("no clock")

    log = io.StringIO()
    observer = Observer(log, human=False)
    backend = Fails({"moshez": "x"})
    async with FingerService.open(backend, observer=observer) as service:
        answer = await service.ask_user("moshez")
        assert answer.value is not None
        assert answer.stale_since is None
        await trio.sleep(60)
        [told] = [json.loads(line) for line in log.getvalue().splitlines()]
        assert told["what"] == "stale_answers"
        assert "RuntimeError: no clock" in told["reason"]
        assert service.staleness.since is None
