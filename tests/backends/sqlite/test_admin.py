from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fingertrio.backends.sqlite.admin import Edit, add_user, administered, change_user, remove_user, show_user
from fingertrio.backends.sqlite.rows import Retention
from tests.backends.sqlite.kit import opened, put, rows_of, status

KEEP = Retention(1000)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with administered(tmp_path / "x.db", make=True) as connection:
        yield connection


def test_a_new_user_is_served_with_all_data(connection: sqlite3.Connection, tmp_path: Path) -> None:
    edit = Edit(name="Moshe Zadka", details={"project": "fingertrio", "pubkey": "one\ntwo"}, status="Happy and well")
    add_user(connection, "moshez", edit, KEEP)
    with opened(tmp_path / "x.db") as store:
        (info,) = store.find(["moshez"])
    assert not isinstance(info, Exception)
    assert info is not None
    assert (info.status, info.name) == ("Happy and well", "Moshe Zadka")
    assert list(info.details.items()) == [("project", "fingertrio"), ("pubkey", "one\ntwo")]


def test_an_edit_changes_only_what_it_names(connection: sqlite3.Connection) -> None:
    add_user(connection, "ada", Edit(name="Ada", details={"project": "a", "pronouns": "she"}, status="Weaving"), KEEP)
    change_user(connection, "ada", Edit(details={"project": "b", "Home": "https://example.org"}), KEEP)
    change_user(connection, "ada", Edit(details={"pronouns": ""}), KEEP)
    person = show_user(connection, "ada", 5, KEEP)
    assert person is not None
    assert person.name == "Ada"
    assert list(person.details.items()) == [("project", "b"), ("Home", "https://example.org")]
    assert person.present is not None
    assert person.present.status == "Weaving"
    assert person.past == ()
    change_user(connection, "ada", Edit(name=""), KEEP)
    person = show_user(connection, "ada", 5, KEEP)
    assert person is not None
    assert person.name is None


def test_a_name_may_be_given_in_nfd(connection: sqlite3.Connection) -> None:
    add_user(connection, "zoe\u0308", Edit(status="Here"), KEEP)
    change_user(connection, "zoe\u0308", Edit(name="Zo\u00eb"), KEEP)
    shown = show_user(connection, "zoe\u0308", 0, KEEP)
    assert shown is not None
    assert (shown.login, shown.name) == ("zo\u00eb", "Zo\u00eb")
    remove_user(connection, "zoe\u0308")
    assert show_user(connection, "zo\u00eb", 0, KEEP) is None


def test_a_status_with_an_end_is_present_and_the_one_before_is_past(connection: sqlite3.Connection) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    add_user(connection, "ada", Edit(status="Weaving"), KEEP)
    change_user(connection, "ada", Edit(status="At lunch", until=until), KEEP)
    person = show_user(connection, "ada", 5, KEEP)
    assert person is not None
    assert person.present is not None
    assert (person.present.status, person.present.until) == ("At lunch", until)
    assert [(info.status, info.until) for info in person.past] == [("Weaving", None)]
    person = show_user(connection, "ada", 0, KEEP)
    assert person is not None
    assert person.past == ()


@pytest.mark.parametrize(
    ("login", "edit", "reason"),
    [
        ("-x", Edit(status="x"), "user name"),
        ("m\u043eshez", Edit(status="x"), "different scripts"),
        ("ada", Edit(status="x"), "already"),
        ("Ada", Edit(status="x"), "differs from the user ada by case alone"),
        ("new", Edit(status=" "), "empty"),
        ("new", Edit(status="x", until=datetime.now(UTC)), "has passed"),
        ("new", Edit(status="x", name="y" * 201), "longer"),
    ],
)
def test_a_user_who_cannot_be_added_leaves_no_trace(
    connection: sqlite3.Connection, tmp_path: Path, login: str, edit: Edit, reason: str
) -> None:
    add_user(connection, "ada", Edit(status="Weaving"), KEEP)
    with pytest.raises(ValueError, match=reason):
        add_user(connection, login, edit, KEEP)
    assert rows_of(tmp_path / "x.db", "SELECT login FROM user") == [("ada",)]


def test_a_removed_user_leaves_nothing_behind(connection: sqlite3.Connection, tmp_path: Path) -> None:
    add_user(connection, "ada", Edit(status="Weaving"), KEEP)
    with opened(tmp_path / "x.db") as store:
        for number in range(10):
            put(store, "ada", f"Status {number}")
        put(store, "grace", "Moth")
        remove_user(connection, "ada")
        assert status(store, "ada") is None
        assert store.history("ada", 10, None) == []
        assert status(store, "grace") == "Moth"
    assert rows_of(tmp_path / "x.db", "SELECT text FROM status") == [("Moth",)]
    for call in (lambda: remove_user(connection, "ada"), lambda: change_user(connection, "ada", Edit(), KEEP)):
        with pytest.raises(ValueError, match="no user ada"):
            call()
    assert show_user(connection, "ada", 5, KEEP) is None


def test_a_missing_file_is_only_created_on_request(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), administered(tmp_path / "x.db"):
        pass
    (tmp_path / "x.db").touch()
    with pytest.raises(ValueError, match="empty"), administered(tmp_path / "x.db"):
        pass
    with administered(tmp_path / "x.db", make=True):
        pass
