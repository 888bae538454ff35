"""Lines of `user: status`, as the file backend serves them and `fingertrio import` takes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.names import check_user_name, is_user_name
from fingertrio.wire.users_file import Problem, UsersFile, parse_users_file

USERS = {"moshez": "Happy and well", "alice": "In the garden"}
LIMIT = 100


def parse(data: bytes) -> UsersFile:
    return parse_users_file(data, check_user=check_user_name, status_limit=LIMIT)


def statuses(data: bytes) -> dict[str, str]:
    """Status by user; there must be no problem."""
    parsed = parse(data)
    assert parsed.problems == ()
    return {entry.user: entry.status for entry in parsed.entries}


@pytest.mark.parametrize(
    ("data", "users"),
    [
        (b"", {}),
        (b"moshez: Happy and well", {"moshez": "Happy and well"}),
        (b"moshez: Happy and well\r\nalice:In the garden\r\n", USERS),
        (b"  moshez\t :\t Happy and well  \n", {"moshez": "Happy and well"}),
        (b"# comment\n   # another: one\n\n \t\nalice: In the garden\n", {"alice": "In the garden"}),
        (b"moshez: at: the: pub\n", {"moshez": "at: the: pub"}),
        (b"moshez: number # 1\n", {"moshez": "number # 1"}),
        (b"\xef\xbb\xbfmoshez: Happy and well\n", {"moshez": "Happy and well"}),
        ("張三: 眠い 🌈\n".encode(), {"張三": "眠い 🌈"}),
        (b"moshez: red\x07\n", {"moshez": "red"}),
        (b"moshez: old Mac\rline\n", {"moshez": "old Mac line"}),
        (b"moshez: " + b"x" * LIMIT + b"\n", {"moshez": "x" * LIMIT}),
    ],
)
def test_lines_are_parsed(data: bytes, users: dict[str, str]) -> None:
    assert statuses(data) == users


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_common_encodings_are_recognized(encoding: str) -> None:
    assert statuses("zo\u00eb: Gr\u00fc\u00dfe\nmoshez: well\n".encode(encoding)) == {
        "zo\u00eb": "Gr\u00fc\u00dfe",
        "moshez": "well",
    }


def test_a_line_in_an_old_encoding_changes_no_other_line() -> None:
    assert statuses("ada: Gr\u00fc\u00dfe\n".encode() + "bob: Gr\u00fc\u00dfe\n".encode("cp1252")) == {
        "ada": "Gr\u00fc\u00dfe",
        "bob": "Gr\u00fc\u00dfe",
    }


@pytest.mark.parametrize(
    "data", ["moshez: well\n".encode("utf-16-le"), "moshez: well\n".encode("utf-32"), b"moshez: well\n\0\0"]
)
def test_data_that_is_not_text_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a text file"):
        parse(data)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"moshez", "there is no colon"),
        (b": Happy", "the user name is empty"),
        (b"-l: Happy", "a user name is made of"),
        (b"a b: Happy", "a user name is made of"),
        (b"x" * 65 + b": Happy", "longer than 64"),
        ("m\u043eshez: Happy".encode(), "different scripts"),
        (b"moshez:", "the status is empty"),
        (b"moshez: \x07", "the status is empty"),
        (b"moshez: " + b"x" * (LIMIT + 1), "the status is longer than 100 bytes"),
        (b"moshez: " + "\u7720".encode() * 34, "the status is longer than 100 bytes"),
    ],
)
def test_a_bad_line_is_skipped_and_reported_with_its_number(line: bytes, reason: str) -> None:
    parsed = parse(b"# first\n" + line + b"\nalice: In the garden\n")
    assert [(entry.line, entry.user) for entry in parsed.entries] == [(3, "alice")]
    (problem,) = parsed.problems
    assert problem.line == 2
    assert reason in problem.reason


def test_the_last_of_several_lines_for_a_user_counts_and_keeps_its_place() -> None:
    parsed = parse(b"moshez: one\nalice: In the garden\nmoshez: two\nno colon\nmoshez: three\n")
    assert [(entry.user, entry.status) for entry in parsed.entries] == [("alice", "In the garden"), ("moshez", "three")]
    assert parsed.problems == (
        Problem(1, "moshez has another line, 3, which is used instead"),
        Problem(3, "moshez has another line, 5, which is used instead"),
        Problem(4, "there is no colon after the user name"),
    )


@given(st.binary() | st.text("ab:#\n\r\t é", max_size=60).map(str.encode))
def test_any_bytes_are_entries_and_problems_or_a_value_error(data: bytes) -> None:
    try:
        parsed = parse(data)
    except ValueError:
        assert b"\0" in data
        return
    users = [entry.user for entry in parsed.entries]
    assert len(set(users)) == len(users)
    for entry in parsed.entries:
        assert is_user_name(entry.user)
        assert entry.status.strip() == entry.status != ""
        assert len(entry.status.encode()) <= LIMIT
    lines = [entry.line for entry in parsed.entries]
    assert lines == sorted(lines)
    used = lines + [problem.line for problem in parsed.problems]
    assert len(set(used)) == len(used), "a line is an entry or a problem"


_STATUS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)


@given(
    st.dictionaries(st.sampled_from(["ada", "bob", "zo\u00eb", "\u5f20\u4e09"]), _STATUS),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_was_written_is_parsed_whatever_the_encoding_and_the_line_end(
    users: dict[str, str], encoding: str, end: str
) -> None:
    text = "".join(f"{user}: {status}{end}" for user, status in users.items())
    assert statuses(text.encode(encoding)) == users
