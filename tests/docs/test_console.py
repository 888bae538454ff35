"""The console blocks of each page run in one session, and print what the page shows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, ROOT, Block, Command, blocks, commands
from tests.docs.console import compare, session

CONSOLE = {page: [block for block in blocks(page) if block.language == "console" and block.runs] for page in PAGES}
PROGRAMS = ["curl", "jq", "nc", "openssl"]  # that sessions use, and that are not on every machine


@pytest.mark.parametrize(
    "page",
    [page for page, found in CONSOLE.items() if not all(each.is_make for block in found for each in commands(block))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_commands_of_a_page_do_what_it_shows(page: Path, tmp_path: Path):
    text = "".join(block.text for block in CONSOLE[page])
    for program in PROGRAMS:
        if re.search(rf"(^|[|(;$] *){program} ", text, re.MULTILINE) and shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    with session(tmp_path) as here:
        problems = here.run(CONSOLE[page])
    assert not problems, "\n\n".join(problems)


def test_other_output_and_a_failure_are_noticed():
    shows = Command("echo", 1, ["one ... three"])
    assert compare(shows, 0, "one two three\n") == ""
    assert compare(shows, 0, "one two\n") != ""
    silent = Command("false", 1)
    assert compare(silent, 0, "anything\n") == ""
    assert compare(silent, 1, "") != ""


def test_commands_share_a_session(tmp_path: Path):
    text = "$ X=1; cd /\n$ echo $X $PWD\n1 /\n$ fingertrio finger ada\nWeaving\n$ echo $? \\\n    more\n0 more\n"
    with session(tmp_path) as here:
        assert here.run([Block(ROOT / "README.md", 1, "console", text)]) == []
