"""The table of what our backends can do is compared with what they can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from fingertrio.backends.command import CommandBackend
from fingertrio.backends.file import FileBackend
from fingertrio.backends.finger import FingerBackend
from fingertrio.backends.memory import MemoryBackend
from fingertrio.backends.mirror.backend import MirrorBackend
from fingertrio.backends.plan.backend import PlanBackend
from fingertrio.backends.redis.backend import RedisBackend
from fingertrio.backends.sqlite import SQLiteBackend
from fingertrio.backends.xmlrpc import XMLRPCBackend

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "write-a-backend.md"

CLASSES: dict[str, type] = {
    "memory": MemoryBackend,
    "file": FileBackend,
    "mirror": MirrorBackend,
    "redis": RedisBackend,
    "sqlite": SQLiteBackend,
    "plan": PlanBackend,
    "command": CommandBackend,
    "finger": FingerBackend,
    "xmlrpc": XMLRPCBackend,
}


def rows() -> dict[str, list[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| backend |"))
    table = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return {row[0]: row[1:] for row in table if not row[0].startswith("---")}


def test_the_table_has_every_backend():
    assert set(rows()) == {"backend", *CLASSES}


@pytest.mark.parametrize("name", CLASSES)
def test_it_says_what_a_backend_can_do(name: str):
    table = rows()
    said = {method for method, cell in zip(table["backend"], table[name], strict=True) if cell}
    assert said == {method for method in table["backend"] if hasattr(CLASSES[name], method)}
