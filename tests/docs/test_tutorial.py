"""The tutorial works: every listing, session, attack and solution runs, and the generated parts are up to date."""

from __future__ import annotations

import ast
import inspect
import os
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

ROOT = Path(__file__).parents[2]
HERE = ROOT / "docs/tutorial"
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))

harness, attack, build, sessions = (
    __import__("importlib").import_module(name) for name in ("harness", "attack", "build", "sessions")
)

PAGES = build.pages()
STEPS = [build.number_of(page) for page in PAGES]


def test_every_step_has_its_page_listing_attack_and_solution():
    assert len(STEPS) == len(set(STEPS))
    for folder, prefix in (("", "finger"), ("attacks", "attack"), ("solutions", "solution")):
        there = {path.stem.removeprefix(prefix) for path in (HERE / folder).glob(f"{prefix}*.py")} - {"00"}
        assert there == set(STEPS), f"{folder}/{prefix}*.py"


@pytest.mark.parametrize("name", attack.steps())
def test_a_listing_is_short_and_starts_with_what_it_is(name: str):
    text = (HERE / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 90
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("page", [*PAGES, HERE / "README.md"], ids=lambda page: page.name)
def test_what_scripts_write_is_up_to_date(page: Path):
    assert build.build(page) == page.read_text(), "run: make tutorial"


def test_the_drawings_are_up_to_date_and_used():
    for path, text in build.drawings().items():
        assert path.read_text() == text, "run: make tutorial"
    used = {name for page in PAGES for name in build.drawing_names(page)}
    assert {path.stem for path in (HERE / "drawings").glob("*.svg")} == set(used)


PARTS = ["Try it", "What changed", "New in Trio", "The attack", "What Twisted does here", "In fingertrio", "Exercise"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_every_part(page: Path):
    headings = [line.removeprefix("## ").split(":")[0] for line in page.read_text().splitlines() if line[:3] == "## "]
    assert sorted(set(headings) - {"Where to go from here"}) == sorted(PARTS)
    assert page.read_text().splitlines()[2].startswith("**"), "the question comes first"


@pytest.mark.parametrize("number", STEPS)
def test_an_attack_succeeds_against_the_step_before_and_fails_against_its_own(number: str):
    before, own = attack.names_for(number)
    assert attack.run(number, before) is not None, f"{before} survives: the attack proves nothing"
    assert attack.run(number, own) is None


@pytest.mark.parametrize("number", STEPS)
def test_the_solution_of_an_exercise_works(number: str):
    step = harness.Step(f"solutions/solution{number}")
    check: Any = step["check"]
    if inspect.iscoroutinefunction(check):
        clock = trio.testing.MockClock(autojump_threshold=0.02) if step.names.get("CLOCK_JUMPS") else None
        trio.run(check, step, clock=clock)
    else:
        check(step)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_the_sessions_of_a_page_go_as_it_shows(page: Path):
    for program in sessions.PROGRAMS:
        if sessions.uses(page.read_text(), program) and shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    if sessions.uses(page.read_text(), "sudo") and os.geteuid() != 0:
        pytest.skip("needs the right to listen on port 79 (root)")
    assert await sessions.replay(page.read_text()) > 0


def test_a_session_that_goes_otherwise_is_noticed():
    wrong = "```console\n$ python finger07.py\n```\n```console\n$ echo moshez | nc -N 127.0.0.1 7979\nSad\n```\n"
    with pytest.raises(ExceptionGroup) as raised:
        trio.run(sessions.replay, wrong)
    assert "Happy and well" in attack.message(raised.value)


def test_the_results_for_twisted_cover_its_listings():
    script = runpy.run_path(str(HERE / "twisted/try_listings.py"))
    assert set(build.results()["listings"]) == set(script["QUESTIONS"])
    named = [name for page in PAGES for name in build.twisted_of(page)]
    assert set(named) <= set(script["QUESTIONS"])
