"""Tables and relative times: at a terminal as wide as it is, and plain in a pipe."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta

import pytest

from fingertrio.cli.drawing import Column, exact, progress, relative, table

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (timedelta(), "now"),
        (timedelta(seconds=-59), "now"),
        (timedelta(seconds=30), "in 1 min"),
        (timedelta(seconds=-60), "1 min ago"),
        (timedelta(seconds=-3599), "59 min ago"),
        (timedelta(minutes=40, seconds=-1), "in 40 min"),
        (timedelta(hours=1, seconds=-1), "in 1 h"),
        (timedelta(hours=-1), "1 h ago"),
        (timedelta(minutes=61), "in 1 h"),
        (timedelta(hours=8, seconds=-2), "in 8 h"),
        (timedelta(hours=-24), "1 d ago"),
        (timedelta(days=3), "in 3 d"),
        (timedelta(days=-30), "30 d ago"),
        (timedelta(days=31, seconds=-1), "in 31 d"),
    ],
)
def test_a_moment_is_said_by_its_distance(distance: timedelta, text: str):
    assert relative(NOW + distance, NOW) == text


def test_beyond_a_month_it_is_a_date():
    assert re.fullmatch(r"2027-01-\d\d", relative(NOW + timedelta(days=40), NOW))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


COLUMNS = (Column("user", "bold"), Column("since"), Column("status", wide=True))


def rows() -> list[tuple[str, datetime | None, str]]:
    return [
        ("ada", datetime.now(UTC) - timedelta(minutes=5, seconds=10), "x" * 200),
        ("\u674e", None, "\u5728\u82b1\u56ed\u91cc"),
    ]


def drawn(monkeypatch: pytest.MonkeyPatch, width: int) -> list[str]:
    stdout = Terminal()
    monkeypatch.setattr("sys.stdout", stdout)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    table(COLUMNS, rows(), empty="nobody")
    return [re.sub("\x1b\\[[0-9;]*m", "", line).rstrip() for line in stdout.getvalue().splitlines()]


def test_at_a_terminal_every_column_is_there_and_the_widest_is_cut(monkeypatch: pytest.MonkeyPatch):
    head, ada, other = drawn(monkeypatch, 40)
    assert head.split() == ["user", "since", "status"]
    assert ada == "ada   5 min ago  " + "x" * 22 + "\u2026"
    assert other == "\u674e               \u5728\u82b1\u56ed\u91cc"  # two columns for each of these letters


def test_a_terminal_that_is_too_narrow_loses_nothing(monkeypatch: pytest.MonkeyPatch):
    assert "5 min ago" in drawn(monkeypatch, 12)[1]


def test_in_a_pipe_it_is_plain_and_exact(capsys: pytest.CaptureFixture[str]):
    shown = rows()
    table(COLUMNS, shown, empty="nobody")
    since = shown[0][1]
    assert isinstance(since, datetime)
    assert capsys.readouterr().out.splitlines()[0] == f"ada  {exact(since)}  {'x' * 200}"


def test_nothing_is_said_only_where_somebody_looks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    table(COLUMNS, [], empty="nobody")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    table(COLUMNS, [], empty="nobody")
    assert "nobody" in terminal.getvalue()


def test_progress_is_drawn_at_a_terminal_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress(10, "Importing") as bar:
        bar.advance(5)
        bar.note("line 3 is bad")
        bar.advance(5)
    assert "Importing" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
    assert re.search("\x1b\\[2Kline 3 is bad\n", terminal.getvalue())  # in the place of the bar
    monkeypatch.setattr("sys.stderr", pipe := io.StringIO())
    with progress(10, "Importing") as bar:
        bar.advance(10)
        bar.note("line 3 is bad")
    assert pipe.getvalue() == "line 3 is bad\n"
