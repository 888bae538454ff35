"""Shows outcomes: with colours and folded lines on a terminal, the same lines without them in a pipe, or as JSON.

ok       listening     [finger] 0.0.0.0:79: fingertrio, pid 812
problem  files         /etc/fingertrio/tokens.json has mode 0644
                       why   every user of this machine can read it
                       next  chmod 600 /etc/fingertrio/tokens.json
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import click

from fingertrio.cli.doctor.installation import Installation
from fingertrio.cli.doctor.running import Outcome

_STYLES = {"ok": "green", "warning": "bold yellow", "problem": "bold red"}
_LEVEL, _GAP = 7, 2  # columns
_LABEL = 4
_WIDEST = 120  # columns of a line; longer ones are hard to read


@dataclass(frozen=True, slots=True)
class Display:
    """Where outcomes are shown, for `run_checks`.

    Attributes:
        show: shows an outcome.
        waiting: takes the names of the checks that still run.
    """

    show: Callable[[Outcome], None]
    waiting: Callable[[list[str]], None]


@contextmanager
def displaying(title: str, names: Sequence[str]) -> Iterator[Display]:
    """Shows outcomes on standard output, and on a terminal which checks still run.

    Args:
        title: of all, for a terminal.
        names: of all checks that are run, for the width of their column.
    """
    column = max(map(len, names), default=0)
    if not sys.stdout.isatty():
        yield Display(lambda outcome: _plain(outcome, column), lambda _names: None)
        return
    from rich.console import Console  # noqa: PLC0415 -- only on a terminal, see `drawing`
    from rich.live import Live  # noqa: PLC0415 -- as above
    from rich.text import Text  # noqa: PLC0415 -- as above

    console = Console(file=sys.stdout, highlight=False)
    console.width = min(console.width, _WIDEST)
    console.print(Text(title, style="dim"))

    def looking(waiting: Sequence[str]) -> Text:
        return Text(f"looking: {', '.join(waiting)}", style="dim", no_wrap=True, overflow="ellipsis")

    # Drawn when it changes, not by rich's thread: that could draw between a result and the end of the line before it.
    live = Live(
        looking(names),
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with live:
        live.refresh()
        yield Display(
            lambda outcome: _drawn(console, outcome, column),
            lambda waiting: live.update(looking(waiting), refresh=True),
        )
    console.print()


def silent() -> Display:
    """Shows nothing."""
    return Display(lambda _outcome: None, lambda _names: None)


def _plain(outcome: Outcome, column: int) -> None:
    indent = " " * (_LEVEL + _GAP + column + _GAP)
    for result in outcome.results:
        click.echo(f"{result.level:<{_LEVEL + _GAP}}{outcome.check.name:<{column + _GAP}}{result.what}")
        for label, text in (("why", result.why), ("next", result.next)):
            if text:
                click.echo(f"{indent}{label:<{_LABEL + _GAP}}{text}")


def _drawn(console: Any, outcome: Outcome, column: int) -> None:
    """The same in columns, in which long texts are folded."""
    from rich.table import Table  # noqa: PLC0415 -- see `displaying`
    from rich.text import Text  # noqa: PLC0415 -- as above

    drawn = Table.grid(padding=(0, _GAP, 0, 0))
    for width in (_LEVEL, column, None):
        drawn.add_column(width=width, overflow="fold")
    for number, result in enumerate(outcome.results):
        style = _STYLES[result.level]
        # Once for all results of a check, and beside what has to be found.
        name = outcome.check.name if number == 0 or result.level != "ok" else ""
        text = Text(result.what, style="bold" if result.level != "ok" else "")
        drawn.add_row(Text(result.level, style=style), Text(name, style="cyan"), text)
        for label, more in (("why", result.why), ("next", result.next)):
            if more:
                inner = Table.grid(padding=(0, _GAP, 0, 0))
                inner.add_column(width=_LABEL)
                inner.add_column(overflow="fold")
                inner.add_row(Text(label, style="dim"), Text(more))
                drawn.add_row("", "", inner)
    console.print(drawn)


def headline(place: Installation) -> str:
    """What is looked at."""
    server = "no server runs" if place.server is None else f"pid {place.server.pid}"
    return f"{place.source}; {server}; user {place.account.name}"


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many results there are of each level, and which checks do not apply."""
    levels = Counter(result.level for outcome in outcomes for result in outcome.results)
    text = f"{_plural(levels['problem'], 'problem')}, {_plural(levels['warning'], 'warning')}, {levels['ok']} ok"
    skipped = [outcome.check.name for outcome in outcomes if outcome.skipped]
    return f"{text}; not looked at, because it is not used here: {', '.join(skipped)}" if skipped else text


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def document(place: Installation, outcomes: Sequence[Outcome]) -> str:
    """All outcomes as JSON."""
    found: dict[str, Any] = {
        "ok": not any(outcome.level == "problem" for outcome in outcomes),
        "configuration": None if place.path is None else str(place.path),
        "pid": None if place.server is None else place.server.pid,
        "user": place.account.name,
        "checks": [_entry(outcome) for outcome in outcomes],
    }
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def _entry(outcome: Outcome) -> dict[str, Any]:
    results: list[dict[str, str]] = [asdict(result) for result in outcome.results]
    return {
        "name": outcome.check.name,
        "title": outcome.check.title,
        "level": None if outcome.skipped else outcome.level,
        "skipped": outcome.skipped or None,
        "seconds": round(outcome.seconds, 3),
        "results": results,
    }
