"""docs/reference/rfc1288.md names for each clause the test that shows it; here it is made sure that they exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/reference/rfc1288.md").read_text())


def test_every_test_that_the_table_names_exists():
    assert len(NAMED) > 30
    missing = [f"{path}::{name}" for path, name in NAMED if f"def {name}(" not in (ROOT / path).read_text()]
    assert not missing


def test_every_section_from_2_1_to_3_3_has_a_row():
    table = (ROOT / "docs/reference/rfc1288.md").read_text()
    sections = [
        "2.1",
        "2.2",
        "2.3",
        "2.4",
        *(f"2.5.{n}" for n in range(1, 6)),
        "3.1",
        *(f"3.2.{n}" for n in range(1, 8)),
        "3.3",
    ]
    assert [section for section in sections if f"\n| {section} |" not in table] == []
