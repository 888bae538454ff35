"""docs/guide/security.md names for each front end the test that shows it; they exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guide/security.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_every_test_that_the_table_names_exists():
    assert len(NAMED) >= 7
    missing = [f"{path}::{name}" for path, name in NAMED if f"def {name}(" not in (ROOT / path).read_text()]
    assert not missing


def test_every_row_names_a_test_of_its_proof_and_one_of_its_refusal():
    rows = [
        row for row in PAGE.split("## Tokens")[0].splitlines() if row.startswith("| ") and not row.startswith("| front")
    ]
    assert len(rows) >= 6
    lacking = [row for row in rows if row.count("`tests/") < 2 and "no writers" not in row]
    assert not lacking
