"""The tables of clauses name for each the test that shows it; here it is made sure that these tests exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {
    "rfc1288": [
        "2.1",
        "2.2",
        "2.3",
        "2.4",
        *(f"2.5.{n}" for n in range(1, 6)),
        "3.1",
        *(f"3.2.{n}" for n in range(1, 8)),
        "3.3",
    ],
    "irc": [*map(str, range(1, 10)), *(f"S{n}" for n in range(1, 14))],
    "webfinger": ["4", "4.1", "4.2", "4.3", "4.4", "4.4.1", "4.4.4.1", "5", "7", "9.1", "9.2", "9.3"],
}


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_the_table_names_exists(page: str):
    named = re.findall(
        r"`((?:examples/[\w-]+/)?tests/[\w/]+\.py)::(\w+)`", (ROOT / f"docs/reference/{page}.md").read_text()
    )
    assert len(named) > 10
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_every_section_has_a_row(page: str):
    table = (ROOT / f"docs/reference/{page}.md").read_text()
    assert [section for section in PAGES[page] if f"\n| {section} |" not in table] == []
