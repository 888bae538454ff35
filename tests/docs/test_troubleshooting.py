"""docs/troubleshooting.md quotes messages as the program writes them."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/troubleshooting.md").read_text()

# Whose messages are also quoted. They were copied from Debian 12.
OTHERS = ("finger: ", "curl: ")
# Of the operating system, in messages of ours.
SYSTEM = ("Connection refused", "Name or service not known")


def quoted() -> list[str]:
    """The messages in the first column of the tables that begin with "you see"."""
    found = []
    for table in re.findall(r"^\| you see .*\n\|---.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        for row in table.splitlines():
            found += re.findall(r"`([^`]+)`", row.split(" | ")[0])
    return found


@cache
def written() -> str:
    """Every text that the program can write, one in each line; NUL stands for what is filled in."""
    texts = [path.read_text() for path in (ROOT / "fingertrio").rglob("*.html")]
    for path in (ROOT / "fingertrio").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(" ".join(text.split()) for text in texts)


def parts(message: str) -> list[str]:
    """The parts of a message between what is filled in; system errors come from outside."""
    return [part for part in (each.strip(' :"[]') for each in message.split("...")) if part]


@pytest.mark.parametrize("message", [each for each in quoted() if not each.startswith(OTHERS)])
def test_the_program_writes_the_message(message: str):
    for part in parts(message):
        known = part in SYSTEM or part in written() or all(piece in written() for piece in part.split(": ", 1))
        assert known, part


def test_a_message_that_the_program_does_not_write_is_noticed():
    assert "cannot listen anywhere" not in written()
    assert len(quoted()) > 40
