"""The command: which checks run, what is printed, the exit status, and one run against the real program."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fingertrio.cli.doctor import command, showing
from fingertrio.cli.doctor.check import Check, Report, Result
from fingertrio.cli.doctor.checks import CHECKS
from fingertrio.cli.doctor.running import Outcome
from fingertrio.testing import process
from fingertrio.testing.program import running as running_program


def check(name: str, *results: Result, skip: str = "") -> Check:
    async def look(_place: object, report: Report) -> None:
        report.results += results

    return Check(name, f"Whether {name}", look, lambda _place: skip)


WELL = check("well", Result("ok", "it works"), Result("ok", "from outside it cannot be tested", next="ask a friend"))
ODD = check("odd", Result("warning", "it is odd", "it matters", "look"))
BAD = check("bad", Result("problem", "it is broken", "nobody is served", "mend it"))
UNUSED = check("unused", skip="there is no section [irc]")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """The command over checks that a test gives."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("FINGERTRIO_CONFIG", raising=False)

    def invoke(checks: Sequence[Check], *arguments: str) -> Any:
        monkeypatch.setattr(command, "CHECKS", checks)
        return CliRunner().invoke(command.doctor_command, arguments)

    return invoke


def test_each_result_is_a_line_with_why_and_what_next(run: Callable[..., Any]):
    result = run([WELL, ODD, BAD, UNUSED])
    assert result.output.splitlines() == [
        "ok       well    it works",
        "ok       well    from outside it cannot be tested",
        "                 next  ask a friend",
        "warning  odd     it is odd",
        "                 why   it matters",
        "                 next  look",
        "problem  bad     it is broken",
        "                 why   nobody is served",
        "                 next  mend it",
        "1 problem, 1 warning, 2 ok; not looked at, because it is not used here: unused",
    ]
    assert result.exit_code == 1


def test_a_warning_is_no_failure(run: Callable[..., Any]):
    assert run([WELL, ODD]).exit_code == 0


def test_some_checks_only_in_the_order_of_all(run: Callable[..., Any]):
    result = run([WELL, ODD, BAD], "odd", "well")
    assert [line.split()[1] for line in result.output.splitlines() if line[0] != " "][:3] == ["well", "well", "odd"]
    assert result.exit_code == 0


def test_a_name_that_is_no_check(run: Callable[..., Any]):
    result = run([WELL], "wel")
    assert result.exit_code == 2
    assert "there is no check wel; did you mean well?; it is one of well" in result.output


def test_the_list(run: Callable[..., Any]):
    assert run([WELL, BAD], "--list").output.splitlines() == ["well  Whether well", "bad   Whether bad"]


def test_json_has_the_same_as_data(run: Callable[..., Any]):
    result = run([WELL, BAD, UNUSED], "--json")
    found = json.loads(result.output)
    assert result.exit_code == 1
    assert (found["ok"], found["pid"], found["configuration"]) == (False, None, None)
    well, bad, unused = found["checks"]
    assert (well["name"], well["title"], well["level"], well["skipped"]) == ("well", "Whether well", "ok", None)
    assert bad["results"] == [
        {"level": "problem", "what": "it is broken", "why": "nobody is served", "next": "mend it"}
    ]
    assert (unused["level"], unused["skipped"], unused["results"]) == (None, "there is no section [irc]", [])


def test_a_file_without_certificates_is_wrong_usage(run: Callable[..., Any], tmp_path: Path):
    (tmp_path / "x.pem").write_text("nothing")
    result = run([WELL], "--ca", str(tmp_path / "x.pem"))
    assert (result.exit_code, "does not contain a certificate" in result.output) == (2, True)


def test_on_a_terminal_long_texts_are_folded_beside_their_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("TERM", "xterm")
    long = Result("problem", "a text that does not fit into one line of the terminal", "w" * 3, "do this " * 8)
    with showing.displaying("title", ["odd"]) as display:
        display.waiting(["odd"])
        display.show(Outcome(ODD, [long]))
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)
    lines = [line for line in re.split(r"[\r\n]+", shown) if line.strip() and "looking" not in line]
    assert lines[0].strip() == "title"
    assert max(map(len, lines)) <= 50
    assert len([line for line in lines if "do this" in line]) > 1
    assert all(line.startswith(" " * 14) for line in lines if "do this" in line)


@pytest.fixture(scope="module")
def against_the_program(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("doctor")
    environ = process.environment() | {"XDG_RUNTIME_DIR": str(directory), "XDG_STATE_HOME": str(directory)}
    table: dict[str, dict[str, Any]] = {
        "backend": {"use": "sqlite", "path": str(directory / "data" / "x.db")},
        "finger": {"listen": ["127.0.0.1:0"]},
        "setter": {"listen": [f"unix:{directory}/s"]},
        "http": {"listen": ["127.0.0.1:0"], "url": "http://localhost:1"},
    }
    with running_program(table, environ=environ) as program:
        done = process.run("doctor", "--json", environ=environ)
        assert done.stderr == ""
        found = json.loads(done.stdout)
        assert found["pid"] == program.pid
    return done.returncode, found


def test_the_real_program_is_found_and_looked_at(against_the_program: tuple[int, dict[str, Any]]):
    status, found = against_the_program
    assert [each["name"] for each in found["checks"]] == [each.name for each in CHECKS]
    levels = {each["name"]: each["level"] for each in found["checks"] if each["skipped"] is None}
    for name in ("server", "configuration", "files", "listening", "sqlite"):
        assert levels[name] in {"ok", "warning"}, [each for each in found["checks"] if each["name"] == name]
    assert not any("the check failed" in line["what"] for each in found["checks"] for line in each["results"])
    assert levels["url"] == "problem"  # port 1
    assert status == 1


def test_the_real_program_listens_where_it_says(against_the_program: tuple[int, dict[str, Any]]):
    _, found = against_the_program
    (listening,) = [each for each in found["checks"] if each["name"] == "listening"]
    assert [line["what"].partition(" ")[0] for line in listening["results"]] == ["[finger]", "[setter]", "[http]"]
    assert all("fingertrio, pid" in line["what"] for line in listening["results"])
