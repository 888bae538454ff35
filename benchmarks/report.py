"""From figures to what people read: medians, ratios, Markdown tables, goals, and words about the machine."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Machine:
    """On what, and with what, something was measured."""

    processor: str
    cores: int
    kernel: str
    python: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def here(cls, packages: Sequence[str]) -> Machine:
        return cls(
            processor=_processor(),
            cores=os.cpu_count() or 1,
            kernel=f"{platform.system()} {platform.release()}",
            python=f"{platform.python_implementation()} {platform.python_version()}",
            versions={
                **{name: version for name in packages if (version := _package_version(name))},
                **{
                    name: version
                    for name, command in (("cc", ["cc", "--version"]), ("go", ["go", "version"]))
                    if (version := _first_line(command))
                },
                "commit": _commit(),
            },
        )

    def __str__(self) -> str:
        # "gcc (Debian ...) 12.2.0" and "go version go1.19.8" name themselves
        versions = ", ".join(v if v.startswith(name) else f"{name} {v}" for name, v in self.versions.items())
        return f"{self.processor}, {self.cores} cores, {self.kernel}, {self.python}; {versions}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _first_line(command: Sequence[str]) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout.splitlines()[0].strip() if done.stdout else None


def _commit() -> str:
    if shutil.which("git") is None:
        return "unknown"
    git = ["git", "-C", str(Path(__file__).parent.parent)]
    commit = _first_line([*git, "rev-parse", "--short", "HEAD"]) or "unknown"
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no", "fingertrio", "benchmarks"],
        capture_output=True,
        check=False,
        timeout=20,
    )
    return f"{commit}, with changes" if changed.stdout.strip() else commit
