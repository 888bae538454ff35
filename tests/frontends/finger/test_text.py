"""Rendered answers, read like a client: lines that end in CRLF."""

from __future__ import annotations

import timeit
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.backend import UserInfo
from fingertrio.frontends.finger.text import NO_USERS, render_full, render_list, render_status
from fingertrio.wire.text import clean_line, first_line

MOSHEZ = UserInfo(
    "moshez",
    "Happy and well\nuntil further notice",
    name="Moshe Zadka",
    since=datetime(2026, 11, 22, 18, 30, tzinfo=UTC),
    until=datetime(2026, 11, 23, 9, 5, tzinfo=UTC),
    details={"project": "fingertrio", "pubkey": "BEGIN\nabc\nEND", "pronouns": "he", "links": "https://example.net/"},
)
ALL_FACTS = ("since", "until", "project", "plan", "pubkey", "pronouns", "links")


def lines(answer: bytes) -> list[str]:
    """The lines of the answer; checks that each ends in CRLF, and that there is no other CR or LF."""
    assert answer.endswith(b"\r\n")
    result = answer.decode().removesuffix("\r\n").split("\r\n")
    assert not any("\r" in line or "\n" in line for line in result)
    return result


def test_status_is_the_text_alone() -> None:
    assert render_status(MOSHEZ) == b"Happy and well\r\nuntil further notice\r\n"


def test_full_answer_has_the_layout_of_finger_programs() -> None:
    assert lines(render_full(MOSHEZ)) == [
        "Login: moshez                           Name: Moshe Zadka",
        "Since Sun 22 Nov 2026 18:30 UTC, until Mon 23 Nov 2026 09:05 UTC",
        "Project: fingertrio",
        "Plan:",
        "Happy and well",
        "until further notice",
    ]


def test_verbose_adds_every_detail() -> None:
    assert lines(render_full(MOSHEZ, verbose=True)) == [
        "Login: moshez                           Name: Moshe Zadka",
        "Since Sun 22 Nov 2026 18:30 UTC, until Mon 23 Nov 2026 09:05 UTC",
        "Project: fingertrio",
        "Pubkey:",
        "BEGIN",
        "abc",
        "END",
        "Pronouns: he",
        "Links: https://example.net/",
        "Plan:",
        "Happy and well",
        "until further notice",
    ]


def test_unknown_fields_say_so() -> None:
    assert lines(render_full(UserInfo("x", ""))) == ["Login: x                                Name: ???", "No Plan."]


def test_until_alone_is_capitalized() -> None:
    info = UserInfo("x", "away", until=datetime(2026, 3, 1, tzinfo=UTC))
    assert lines(render_full(info))[1] == "Until Sun 1 Mar 2026 00:00 UTC"


def test_times_are_utc_wherever_they_were_set() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    info = UserInfo("x", "up", since=datetime(2027, 1, 1, 2, 0, tzinfo=east))
    assert lines(render_full(info))[1] == "Since Thu 31 Dec 2026 20:30 UTC"


@pytest.mark.parametrize("hidden", ALL_FACTS)
def test_each_fact_can_be_hidden_alone(hidden: str) -> None:
    """RFC 1288 section 3.2.3; /W does not override it."""
    marks = {
        "since": "ince Sun 22 Nov 2026 18:30 UTC",
        "until": "ntil Mon 23 Nov 2026 09:05 UTC",
        "project": "Project: fingertrio",
        "plan": "Happy and well",
        "pubkey": "Pubkey:",
        "pronouns": "Pronouns: he",
        "links": "Links: https://example.net/",
    }
    answer = render_full(MOSHEZ, verbose=True, facts=frozenset(ALL_FACTS) - {hidden}).decode()
    assert {fact for fact, mark in marks.items() if mark not in answer} == {hidden}


def test_login_and_full_name_are_shown_whatever_is_hidden() -> None:
    """RFC 1288 sections 2.5.1, 2.5.2 and 3.2.3: the minimum of required information is the person's full name."""
    nothing: frozenset[str] = frozenset()
    assert lines(render_full(MOSHEZ, verbose=True, facts=nothing)) == [
        "Login: moshez                           Name: Moshe Zadka"
    ]
    assert lines(render_list([MOSHEZ], facts=nothing)) == ["Login   Name", "moshez  Moshe Zadka"]


@given(st.sets(st.sampled_from(ALL_FACTS)))
def test_verbose_says_more_never_less(facts: set[str]) -> None:
    """RFC 1288 section 2.5.4."""
    brief, verbose = (lines(render_full(MOSHEZ, verbose=flag, facts=facts)) for flag in (False, True))
    rest = iter(verbose)
    assert all(line in rest for line in brief)  # in the same order


TEXT = st.text(max_size=60)


@given(TEXT, TEXT, TEXT, st.sets(st.sampled_from(ALL_FACTS)))
def test_full_answer_has_all_that_the_list_has(user: str, name: str, status: str, facts: set[str]) -> None:
    """RFC 1288 section 2.5.2, for any text from a backend."""
    info = UserInfo(user, status, name=name)
    full = render_full(info, facts=facts).decode().replace("\t", " ")
    listed = render_list([info], facts=facts).decode()
    for field in (clean_line(user), clean_line(name), first_line(status) if "plan" in facts else ""):
        assert field in listed
        assert field in full


def test_list_is_aligned_and_each_login_begins_its_line() -> None:
    ann = UserInfo("ann", "\n  Reading\nmore", name="Ann O. Nymous")
    assert lines(render_list([MOSHEZ, ann, UserInfo("x", "")])) == [
        "Login   Name           Status",
        "moshez  Moshe Zadka    Happy and well",
        "ann     Ann O. Nymous  Reading",
        "x",
    ]


def test_list_is_aligned_by_what_a_terminal_shows() -> None:
    """Wide characters count two columns, combining characters zero."""
    infos = [
        UserInfo("山田", "寒い", name="山田 太郎"),
        UserInfo("jo\u0301zef", "zimno", name="Jo\u0301zef"),
        UserInfo("ann", "cold", name="Ann"),
    ]
    assert lines(render_list(infos)) == [
        "Login  Name       Status",
        "山田   山田 太郎  寒い",
        "jo\u0301zef  Jo\u0301zef      zimno",
        "ann    Ann        cold",
    ]


def test_one_long_name_does_not_widen_the_columns() -> None:
    answer = lines(render_list([UserInfo("a" * 40, "long", name="N" * 50), UserInfo("b", "short", name="B")]))
    assert answer[1] == "a" * 40 + "  " + "N" * 50 + "  long"
    assert answer[2].index("short") < 50


def test_list_without_names_has_no_column_for_them() -> None:
    assert lines(render_list([UserInfo("a", "one"), UserInfo("b", "two")])) == [
        "Login  Status",
        "a      one",
        "b      two",
    ]


def test_each_row_of_the_list_is_short() -> None:
    answer = render_list([UserInfo("a", "x" * 16_000, name="y" * 16_000)])
    assert len(answer) < 500
    assert b"x..." in answer


def test_list_scans_only_the_start_of_each_plan() -> None:
    """Rendering the list has no checkpoint, so it blocks all other clients."""

    def seconds(status: str) -> float:
        users = [UserInfo(f"user{number}", status) for number in range(500)]
        return min(timeit.repeat(lambda: render_list(users), number=1, repeat=3))

    assert seconds("\tx" * 8000) < 5 * seconds("\tx" * 250)


@pytest.mark.parametrize("start", ["\x1b[1m" * 200, f"\x1b]0;{'title' * 200}\x07", "\n" * 1000])
def test_list_finds_the_first_line_after_escape_sequences(start: str) -> None:
    assert lines(render_list([UserInfo("ann", f"{start}Reading\nmore")]))[1] == "ann    Reading"


def test_empty_list_says_so() -> None:
    assert render_list([]) == NO_USERS.encode() + b"\r\n"


HOSTILE = "a\x1b]0;owned\x07\r\nb\x9b31m\u202ec\x00\x7f\u2028d"


def test_terminal_controls_are_removed() -> None:
    """RFC 1288 section 3.3, for every field of a backend."""
    info = UserInfo(HOSTILE, HOSTILE, name=HOSTILE, details={"project": HOSTILE, HOSTILE: HOSTILE})
    for answer in (render_status(info), render_full(info, verbose=True), render_list([info])):
        text = "".join(lines(answer))
        assert all(char.isprintable() for char in text), text
    assert len(lines(render_list([info]))) == 2


def test_name_cannot_forge_a_line() -> None:
    info = UserInfo("x", "ok", name="X\nPlan:\nforged", details={"project\nPlan:\nforged": "p"})
    assert lines(render_full(info, verbose=True)) == [
        "Login: x                                Name: X Plan: forged",
        "Project Plan: forged: p",
        "Plan:",
        "ok",
    ]


def test_stale_answers_say_so_whatever_else_is_hidden() -> None:
    stale = datetime(2026, 1, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    line = "As of Thu 1 Jan 2026 12:00 UTC: the source is unavailable"
    info = UserInfo("moshez", "Happy and well")
    assert lines(render_full(info, stale_since=stale))[-1] == line
    assert lines(render_full(info, facts=frozenset(), stale_since=stale))[-1] == line
    assert lines(render_list([info], stale_since=stale))[-1] == line
    assert lines(render_list([], more=2, stale_since=stale)) == ["No users are listed", "... and 2 more", line]
