"""Tables, relative times and progress for people at a terminal; in a pipe, plain columns without colour.

Rich draws them. It takes as long to import as the rest of a small command, so only commands that draw import it, and
only on a terminal. NO_COLOR (no-color.org) leaves bold and dim. What the terminal's encoding lacks is shown as "?", as
`output` arranges.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import click

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_GAP = 2  # blanks between columns
_NARROWEST = 10  # columns of a terminal for text that can be cut


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: its heading on a terminal; plain output has none.
        style: its style there, in rich's words.
        wide: whether it is cut where the terminal is too narrow; the others keep their width.
    """

    title: str
    style: str = ""
    wide: bool = False


Cell = str | datetime | None  # a moment is relative on a terminal, and exact in a pipe


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, empty: str) -> None:
    """Print rows; `empty` where there are none and somebody looks."""
    if not sys.stdout.isatty():
        _plain(rows)
    elif rows:
        _drawn(columns, rows)
    else:
        click.secho(empty, dim=True)


def _plain(rows: Sequence[Sequence[Cell]]) -> None:
    texts = [[exact(cell) if isinstance(cell, datetime) else cell or "" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        line = (" " * _GAP).join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def _drawn(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    from rich.cells import cell_len  # noqa: PLC0415 -- see above
    from rich.console import Console  # noqa: PLC0415 -- see above
    from rich.table import Table  # noqa: PLC0415 -- see above
    from rich.text import Text  # noqa: PLC0415 -- see above

    now = datetime.now(UTC)
    drawn = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim", expand=False)
    texts = [[Text(relative(cell, now) if isinstance(cell, datetime) else cell or "") for cell in row] for row in rows]
    widths = [
        max(cell_len(column.title), *(row[number].cell_len for row in texts)) for number, column in enumerate(columns)
    ]
    # Rich would take from every column, and the first ones would vanish.
    fixed = sum(width + _GAP for width, column in zip(widths, columns, strict=True) if not column.wide)
    console = Console(file=sys.stdout, highlight=False)
    room = max(console.width - fixed, _NARROWEST)
    for number, column in enumerate(columns):
        width = min(widths[number], room) if column.wide else widths[number]
        for row in texts:
            row[number].truncate(width, overflow="ellipsis")
        drawn.add_column(column.title, style=column.style, no_wrap=True, width=width)
    for row in texts:
        drawn.add_row(*row)
    # On a narrower terminal the lines break, and nothing is lost.
    console.width = max(console.width, fixed + room)
    console.print(drawn)


def exact(moment: datetime) -> str:
    """A moment in the local time zone, to the minute."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def relative(moment: datetime, now: datetime) -> str:
    """A moment as its distance from `now`: "5 min ago", "in 2 h", "3 d ago"; beyond a month its date."""
    seconds = (moment - now).total_seconds()
    distance = abs(seconds)
    if distance < _MINUTE:
        return "now" if seconds <= 0 else "in 1 min"
    if distance >= 31 * _DAY:
        return f"{moment.astimezone():%Y-%m-%d}"
    for unit, name, limit in ((_MINUTE, "min", 60), (_HOUR, "h", 24), (_DAY, "d", 32)):
        # What lies ahead is rounded: right after `--for 40m` it is in 40 min, though some of it has passed.
        count = int(distance // unit) if seconds < 0 else round(distance / unit)
        if count < limit:
            return f"{count} {name} ago" if seconds < 0 else f"in {count} {name}"
    raise AssertionError("less than 31 days are less than 32")


@dataclass(frozen=True, slots=True)
class Progress:
    """Work that takes a while.

    Attributes:
        advance: takes the amount of new progress.
        note: prints a line meanwhile, above the bar if there is one.
    """

    advance: Callable[[int], None]
    note: Callable[[str], None]


@contextmanager
def progress(total: int, label: str) -> Iterator[Progress]:
    """Show progress on standard error: a bar where that is a terminal, otherwise nothing."""
    if not sys.stderr.isatty():
        yield Progress(lambda _more: None, lambda text: click.echo(text, err=True))
        return
    from rich import progress as bars  # noqa: PLC0415 -- see above
    from rich.console import Console  # noqa: PLC0415 -- see above
    from rich.text import Text  # noqa: PLC0415 -- see above

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TimeRemainingColumn(),
    )
    console = Console(file=sys.stderr, highlight=False)
    # Nothing is redirected: Click writes past rich's proxy, into the bar. Gone when the work is done.
    with bars.Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(label, total=max(total, 1))
        yield Progress(lambda more: bar.advance(task, more), lambda text: console.print(Text(text), soft_wrap=True))
