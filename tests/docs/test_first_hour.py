"""docs/guide/first-hour.md shows what `fingertrio init` prints. The other steps are in test_console.py."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from fingertrio.cli import init_writing
from fingertrio.cli.init_file import Answers
from tests.docs.blocks import ROOT, blocks, commands
from tests.docs.console import compare


def test_the_page_shows_what_init_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    home = Path("/home/ada")
    path = home / ".config/fingertrio/fingertrio.toml"
    monkeypatch.setattr(init_writing, "config_path", lambda: path)
    monkeypatch.setattr(init_writing, "_login", lambda: "ada")
    answers = Answers(kind="me", finger_port=7979, web_port=8000, owner="ada", data=home / ".local/state/fingertrio")
    click.echo("[questions]")
    init_writing._report(path, answers, "ft_secret", None)
    page = blocks(ROOT / "docs/guide/first-hour.md")
    sessions = [commands(block) for block in page if block.language == "console"]
    [shown] = [command for session in sessions for command in session if command.bare == "fingertrio init"]
    assert compare(shown, 0, click.unstyle(capsys.readouterr().out)) == ""
