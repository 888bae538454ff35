from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from fingertrio.cli_store import COMMANDS

KEY = "ssh-ed25519 AAAA\nssh-ed25519 BBBB\n"


@click.group()
def program() -> None:
    """Stands for cli.py's group."""


for command in COMMANDS:
    program.add_command(command)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


def run(*arguments: object, text: str = "", path: Path | None = None) -> Result:
    place = [] if path is None else ["--database", str(path)]
    result = CliRunner().invoke(program, [*map(str, arguments), *place], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def done(*arguments: object, path: Path, text: str = "") -> str:
    result = run(*arguments, path=path, text=text)
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(*arguments: object, path: Path | None = None, status: int = 1) -> str:
    result = run(*arguments, path=path)
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    return result.stderr


def record(user: str, path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(done("user", "show", user, "--json", path=path))
    return found


def test_a_user_is_added_with_everything_shown_changed_and_removed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    options = {"--name": "Ada Lovelace", "--status": "Weaving", "--project": "The Engine", "--pronouns": "she/her"}
    options |= {"--pubkey": str(tmp_path / "key"), "--link": "Home=https://example.org", "--detail": "Room=12"}
    done("user", "add", "ada", *(part for option in options.items() for part in option), path=path)
    shown = done("user", "show", "ada", path=path)
    for part in ("Ada Lovelace", "Weaving", "The Engine", "she/her", "ssh-ed25519 BBBB", "https://example.org", "12"):
        assert part in shown
    done("user", "set", "ada", "--name", "Ada", "--project", "", "--detail", "Room=", "--link", "Home=", path=path)
    assert record("ada", path)["details"] == {"pronouns": "she/her", "pubkey": KEY.rstrip()}
    assert record("ada", path)["name"] == "Ada"
    done("user", "set", "ada", "--status", "Out", "--until", "2999-01-01T00:00Z", path=path)
    shown = done("user", "show", "ada", path=path)
    assert "Out" in shown
    assert "until" in shown
    assert "Weaving" in shown
    done("user", "remove", "ada", path=path)
    assert "no user ada" in failed("user", "show", "ada", path=path)


def test_a_key_can_come_from_standard_input(path: Path) -> None:
    done("user", "add", "ada", "--pubkey", "-", path=path, text=KEY)
    assert record("ada", path)["details"] == {"pubkey": KEY.rstrip()}


def test_who_is_added_without_a_status_has_no_plan(path: Path) -> None:
    done("user", "add", "ada", path=path)
    assert "No Plan." in done("user", "show", "ada", path=path)


def test_what_is_shown_steers_no_terminal(path: Path) -> None:
    done("user", "add", "ada", path=path)
    with sqlite3.connect(path) as connection:  # past all checks
        connection.execute("UPDATE user SET name = 'A\x1b[31m', details = '{\"x\\u001b\": \"y\\u009b\"}'")
        connection.execute("UPDATE status SET text = 'z' || char(27)")
    connection.close()
    shown = done("user", "show", "ada", path=path)
    assert "\x1b" not in shown
    assert "\x9b" not in shown


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("user", "add", "ada", "--link", "Home=javascript:alert(1)"), "https://"),
        (("user", "add", "ada", "--link", "https://example.org"), "https://"),
        (("user", "add", "ada", "--detail", "nothing"), "NAME=VALUE"),
        (("user", "add", "ada", "--timezone", "Nowhere/City"), "no time zone"),
        (("user", "set", "ada", "--until", "2999-01-01"), "--until goes with --status"),
        (("user", "set", "ada", "--until", "tomorrow"), "no time"),
        (("user", "show"), "USER"),
        (("import", "no-such-source"), "does not exist"),
    ],
)
def test_wrong_usage_is_told(path: Path, arguments: tuple[str, ...], reason: str) -> None:
    done("user", "add", "ada", path=path)
    assert reason in failed(*arguments, path=path, status=2)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("user", "add", "ada"), "there is a user ada already"),
        (("user", "set", "grace", "--name", "G"), "no user grace"),
        (("user", "set", "ada", "--status", " "), "the status is empty"),
        (("user", "remove", "grace"), "no user grace"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(path: Path, arguments: tuple[str, ...], reason: str) -> None:
    done("user", "add", "ada", path=path)
    message = failed(*arguments, path=path)
    assert reason in message
    assert "Traceback" not in message


def test_a_file_that_is_missing_or_no_database_is_told(path: Path) -> None:
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
        assert "is no SQLite database" in failed(*arguments, path=path)
    assert path.read_text() == "moshez: Happy\n"


def test_the_configuration_names_the_database_and_what_is_kept(path: Path, tmp_path: Path) -> None:
    config = tmp_path / "conf.toml"
    config.write_text(f'[backend]\nuse = "sqlite"\npath = "{path}"\nhistory = 2\n')
    for number in range(5):
        assert run("user", "set" if number else "add", "ada", "--status", number, "--config", config).exit_code == 0
    shown = run("user", "show", "ada", "--config", config).stdout
    assert [word for word in shown.split() if word in "01234"] == ["4", "3"]
    config.write_text('[backend]\nuse = "memory"\n')
    assert "keeps no database" in failed("user", "show", "ada", "--config", config, status=2)
    config.write_text(f'[backend]\nuse = "sqlite"\npaht = "{path}"\n')
    assert 'did you mean "path"?' in failed("user", "show", "ada", "--config", config, status=2)
    assert "no such file" in failed("export", "--config", tmp_path / "nothing", status=2)
    assert "exclude each other" in failed("export", "--config", config, path=path, status=2)


def test_import_counts_names_bad_records_and_tells_by_its_status(path: Path, tmp_path: Path) -> None:
    source = tmp_path / "users"
    source.write_text("moshez: Happy\nno colon\nada: Weaving\n")
    result = run("import", source, path=path)
    assert result.exit_code == 1
    assert result.stderr == (f"{source}:2: there is no colon after the user name\n2 imported, 0 as they were, 1 bad\n")
    source.write_text("moshez: Happy\nada: Weaving\ngrace: Moth\n")
    result = run("import", source, path=path)
    assert (result.exit_code, result.stderr) == (0, "1 imported, 2 as they were, 0 bad\n")


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
    script = (
        "from fingertrio.cli_store import COMMANDS; import click, sys; click.Group(commands=COMMANDS)(sys.argv[1:])"
    )

    def on_a_terminal(*arguments: object, answer: bytes = b"") -> tuple[int, str]:
        leader, follower = os.openpty()
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", script, *map(str, arguments), "--database", path],
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
            except OSError:  # Linux says so when nobody has the other end open any more
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
    assert "Forget ada" in seen
    done("user", "show", "ada", path=path)
    assert on_a_terminal("user", "remove", "ada", answer=b"y\n")[0] == 0
    assert on_a_terminal("user", "remove", "user1", "--yes")[0] == 0
    failed("user", "show", "ada", path=path)
