"""On which line of a TOML file each key is set. The standard library only.

`tomllib` does not say, so the text is cut into statements, and `tomllib` itself decides where each ends: a statement is
the fewest lines that are valid by themselves. Every statement is a header or one key with its value.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str | int, ...]  # the names that lead to a value; in an array of tables, the number of the table

_HEADER = re.compile(r"\s*\[")
_LAST = re.compile(r"[]}]|\"\"\"|'''")  # what the last line of a value has that takes several lines


def locate(text: str) -> dict[Path, int]:
    """The line, counted from 1, of each header and of each key, by the names that lead to it.

    Args:
        text: a valid TOML file.
    """
    places: dict[Path, int] = {}
    tables: dict[Path, int] = {}  # how many tables each array of tables has so far
    prefix: Path = ()
    for line, statement, content in _statements(text):
        if _HEADER.match(statement):
            prefix = _table(content, tables)
            places.setdefault(prefix, line)
        else:
            for path in _paths(content, prefix):
                places.setdefault(path, line)
    return places


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Each statement: its line, its text, and what it is by itself."""
    start, pending = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        if not pending and not line.partition("#")[0].strip():
            continue
        goes_on, start = bool(pending), start if pending else number
        pending += f"{line}\n"
        if goes_on and not _LAST.search(line):
            continue  # a long array is not read again with each of its lines
        try:
            content = tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue  # the value goes on
        yield start, pending, content
        pending = ""


def _table(header: Mapping[str, Any], tables: dict[Path, int]) -> Path:
    """The names in a header, with the numbers of the tables that are meant."""
    path: Path = ()
    node: Any = header
    while node:
        if isinstance(node, list):
            node = node[0]
            tables[path] = tables.get(path, 0) + 1
            path = (*path, tables[path] - 1)
            continue
        if path in tables:  # below the last table of an array
            path = (*path, tables[path] - 1)
        (name, node), *_ = node.items()
        path = (*path, name)
    return path


def _paths(content: Mapping[str, Any], prefix: Path) -> Iterator[Path]:
    """The key of a statement, and the keys of an inline table in it."""
    for name, value in content.items():
        yield (*prefix, name)
        if isinstance(value, dict):
            yield from _paths(value, (*prefix, name))
