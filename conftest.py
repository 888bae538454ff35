"""What holds for all tests, in tests/ and faults/tests/.

- With NO_SKIPS=1, as CI sets it, a skipped test fails. A test skips when the program it needs is not installed, which
  helps a developer who has only Python. CI installs every program, so a skip there means a test that no longer runs.
- The environment of the terminal or CI runner does not reach the tests: ignored signals and the terminal's width are
  inherited by every program that a test starts. Nor do the servers and logins of the user who runs the tests.
- Hypothesis sets no time limit. With SAME_EXAMPLES=1, as CI sets it, its examples are the same in every run; without,
  they are half as many, and new.
- Of the authorities for certificates, those of the machine count for nothing: tests make their own. It takes 20 ms to
  load them, for each of several hundred TLS contexts.
- The program is started by forking a process that has imported it, where a test does not ask for a fresh start.
- The garbage collector rests while tests are collected, and then leaves alone what is there: hundreds of thousands of
  objects of modules and test items, through which it would look again at each full collection.
- Many tests wait for sockets and subprocesses, so pytest-xdist gets three workers for each core, and slow tests, which
  wait most, are spread over the first half of what each worker does.
"""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Generator
from itertools import groupby, islice

import pytest
import trustme
from hypothesis import HealthCheck, settings
from trio.testing import MockClock

from fingertrio.testing import process

_NO_SKIPS = os.environ.get("NO_SKIPS") == "1"
_SAME_EXAMPLES = os.environ.get("SAME_EXAMPLES") == "1"


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()
    # nohup and many CI runners start programs with these ignored, and a child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # How long an example takes depends on what else the machine does. Where a change is judged, its examples are always
    # the same: new ones are drawn by those who write, and what they find is kept as an @example.
    settings.register_profile(
        "fingertrio",
        deadline=None,
        derandomize=_SAME_EXAMPLES,
        max_examples=100 if _SAME_EXAMPLES else 50,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("fingertrio")
    # Set by pytest-xdist and some shells; the tests have terminals of their own.
    for name in ("COLUMNS", "LINES", "PYTHONIOENCODING"):
        os.environ.pop(name, None)
    os.environ["LC_ALL"] = "C.UTF-8"
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        directory = tempfile.TemporaryDirectory(prefix="fingertrio-tests-")
        os.environ[name] = directory.name
        config.add_cleanup(directory.cleanup)
    if config.option.markexpr != "release":  # those call pip, which asks servers of the Internet
        authorities = tempfile.TemporaryDirectory(prefix="fingertrio-tests-")
        trustme.CA().cert_pem.write_to_path(file := f"{authorities.name}/ca.pem")
        os.environ.update(SSL_CERT_FILE=file, SSL_CERT_DIR=authorities.name)
        config.add_cleanup(authorities.cleanup)
    process.begin_forking()
    config.add_cleanup(process.end_forking)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
        items[:] = _spread(items, workers)


def _spread(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """The tests in an order that gives each worker an equal part, with files of slow tests between quick ones.

    Slow tests wait most of the time: while one worker waits, others have something to do. None is among the last tests.
    """
    parts: list[list[list[pytest.Item]]] = [[] for _ in range(workers)]
    for _, group in groupby((item for item in items if item.get_closest_marker("slow")), key=lambda item: item.path):
        min(parts, key=lambda part: sum(map(len, part))).append(list(group))
    quick = (item for item in items if not item.get_closest_marker("slow"))
    ordered: list[pytest.Item] = []
    for number, files in enumerate(parts):
        own = list(islice(quick, max(0, len(items) // workers - sum(map(len, files)))))
        gap = len(own) // 2 // (len(files) or 1)
        begin = gap * number // workers  # not all at the same time
        ordered += own[:begin]
        for file in files:
            ordered += [*file, *own[begin : begin + gap]]
            begin += gap
        ordered += own[begin:]
    return [*ordered, *quick]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture
def patient_clock() -> MockClock:
    """A clock that jumps ahead after 10 ms without activity. For tests that use real sockets or threads.

    `autojump_clock` jumps at once. The kernel may then still hold data for the test, and a deadline expires too early.
    """
    return MockClock(autojump_threshold=0.01)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return 3 * len(os.sched_getaffinity(0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)  # a whole file, skipped when it was imported
    return report


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not _NO_SKIPS or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid}: {reason}\nNO_SKIPS=1 is set: a test that is not run is a failed one."
