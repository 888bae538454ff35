"""The nursery of everything: order, readiness, restarts that affect no other task, graceful stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from fingertrio.server.supervisor import KeepsFailingError, RestartPolicy, Serve, Supervised, only_failure, supervise
from tests.helpers import RecordingReports

Status = trio.TaskStatus[list[str]]


class Door:
    """A front end that does what each entry of its script says, run by run; past its end it serves well.

    Attributes:
        begun: trio's time at which each run began.
        ended: how the last run ended: "finished", or the name of an exception.
    """

    def __init__(self, name: str, *script: Callable[[trio.Event, Status], Awaitable[None]]) -> None:
        self.name = name
        self.script = list(script)
        self.begun: list[float] = []
        self.ended = ""
        self.supervised = Supervised(name, self.serve)

    async def serve(self, stopping: trio.Event, *, task_status: Status) -> None:
        self.begun.append(trio.current_time())
        self.ended = ""
        try:
            await (self.script.pop(0) if self.script else well)(stopping, task_status)
        except BaseException as error:
            self.ended = type(error).__name__
            raise
        self.ended = "finished"


async def well(stopping: trio.Event, status: Status) -> None:
    status.started(["127.0.0.1:1"])
    await stopping.wait()


def failing(seconds: float = 0, *, error: Exception | None = None) -> Callable[[trio.Event, Status], Awaitable[None]]:
    """Start, run for so long, fail."""

    async def script(_stopping: trio.Event, status: Status) -> None:
        status.started([])
        await trio.sleep(seconds)
        raise error or RuntimeError("broken")

    return script


async def never_starts(_stopping: trio.Event, _status: Status) -> None:
    await trio.sleep_forever()


async def does_not_finish(_stopping: trio.Event, status: Status) -> None:
    status.started([])
    await trio.sleep_forever()


class Running:
    """`supervise` in a task of its own, and what it came to."""

    def __init__(self) -> None:
        self.reports = RecordingReports()
        self.stopping = trio.Event()
        self.ready: list[dict[str, list[str]]] = []
        self.ended_at: float | None = None
        self.begun_at = trio.current_time()

    async def __call__(self, *doors: Door, policy: RestartPolicy | None = None, grace: float = 5.0) -> None:
        try:
            await supervise(
                [door.supervised for door in doors],
                reports=self.reports,
                grace=grace,
                policy=policy,
                ready=self.ready.append,
                stopping=self.stopping,
            )
        finally:
            self.ended_at = trio.current_time()


@pytest.fixture
async def run() -> Running:
    return Running()


def pauses(door: Door) -> list[float]:
    """Seconds between the beginnings of a door's runs."""
    return [later - earlier for earlier, later in zip(door.begun, door.begun[1:], strict=False)]


class TestStarting:
    async def test_one_after_the_other_and_ready_after_the_last(self, run: Running, autojump_clock: MockClock):
        order: list[str] = []

        def slowly(name: str) -> Serve:
            async def serve(stopping: trio.Event, *, task_status: Status) -> None:
                order.append(f"{name} begins")
                await trio.sleep(1)
                assert not run.ready
                order.append(f"{name} has started")
                task_status.started([f"{name}:1"])
                await stopping.wait()

            return serve

        async with trio.open_nursery() as nursery:
            tasks = [Supervised(name, slowly(name)) for name in ("finger", "setter", "irc")]
            nursery.start_soon(
                lambda: supervise(tasks, reports=run.reports, ready=run.ready.append, stopping=run.stopping)
            )
            await trio.sleep(5)
            run.stopping.set()
        begun_and_started = [
            f"{name} {what}" for name in ("finger", "setter", "irc") for what in ("begins", "has started")
        ]
        assert order == begun_and_started
        assert run.ready == [{"finger": ["finger:1"], "setter": ["setter:1"], "irc": ["irc:1"]}]

    async def test_a_failure_before_the_first_start_ends_the_program_with_it(
        self, run: Running, autojump_clock: MockClock
    ):
        async def cannot(_stopping: trio.Event, _status: Status) -> None:
            raise OSError("no such file")

        good, bad, never = Door("good"), Door("bad", cannot), Door("never")
        with pytest.raises(OSError, match="no such file"):
            await run(good, bad, never)
        assert good.ended == "Cancelled"
        assert not never.begun
        assert not run.ready
        assert not run.reports.restarts

    async def test_a_return_before_the_first_start_ends_the_program(self, run: Running, autojump_clock: MockClock):
        """The program was never complete; no caller keeps waiting for it."""

        async def returns(_stopping: trio.Event, _status: Status) -> None:
            pass

        with trio.fail_after(60), pytest.raises(Exception, match="the odd front end returned"):
            await run(Door("odd", returns))
        assert not run.ready

    async def test_no_tasks_are_ready_at_once(self, run: Running, autojump_clock: MockClock):
        run.stopping.set()
        await run()

    async def test_what_ready_raises_ends_the_program(self, autojump_clock: MockClock):
        def announce(_addresses: object) -> None:
            raise RuntimeError("closed pipe")

        with pytest.raises(RuntimeError, match="closed pipe"):
            await supervise([Door("finger").supervised], reports=RecordingReports(), ready=announce)


class TestRestarting:
    POLICY = RestartPolicy(first=1, longest=8, attempts=6, healthy=60)

    async def test_a_failed_task_comes_back_after_a_pause_that_doubles_up_to_a_limit(
        self, run: Running, autojump_clock: MockClock
    ):
        door = Door("door", *[failing()] * 5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(door, policy=self.POLICY))
            await trio.sleep(120)
            run.stopping.set()
        assert len(door.begun) == 6
        for pause, longest in zip(pauses(door), (1, 2, 4, 8, 8), strict=True):
            assert longest / 2 <= pause <= longest
        assert run.reports.restarts == {"door": 5}
        assert run.reports.events("error") == ["restarting"] * 5
        assert all(isinstance(report.exc, RuntimeError) for report in run.reports.reports if report.level == "error")

    async def test_it_has_recovered_when_it_can_serve_again(self, run: Running, autojump_clock: MockClock):
        async def late(stopping: trio.Event, status: Status) -> None:
            await trio.sleep(60)
            await well(stopping, status)

        door = Door("door", failing(), late)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(door, Door("other"), policy=self.POLICY))
            await trio.sleep(30)
            assert (run.reports.restarts, run.reports.recoveries) == ({"door": 1}, {})
            await trio.sleep(60)
            assert run.reports.recoveries == {"door": 1}
            run.stopping.set()

    async def test_programs_that_failed_together_do_not_come_back_together(
        self, run: Running, autojump_clock: MockClock
    ):
        doors = [Door(f"door{number}", failing()) for number in range(10)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(*doors, policy=self.POLICY))
            await trio.sleep(10)
            run.stopping.set()
        assert len({door.begun[1] for door in doors}) == len(doors)

    async def test_the_others_never_notice(self, run: Running, autojump_clock: MockClock):
        good, bad, other = Door("good"), Door("bad", *[failing()] * 5), Door("other")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(good, bad, other, policy=self.POLICY))
            await trio.sleep(120)
            run.stopping.set()
        assert len(good.begun) == len(other.begun) == 1
        assert good.ended == other.ended == "finished"
        assert len(run.ready) == 1

    async def test_an_early_return_is_a_failure(self, run: Running, autojump_clock: MockClock):
        async def returns(_stopping: trio.Event, status: Status) -> None:
            status.started([])

        door = Door("door", returns)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(door, policy=self.POLICY))
            await trio.sleep(10)
            run.stopping.set()
        assert len(door.begun) == 2
        (report,) = run.reports.reports
        assert (report.event, str(report.exc)) == ("restarting", "the door front end returned")

    async def test_a_group_of_failures_is_a_failure(self, run: Running, autojump_clock: MockClock):
        """A front end has nurseries; what comes out of them is a group."""
        door = Door("door", failing(error=ExceptionGroup("nursery", [ValueError(), OSError()])))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(door, policy=self.POLICY))
            await trio.sleep(10)
            run.stopping.set()
        assert len(door.begun) == 2

    async def test_one_that_keeps_failing_ends_the_program_with_its_cause(
        self, run: Running, autojump_clock: MockClock
    ):
        good = Door("good")
        bad = Door("bad", *[failing()] * 5, failing(error=ValueError("the last straw")))
        with pytest.raises(KeepsFailingError, match="the bad front end failed 6 times in a row") as failure:
            await run(good, bad, policy=self.POLICY)
        assert failure.value.name == "bad"
        assert isinstance(failure.value.__cause__, ValueError)
        assert str(failure.value.__cause__) == "the last straw"
        assert good.ended == "Cancelled"
        assert run.reports.restarts == {"bad": 5}

    async def test_running_well_for_long_forgets_earlier_failures(self, run: Running, autojump_clock: MockClock):
        """Eleven failures, five in a row at most: no reason to end."""
        bad = Door("bad", *[failing()] * 5, failing(60.001), *[failing(59)] * 4, failing(61))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(bad, policy=self.POLICY))
            await trio.sleep(1000)
            run.stopping.set()
        assert len(bad.begun) == 12
        assert pauses(bad)[5] - 60.001 < 1.001, "the pause begins anew too"


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_a_signal_lets_everybody_finish(
        self, number: signal.Signals, run: Running, autojump_clock: MockClock
    ):
        async def finishes_slowly(stopping: trio.Event, status: Status) -> None:
            status.started([])
            await stopping.wait()
            await trio.sleep(2)

        doors = Door("one", finishes_slowly), Door("other")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(*doors))
            await trio.sleep(10)
            os.kill(os.getpid(), number)
        assert [door.ended for door in doors] == ["finished", "finished"]
        assert run.ended_at == pytest.approx(run.begun_at + 12)
        assert run.reports.events() == ["stopping"]
        assert run.reports.reports[0].fields == {"signal": number.name}

    async def test_what_does_not_finish_is_cancelled_after_the_grace(self, run: Running, autojump_clock: MockClock):
        stuck, good = Door("stuck", does_not_finish), Door("good")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(stuck, good, grace=3))
            await trio.sleep(10)
            os.kill(os.getpid(), signal.SIGTERM)
        assert run.ended_at == pytest.approx(run.begun_at + 13)
        assert (stuck.ended, good.ended) == ("Cancelled", "finished")
        assert run.reports.events() == ["stopping", "grace_is_over"]

    async def test_a_second_signal_does_not_wait_for_the_grace(self, run: Running, autojump_clock: MockClock):
        stuck = Door("stuck", does_not_finish)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(stuck, grace=300))
            await trio.sleep(10)
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep(1)
            os.kill(os.getpid(), signal.SIGTERM)
        assert run.ended_at == pytest.approx(run.begun_at + 11)
        assert stuck.ended == "Cancelled"
        assert run.reports.events() == ["stopping", "stopping_now"]

    async def test_from_within(self, run: Running, autojump_clock: MockClock):
        door = Door("door")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(door))
            await trio.sleep(10)
            run.stopping.set()
        assert door.ended == "finished"
        assert run.ended_at == pytest.approx(run.begun_at + 10)

    async def test_a_failure_while_stopping_is_reported_and_is_no_failure_of_the_program(
        self, run: Running, autojump_clock: MockClock
    ):
        async def fails_at_the_end(stopping: trio.Event, status: Status) -> None:
            status.started([])
            await stopping.wait()
            raise ValueError("at the end")

        bad, good = Door("bad", fails_at_the_end), Door("good")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(bad, good))
            await trio.sleep(10)
            run.stopping.set()
        assert run.reports.events() == ["failed_while_stopping"]
        assert str(run.reports.reports[0].exc) == "at the end"
        assert not run.reports.restarts
        assert good.ended == "finished"

    async def test_a_task_that_waits_to_be_restarted_is_not_started_any_more(
        self, run: Running, autojump_clock: MockClock
    ):
        bad = Door("bad", failing())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(bad, policy=RestartPolicy(first=1000, longest=1000)))
            await trio.sleep(10)
            run.stopping.set()
        assert run.ended_at == pytest.approx(run.begun_at + 10)
        assert len(bad.begun) == 1

    async def test_stopped_while_starting_it_starts_nothing_more_and_is_never_ready(
        self, run: Running, autojump_clock: MockClock
    ):
        async def starts_slowly(stopping: trio.Event, status: Status) -> None:
            await trio.sleep(20)
            status.started([])
            await stopping.wait()

        first, slow, never = Door("first"), Door("slow", starts_slowly), Door("never")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(first, slow, never, grace=30))
            await trio.sleep(10)
            os.kill(os.getpid(), signal.SIGTERM)
        assert (first.ended, slow.ended) == ("finished", "finished")
        assert not never.begun
        assert not run.ready
        assert run.ended_at == pytest.approx(run.begun_at + 20)

    async def test_a_start_that_never_ends_is_cancelled_after_the_grace(self, run: Running, autojump_clock: MockClock):
        door, never = Door("door", never_starts), Door("never")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(door, never, grace=3))
            await trio.sleep(10)
            os.kill(os.getpid(), signal.SIGTERM)
        assert run.ended_at == pytest.approx(run.begun_at + 13)
        assert door.ended == "Cancelled"
        assert not never.begun
        assert not run.ready

    @pytest.mark.parametrize("raises", [False, True])
    async def test_a_start_given_up_because_of_the_stop_is_no_failure_of_the_program(
        self, raises: bool, run: Running, autojump_clock: MockClock
    ):
        async def gives_up(stopping: trio.Event, _status: Status) -> None:
            await stopping.wait()
            if raises:
                raise OSError("interrupted")

        door, never = Door("door", gives_up), Door("never")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: run(door, never))
            await trio.sleep(10)
            os.kill(os.getpid(), signal.SIGTERM)
        assert not never.begun
        assert not run.ready
        assert run.reports.events() == ["stopping", *["failed_while_stopping"] * raises]

    async def test_cancelled_from_outside_it_takes_everything_along(self, run: Running, autojump_clock: MockClock):
        doors = Door("one"), Door("stuck", does_not_finish), Door("starting", never_starts)
        with trio.move_on_after(10) as scope:
            await run(*doors)
        assert scope.cancelled_caught
        assert [door.ended for door in doors] == ["Cancelled"] * 3

    async def test_signals_are_python_s_again_afterwards(self, run: Running, autojump_clock: MockClock):
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        run.stopping.set()
        await run()
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


class TestHangups:
    async def test_they_are_obeyed_once_all_have_started_and_until_the_stop_begins(self, autojump_clock: MockClock):
        stopping, reports = trio.Event(), RecordingReports()
        hangups: list[float] = []

        async def slowly(stopping: trio.Event, status: Status) -> None:
            await trio.sleep(1)
            await well(stopping, status)

        async def lingers(stopping: trio.Event, status: Status) -> None:
            await well(stopping, status)
            await trio.sleep(1)

        doors = Door("one", lingers), Door("two", slowly)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                lambda: supervise(
                    [door.supervised for door in doors],
                    reports=reports,
                    stopping=stopping,
                    on_hangup=lambda: hangups.append(trio.current_time()),
                )
            )
            await trio.sleep(0.5)
            os.kill(os.getpid(), signal.SIGHUP)  # during the start, twice: reading the file once is enough
            os.kill(os.getpid(), signal.SIGHUP)
            await trio.sleep(1)
            assert hangups == [1]
            os.kill(os.getpid(), signal.SIGHUP)
            await trio.sleep(0.5)
            assert hangups == [1, pytest.approx(1.5)]
            stopping.set()
            await trio.sleep(0.5)
            os.kill(os.getpid(), signal.SIGHUP)
        assert len(hangups) == 2
        assert trio.current_time() == 3


class TestAttendants:
    async def test_they_stand_by_from_before_the_first_start_until_after_the_last_end(
        self, run: Running, autojump_clock: MockClock
    ):
        seen: list[str] = []

        async def attendant() -> None:
            seen.append("came")
            try:
                await trio.sleep_forever()
            finally:
                seen.append("went")

        async def serve(stopping: trio.Event, *, task_status: Status) -> None:
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            seen.append("started")
            task_status.started([])
            await stopping.wait()
            await trio.sleep(1)
            seen.append("ended")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                lambda: supervise(
                    [Supervised("door", serve)],
                    reports=run.reports,
                    stopping=run.stopping,
                    attendants=[attendant],
                    on_stopping=lambda: seen.append("stopping"),
                )
            )
            await trio.sleep(10)
            run.stopping.set()
        assert seen == ["came", "started", "stopping", "ended", "went"]


def test_the_real_failure_is_unwrapped():
    failure = ValueError("real")
    assert only_failure(ExceptionGroup("outer", [ExceptionGroup("inner", [failure]), OSError()])) is failure


async def test_a_cancellation_beside_it_does_not_hide_the_real_failure():
    failure = ValueError("real")
    cancelled: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            cancelled.append(error)
            raise
    assert only_failure(BaseExceptionGroup("both", [BaseExceptionGroup("inner", cancelled), failure])) is failure
    assert only_failure(BaseExceptionGroup("one", cancelled)) is cancelled[0]
