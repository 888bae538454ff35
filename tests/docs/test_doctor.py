"""docs/guide/doctor.md against the code: every check has its row, and the transcript and the example are of today."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fingertrio.cli.doctor.check import Check
from fingertrio.cli.doctor.checks import CHECKS
from fingertrio.cli.doctor.running import run_check
from fingertrio.cli.doctor.showing import document
from tests.cli.doctor.kit import installation, running

PAGE = (Path(__file__).parents[2] / "docs/guide/doctor.md").read_text("utf-8")
NAMES = [check.name for check in CHECKS]


def block(language: str) -> str:
    return PAGE.partition(f"```{language}\n")[2].partition("```")[0]


def test_every_check_has_its_row_in_the_order_in_which_they_are_shown():
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == NAMES


def test_the_transcript_has_the_names_of_the_code():
    lines = block("console").splitlines()[1:]
    shown = dict.fromkeys(line.split()[1] for line in lines[:-1] if not line.startswith(" "))
    skipped = lines[-1].partition("not used here: ")[2].split(", ")
    assert sorted([*shown, *skipped]) == sorted(NAMES)
    assert list(shown) == [name for name in NAMES if name in shown]
    levels = [line.split()[0] for line in lines[:-1] if not line.startswith(" ")]
    counts = [levels.count(level) for level in ("problem", "warning", "ok")]
    assert [int(number) for number in re.findall(r"(\d+) (?:problems?|warnings?|ok)", lines[-1])] == counts


async def test_the_json_has_the_keys_of_the_code():
    def keys(found: Any) -> Any:
        if isinstance(found, dict):
            return {name: keys(value) for name, value in found.items()}
        return [keys(each) for each in found[:1]] if isinstance(found, list) else None

    outcome = await run_check(installation(), CHECKS[0])
    assert keys(json.loads(block("json"))) == keys(json.loads(document(installation(), [outcome])))


async def test_the_example_of_a_check_works(monkeypatch: pytest.MonkeyPatch):
    names: dict[str, Any] = {}
    exec(compile(block("python"), "doctor.md", "exec"), names)
    check: Check = names["CHECK"]
    monkeypatch.setattr(Path, "read_text", lambda _path: "Welcome")
    outcome = await run_check(installation(server=running()), check)
    assert [result.level for result in outcome.results] == ["warning"]
    assert (await run_check(installation(), check)).skipped == "no server runs"
