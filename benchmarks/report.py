"""From figures to what people read: medians, ratios, Markdown tables, goals, and words about the machine."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NOTHING = "-"  # in a table: not measured


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of round-by-round ratios: two servers measured a second apart, so that a slow drift cancels."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns stand straight in plain text too; all but the first are numbers."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def format_line(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *rest]) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ("-" if n == 0 else ":") for n, w in enumerate(widths)) + "|"
    return "\n".join([format_line(lines[0]), rule, *map(format_line, lines[1:])])


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be. `measured` None: it was not measured in this run."""

    text: str
    limit: float
    measured: float | None
    unit: str = "x"
    strict: bool = False  # below the limit, not at it

    @property
    def reached(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured < self.limit if self.strict else self.measured <= self.limit

    def __str__(self) -> str:
        verdict = {True: "reached", False: "NOT reached", None: "not measured"}[self.reached]
        measured = "" if self.measured is None else f"{self.measured:.2f} {self.unit}, "
        bound = "below" if self.strict else "at most"
        return f"- {verdict}: {self.text}: {measured}to be {bound} {self.limit:g} {self.unit}"
