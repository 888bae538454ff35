"""fingertrio user add, show, set, remove."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest

from tests.cli.kit import done, failed

KEY = "ssh-ed25519 AAAA\nssh-ed25519 BBBB\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


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
    assert "there is no user ada" in failed("user", "show", "ada", path=path)


def test_a_key_can_come_from_standard_input(path: Path) -> None:
    done("user", "add", "ada", "--pubkey", "-", path=path, text=KEY)
    assert record("ada", path)["details"] == {"pubkey": KEY.rstrip()}


def test_a_key_file_that_is_not_utf_8_is_read(path: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes("ssh-ed25519 AAAA Zoë".encode("latin-1"))
    done("user", "add", "ada", "--pubkey", tmp_path / "key", path=path)
    assert record("ada", path)["details"] == {"pubkey": "ssh-ed25519 AAAA Zoë"}


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
        (("user", "add", "ada", "--timezone", "Nowhere/City"), "not a time zone"),
        (("user", "set", "ada", "--until", "2999-01-01"), "--until requires --status"),
        (("user", "set", "ada", "--until", "someday"), "not a time"),
        (("user", "show"), "USER"),
    ],
)
def test_wrong_usage_is_reported(path: Path, arguments: tuple[str, ...], reason: str) -> None:
    done("user", "add", "ada", path=path)
    assert reason in failed(*arguments, path=path, status=2)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("user", "add", "ada"), "user ada exists already"),
        (("user", "set", "grace", "--name", "G"), "no user grace"),
        (("user", "set", "ada", "--status", " "), "the status is empty"),
        (("user", "remove", "grace"), "no user grace"),
    ],
)
def test_what_cannot_be_done_is_reported_in_one_line(path: Path, arguments: tuple[str, ...], reason: str) -> None:
    done("user", "add", "ada", path=path)
    message = failed(*arguments, path=path)
    assert reason in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("until", "reason"),
    [
        ("2999-03-31T02:30", "clocks are set forward"),
        ("2999-10-27T02:30", "add the offset, as in 2999-10-27T02:30+02:00"),
        ("2001-01-01T00:00", "has passed already"),
    ],
)
def test_a_time_that_clocks_skip_or_show_twice_is_rejected(
    path: Path, monkeypatch: pytest.MonkeyPatch, until: str, reason: str
) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")  # a rule, which has no last year
    time.tzset()
    try:
        assert reason in failed("user", "add", "ada", "--status", "x", "--until", until, path=path, status=2)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_list_has_each_user_with_the_first_line_of_the_status(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    assert done("user", "add", "grace", "--status", "Compiling\nand waiting", path=path) == (
        "added grace: Compiling (+1 lines)\n"
    )
    done("user", "add", "ada", path=path)
    assert done("user", "set", "ada", "--name", "Ada", path=path) == "changed ada\n"
    first, second = done("user", "list", path=path).splitlines()
    assert first.startswith("ada    20")
    assert first.endswith("  No Plan.")
    assert second.endswith("  Compiling (+1 lines)")
    documents = [json.loads(line) for line in done("user", "list", "--json", path=path).splitlines()]
    assert [(document["user"], document["status"]) for document in documents] == [
        ("ada", "No Plan."),
        ("grace", "Compiling\nand waiting"),
    ]
    assert done("user", "remove", "ada", "--yes", path=path) == "removed ada and the whole history\n"
