"""Existing data that breaks a rule: it is named, with the reason and what to do next."""

from __future__ import annotations

import io
import json
import re

import pytest

from fingertrio.observe.observer import Observer
from fingertrio.server.findings import check_names, check_stored_status, name_existing
from fingertrio.testing import FakeBackend


@pytest.mark.parametrize(
    ("names", "what", "why"),
    [
        (["ada", "Ada"], "ada and Ada", "differ by case alone"),
        (["stra\u00dfe", "STRASSE"], r"stra\xdfe and STRASSE", "differ by case alone"),
        (["x" * 65], "x" * 65, "no front end can show this user: the user name is longer than 64 characters"),
        (["a\x1bb"], r"a\x1bb", "no front end can show this user: a user name is made of"),
        (["m\u043eshez"], r"m\u043eshez", "no status can be set any more: .*different scripts"),
    ],
)
def test_a_name_that_breaks_a_rule_is_named_with_the_reason(names: list[str], what: str, why: str):
    [found] = [finding for finding in check_names(names) if finding is not None]
    assert found.what == what
    assert re.search(why, found.why)
    assert str(found) == f"{found.what}: {found.why}; {found.next}"


def test_names_and_statuses_that_keep_the_rules_are_not_named():
    assert list(check_names(["ada", "bob", "s\u00f8ren"])) == [None] * 3
    assert check_stored_status("ada", "two\nlines") is None
    assert check_stored_status("ada", "") is None


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("x" * 20_000, "would be refused today: the status is longer than"),
        ("red \x1b[31m", "characters that control a terminal"),
        ("e\u0301", "not in NFC"),
    ],
)
def test_a_status_that_breaks_a_rule_is_named(status: str, why: str):
    found = check_stored_status("ada", status)
    assert found is not None
    assert why in found.why
    assert found.next == "set it again"


async def test_a_server_names_them_when_it_starts_and_counts_the_rest():
    log = io.StringIO()
    backend = FakeBackend({f"{letter}{number}": "x" for number in range(25) for letter in "aA"})
    await name_existing(backend, Observer(log, human=False))
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["existing_data"] * 21
    assert lines[0]["what"] == "a0 and A0"
    assert lines[-1]["what"] == "5 more"


async def test_a_list_that_cannot_be_read_does_not_end_the_server():
    backend = FakeBackend({"ada": "x", "Ada": "x"})
    backend.failure = RuntimeError("gone")
    log = io.StringIO()
    await name_existing(backend, Observer(log, human=False))
    assert log.getvalue() == ""
