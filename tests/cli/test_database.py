"""Which database a command is for, and the messages where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.kit import failed, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


def test_a_file_that_is_missing_or_no_database_is_reported(path: Path) -> None:
    for arguments in (
        ("user", "show", "ada"),
        ("export",),
        ("backup", path.parent / "b.db"),
        ("user", "remove", "ada"),
    ):
        assert "there is no such file" in failed(*arguments, path=path)
        assert not path.exists()
    path.write_text("moshez: Happy\n")
    for arguments in (("user", "add", "ada"), ("export",), ("backup", path.parent / "b.db")):
        assert "is not a SQLite database" in failed(*arguments, path=path)
    assert path.read_text() == "moshez: Happy\n"


def test_the_configuration_names_the_database_and_what_is_kept(path: Path, tmp_path: Path) -> None:
    config = tmp_path / "conf.toml"
    config.write_text(f'[backend]\nuse = "sqlite"\npath = "{path}"\nhistory = 2\n')
    for number in range(5):
        assert run("user", "set" if number else "add", "ada", "--status", number, "--config", config).exit_code == 0
    shown = run("user", "show", "ada", "--config", config).stdout
    assert [word for word in shown.split() if word in "01234"] == ["4", "3"]
    config.write_text('[backend]\nuse = "memory"\n')
    assert "has no database file" in failed("user", "show", "ada", "--config", config, status=2)
    config.write_text(f'[backend]\nuse = "sqlite"\npaht = "{path}"\n')
    assert 'did you mean "path"?' in failed("user", "show", "ada", "--config", config, status=2)
    assert "no such file" in failed("export", "--config", tmp_path / "nothing", status=2)
    assert "not both" in failed("export", "--config", config, path=path, status=2)
