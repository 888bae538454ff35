"""Waits that end at an exact time, however long the work before them took."""

from __future__ import annotations

import time

import trio

from fingertrio.backends.plan.release import ExactWaits


async def test_a_wait_ends_at_a_multiple_of_the_grid_and_not_before_its_time():
    waits = ExactWaits(0.01)
    for work in (0.0, 0.0003, 0.0151):
        deadline = trio.current_time() + 0.02
        await trio.to_thread.run_sync(time.sleep, work)
        await waits.until(deadline)
        assert deadline <= trio.current_time()
    assert not waits._released


async def test_a_time_that_has_passed_needs_no_wait():
    with trio.fail_after(5):
        await ExactWaits(0.01).until(trio.current_time() - 1)


async def test_tasks_that_wait_for_the_same_moment_share_a_thread():
    waits = ExactWaits(0.1)
    deadline = trio.current_time() + 0.05
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(waits.until, deadline)
        await trio.testing.wait_all_tasks_blocked()
        assert len(waits._released) == 1


async def test_a_cancelled_task_leaves_the_others_waiting():
    waits = ExactWaits(0.05)
    deadline = trio.current_time() + 0.05
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits.until, deadline)
        with trio.move_on_after(0.001) as scope:
            await waits.until(deadline)
        assert scope.cancelled_caught
    assert trio.current_time() >= deadline


def test_a_thread_may_outlive_trio():
    async def main() -> None:
        with trio.move_on_after(0.001):
            await ExactWaits(0.05).until(trio.current_time() + 0.05)

    trio.run(main)
