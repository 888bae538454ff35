"""What holds for all tests: with NO_SKIPS=1, as CI sets it, a skipped test is a failed one.

A test that needs a program which is not there is skipped with its name, which helps whoever has only Python. Where all
programs are said to be there, a skip means that nobody looks any more at what the test was for.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

_NO_SKIPS = os.environ.get("NO_SKIPS") == "1"


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
