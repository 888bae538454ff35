"""fingertrio backup, restore, import, export; and what all commands for a database show on a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.kit import done, failed, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


def test_import_counts_names_bad_records_and_tells_by_its_status(path: Path, tmp_path: Path) -> None:
    source = tmp_path / "users"
    source.write_text("moshez: Happy\nno colon\nada: Weaving\n")
    result = run("import", source, path=path)
    assert result.exit_code == 1
    assert result.stderr == (f"{source}:2: there is no colon after the user name\n2 imported, 0 unchanged, 1 bad\n")
    source.write_text("moshez: Happy\nada: Weaving\ngrace: Moth\n")
    result = run("import", source, path=path)
    assert (result.exit_code, result.stderr) == (0, "1 imported, 2 unchanged, 0 bad\n")


def test_a_source_that_is_not_there_is_wrong_usage(path: Path) -> None:
    assert "does not exist" in failed("import", "no-such-source", path=path, status=2)


def test_export_goes_to_standard_output_or_into_a_file_of_its_owner(path: Path, tmp_path: Path) -> None:
    done("user", "add", "ada", "--status", "Weaving", path=path)
    done("user", "add", "grace", "--status", "\u7720", path=path)
    lines = done("export", path=path)
    assert [json.loads(line)["user"] for line in lines.splitlines()] == ["ada", "grace"]
    target = tmp_path / "export"
    done("export", target, path=path)
    assert target.read_text("utf-8") == lines
    assert target.stat().st_mode & 0o777 == 0o600
    target.write_text("precious")
    assert "--force" in failed("export", target, path=path)
    assert target.read_text() == "precious"
    done("export", target, "--force", path=path)
    done("import", target, path=tmp_path / "y.db")
    assert done("export", path=tmp_path / "y.db") == lines
    assert sorted(file.name for file in tmp_path.iterdir()) == ["export", "x.db", "y.db"]


def test_backup_and_restore(path: Path, tmp_path: Path) -> None:
    done("user", "add", "ada", "--status", "Weaving", path=path)
    target = tmp_path / "backup"
    done("backup", target, path=path)
    assert "--force" in failed("backup", target, path=path)
    done("user", "set", "ada", "--status", "Later", path=path)
    done("restore", target, path=path)
    assert "Weaving" in done("user", "show", "ada", path=path)
    done("backup", target, "--force", path=path)


def test_on_a_terminal_there_is_a_progress_bar_and_a_question_before_what_cannot_be_undone(path: Path) -> None:
    done("user", "add", "ada", path=path)
    source = path.parent / "users"
    source.write_text("bad\n" + "".join(f"user{number}: x\n" for number in range(100)))

    def on_a_terminal(*arguments: object, answer: bytes = b"") -> tuple[int, str]:
        leader, follower = os.openpty()
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "fingertrio", *map(str, arguments), "--database", path],
                stdin=follower,
                stdout=follower,
                stderr=follower,
                env=os.environ | {"TERM": "xterm"},
            )
            os.close(follower)
            os.write(leader, answer)
            seen = b""
            try:
                while part := os.read(leader, 4096):
                    seen += part
            except OSError:  # Linux raises it when the other end is closed
                pass
            return process.wait(20), seen.decode()
        finally:
            os.close(leader)

    status, seen = on_a_terminal("import", source)
    assert status == 1
    assert "Importing" in seen
    assert "100%" in seen
    assert "users:1: there is no colon" in seen
    status, seen = on_a_terminal("user", "remove", "ada", answer=b"n\n")
    assert status == 1
    assert "Remove ada" in seen
    done("user", "show", "ada", path=path)
    assert on_a_terminal("user", "remove", "ada", answer=b"y\n")[0] == 0
    assert on_a_terminal("user", "remove", "user1", "--yes")[0] == 0
    failed("user", "show", "ada", path=path)
