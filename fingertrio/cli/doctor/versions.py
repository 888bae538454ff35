"""Check `versions`: Python, SQLite and the packages that fingertrio depends on, against those that are known to work.

What is known to be wrong stands in pyproject.toml, as a bound: HTTP depends on internals of Hypercorn 0.18, the redis
backend on coredis 6. pip warns of a version outside the bounds, but installs it.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import fingertrio
from fingertrio.cli.doctor.check import Check, Report
from fingertrio.cli.doctor.installation import Installation

_PACKAGE = "fingertrio"
_LEAST_SQLITE = (3, 24)  # INSERT ... ON CONFLICT DO UPDATE

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*?)\s*(?:;\s*(.*))?")
_BOUND = re.compile(r"(==|>=|<=|!=|<|>|~=)\s*([0-9A-Za-z.*+!-]+)")


async def look_at_versions(
    place: Installation,
    report: Report,
    *,
    requirements: Sequence[str] | None = None,
    installed: Callable[[str], str] = version,
) -> None:
    """Whether the installation fits together."""
    if requirements is None:
        requirements = _requirements()
    extras = {"redis"} if place.backends("redis") else set()
    wrong = list(_wrong(requirements, extras, installed))
    for name, bound, found in wrong:
        report.problem(
            f"{name} {found or 'is not installed'}; fingertrio needs {name} {bound}",
            "it was tested with these versions alone, and other ones are known or likely to break it",
            f'pip install "{name}{bound}"',
        )
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        report.problem(
            f"SQLite {sqlite3.sqlite_version}", "the sqlite backend needs 3.24 or newer", "use a newer Python or system"
        )
    if sys.version_info.releaselevel != "final":
        report.warning(
            f"Python {sys.version.split()[0]} is not a final release",
            "fingertrio is tested with final releases of 3.11, 3.12 and 3.13",
            "use one of them",
        )
    _report_other_installation(place, report)
    _report_metadata(report, installed)
    if not wrong:
        report.ok(
            f"fingertrio {fingertrio.version}, Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, and "
            f"{len(requirements)} packages within their bounds"
        )


def _requirements() -> list[str]:
    """What the installed package requires, without its extras for development."""
    try:
        return [each for each in requires(_PACKAGE) or [] if "'dev'" not in each and '"dev"' not in each]
    except PackageNotFoundError:
        return []


def _wrong(
    requirements: Sequence[str], extras: set[str], installed: Callable[[str], str]
) -> Iterator[tuple[str, str, str]]:
    """Each package outside its bounds: its name, the bounds, and its version; empty: it is not installed."""
    for text in requirements:
        match = _REQUIREMENT.fullmatch(text)
        if match is None:
            continue
        name, bounds, marker = match[1], match[2], match[3] or ""
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)""", marker)
        if extra is not None and extra[1] not in extras:
            continue
        try:
            found = installed(name)
        except PackageNotFoundError:
            yield name, bounds, ""
            continue
        if not all(_fits(found, operator, bound) for operator, bound in _BOUND.findall(bounds)):
            yield name, bounds, found


def _fits(found: str, operator: str, bound: str) -> bool:
    """Whether a version is within one bound, for the forms that pyproject.toml uses."""
    if bound.endswith(".*"):
        prefix = _numbers(bound[:-2])
        return (_numbers(found)[: len(prefix)] == prefix) is (operator == "==")
    width = max(len(_numbers(found)), len(_numbers(bound)))
    ours, theirs = (_numbers(each) + (0,) * (width - len(_numbers(each))) for each in (found, bound))
    return {
        "==": ours == theirs,
        "!=": ours != theirs,
        ">=": ours >= theirs,
        "<=": ours <= theirs,
        ">": ours > theirs,
        "<": ours < theirs,
        "~=": ours >= theirs and ours[:-1][: len(_numbers(bound)) - 1] == _numbers(bound)[:-1],
    }[operator]


def _numbers(text: str) -> tuple[int, ...]:
    match = re.match(r"[0-9]+(\.[0-9]+)*", text)
    return tuple(map(int, match[0].split("."))) if match is not None else ()


def _report_other_installation(place: Installation, report: Report) -> None:
    """The running server may be of another installation than this command."""
    if place.server is None:
        return
    try:
        words = (place.machine.proc / f"{place.server.pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return
    program = Path(words[0])
    if program.is_absolute() and program.parent.parent != Path(sys.prefix) and program != Path(sys.executable):
        report.warning(
            f"pid {place.server.pid} runs with {program}, and this command with {sys.executable}",
            "what is said here of versions is true for this command, not for the server",
            f"{program.parent}/fingertrio doctor",
        )


def _report_metadata(report: Report, installed: Callable[[str], str]) -> None:
    try:
        found = installed(_PACKAGE)
    except PackageNotFoundError:
        found = "none"
    if found != fingertrio.version:
        report.warning(
            f"the installed metadata is of version {found}, the code of {fingertrio.version}",
            "backends and front ends are found by the metadata, so new ones may be missing",
            "install the package again: pip install .",
        )


CHECK = Check("versions", "Python, SQLite and packages", look_at_versions)
