"""Output to standard error that is not a record."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr

from fingertrio.observe.stray import StrayOutput


def test_each_line_is_reported_once_it_is_complete() -> None:
    lines: list[str] = []
    with redirect_stderr(StrayOutput(lines.append)):
        sys.stderr.write("one two\n")
        sys.stderr.write("thr")
        assert lines == ["one two"]
        sys.stderr.write("ee\n\nfour")
    assert lines == ["one two", "three"]


def test_a_line_without_an_end_is_bounded() -> None:
    lines: list[str] = []
    stream = StrayOutput(lines.append)
    for _ in range(100):
        stream.write("x" * 100)
    assert sum(map(len, lines)) > 10_000 - 4096
    assert all(len(line) <= 4096 for line in lines)


def test_what_reporting_writes_is_dropped() -> None:
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        stream.write("again\n")

    stream = StrayOutput(report)
    stream.write("once\n")
    stream.write("twice\n")
    assert lines == ["once", "twice"]
