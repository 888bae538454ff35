"""The checks of front ends, which /readyz runs."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from fingertrio.frontends.admin.checks import DoorChecks
from fingertrio.observe.observer import Observer


async def test_a_check_that_fails_is_a_condition_until_it_succeeds():
    observer = Observer()
    failures: list[Exception] = [PermissionError("templates"), PermissionError("templates")]

    async def check() -> None:
        if failures:
            raise failures.pop()

    async def works() -> None: ...

    checks = DoorChecks({"http": check, "finger": works}, observer)
    for _ in range(2):
        await checks.run()
        assert list(observer.metrics.conditions) == ["http_answers"]
        assert "templates" in observer.metrics.conditions["http_answers"].reason
        assert not observer.metrics.ready
    await checks.run()
    assert observer.metrics.ready


async def test_a_check_that_hangs_fails_after_five_seconds_and_does_not_stop_the_others(autojump_clock: MockClock):
    observer = Observer()
    checked = []

    async def last() -> None:
        checked.append(True)

    await DoorChecks({"http": trio.sleep_forever, "finger": last}, observer).run()
    assert trio.current_time() == pytest.approx(5)
    assert list(observer.metrics.conditions) == ["http_answers"]
    assert checked == [True]
