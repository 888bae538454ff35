from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.backend import Recency, UserInfo
from fingertrio.frontends.web.stream_rows import LINE_LIMIT, fold, haystack, key_of, place_text, read_place, row_of
from fingertrio.wire.times import from_microseconds

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_row_is_the_first_line_with_its_emoji_apart():
    row = row_of(UserInfo("ada", "\u2615 at lunch\nback\nat two\n", "Ada\tL.", MOMENT, MOMENT))
    assert (row.emoji, row.line, row.is_cut, row.more) == ("\u2615", "at lunch", False, 2)
    assert (row.user, row.name, row.since, row.until) == ("ada", "Ada L.", MOMENT, MOMENT)


@pytest.mark.parametrize(
    ("status", "line", "more"), [("", "", 0), ("\n\nlate", "late", 0), ("a\x1b[31mb\x9c", "ab", 0)]
)
def test_a_row_is_clean_and_may_be_empty(status: str, line: str, more: int):
    row = row_of(UserInfo("ada", status))
    assert (row.emoji, row.line, row.more, row.name) == (None, line, more, None)


def test_a_long_line_is_cut():
    row = row_of(UserInfo("ada", "x" * 5000))
    assert (row.line, row.is_cut) == ("x" * LINE_LIMIT, True)


def test_words_are_found_in_any_case_and_form():
    text = haystack(row_of(UserInfo("zo\u00eb", "Stra\u00dfe \u2615", "ZOE\u0308 B\u00c4R")))
    for word in ("zo\u00eb", "ZOE\u0308", "STRASSE", "b\u00e4r", "\u2615"):
        assert fold(word) in text


_moments = st.one_of(st.none(), st.integers(-(10**15), 7 * 10**15).map(from_microseconds))
_places = st.builds(Recency, _moments, st.sampled_from(["ada", "bob", "Ada", "a.b", "1.5", "zo\u00eb", "\u7720"]))


@given(_places, _places)
def test_a_place_survives_and_its_key_sorts_like_it(one: Recency, other: Recency):
    assert read_place(place_text(one)) == one
    assert (key_of(one) < key_of(other)) == (one < other)


@pytest.mark.parametrize("text", ["", "ada", ".", "12", "12.", "x.ada", "12.-l", "12.a b", "999999999999999999.ada"])
def test_what_is_no_place_is_said(text: str):
    with pytest.raises(ValueError, match="not a place"):
        read_place(text)


def test_places_without_a_time_are_last_and_by_name():
    places = [
        Recency(None, "b"),
        Recency(MOMENT, "b"),
        Recency(None, "a"),
        Recency(MOMENT + timedelta(1), "z"),
        Recency(MOMENT, "a"),
    ]
    assert [(place.since, place.user) for place in sorted(places)] == [
        (MOMENT + timedelta(1), "z"), (MOMENT, "a"), (MOMENT, "b"), (None, "a"), (None, "b")
    ]  # fmt: skip
