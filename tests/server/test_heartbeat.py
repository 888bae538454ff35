"""The heartbeat, by a clock that the tests turn."""

import time

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fingertrio.observe.metrics import STALL
from fingertrio.server.heartbeat import INTERVAL, beat
from tests.helpers import RecordingReports


class Recorder(RecordingReports):
    def __init__(self):
        super().__init__()
        self.late = []
        self.stalled = trio.Event()

    def loop_late(self, seconds):
        self.late.append(seconds)
        if seconds > STALL:
            self.stalled.set()


@pytest.fixture
def heard():
    return Recorder()


@pytest.fixture
async def beating(heard, nursery):
    nursery.start_soon(beat, heard)
    await wait_all_tasks_blocked()


async def pass_time(clock, seconds):
    clock.jump(seconds)
    await wait_all_tasks_blocked()


async def test_a_loop_that_is_in_time_is_not_late(mock_clock: MockClock, beating, heard):
    for _ in range(3):
        await pass_time(mock_clock, INTERVAL)
    assert heard.late == pytest.approx([0.0, 0.0, 0.0])
    assert heard.reports == []


async def test_lateness_is_what_went_by_beyond_the_beat(mock_clock: MockClock, beating, heard):
    await pass_time(mock_clock, INTERVAL + 0.3)
    await pass_time(mock_clock, INTERVAL)
    assert heard.late == pytest.approx([0.3, 0.0])


async def test_a_long_stall_is_logged_at_most_once_a_second(mock_clock: MockClock, beating, heard):
    for seconds in (0.7, 0.7, 0.7, 0.49):
        await pass_time(mock_clock, INTERVAL + seconds)
    assert [(report.level, report.event) for report in heard.reports] == [("warning", "loop_stalled")] * 2
    assert heard.reports[0].fields == {"seconds": 0.7}


async def test_a_plain_function_that_takes_long_is_seen_on_a_real_clock(beating, heard):
    time.sleep(0.25)  # noqa: ASYNC251 -- the fault that is looked for
    with trio.fail_after(5):
        await heard.stalled.wait()
