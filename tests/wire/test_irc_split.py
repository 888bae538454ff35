"""Pieces of a text: short enough, complete, and without broken characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.irc_split import split_text


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text("ab é\U0001f600"), st.integers(4, 40))
def test_pieces_are_short_enough_and_join_to_the_text(text: str, limit: int) -> None:
    pieces = split_text(text, limit)
    assert "".join(pieces) == text
    assert all(0 < len(piece.encode()) <= limit for piece in pieces)
    # No piece is shorter than half of the limit, so their number is bounded too.
    assert all(len(piece.encode()) > min(limit // 2, limit - 4) for piece in pieces[:-1])


def test_cuts_after_a_space_or_between_characters() -> None:
    assert split_text("happy and well", 10) == ["happy and ", "well"]
    assert split_text("a bcdefghijklmnop", 10) == ["a bcdefghi", "jklmnop"]  # the space is too far ahead
    assert split_text("ééééé", 5) == ["éé", "éé", "é"]
    assert split_text("\U0001f600" * 2, 7) == ["\U0001f600", "\U0001f600"]
    assert split_text("", 10) == []
    with pytest.raises(ValueError):
        split_text("x", 3)
    with pytest.raises(ValueError):
        split_text("\ud800", 10)


FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # 18 bytes
THUMB = "\U0001f44d\U0001f3fd"  # with a skin tone, 8 bytes
GERMANY, FRANCE = "\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7"  # 8 bytes each
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"  # 28 bytes
HEART = "\u2764\ufe0f"  # with a variation selector, 6 bytes


@pytest.mark.parametrize("character", ["e\u0301", FAMILY, THUMB, GERMANY, SCOTLAND, HEART, "\u0915\u093e"], ids=ascii)
@pytest.mark.parametrize("before", range(12))
def test_a_character_as_people_see_it_is_not_broken(character: str, before: int) -> None:
    text = "x" * before + character * 10
    limit = 2 * len(character.encode()) + 7
    pieces = split_text(text, limit)
    assert "".join(pieces) == text
    for piece in pieces:
        assert piece.lstrip("x").replace(character, "") == ""


def test_flags_keep_their_halves() -> None:
    flags = GERMANY + FRANCE
    for before in range(8):
        for piece in split_text("x" * before + flags * 5, 31):
            assert piece.lstrip("x").replace(GERMANY, "").replace(FRANCE, "") == ""


def test_a_character_that_is_too_long_is_broken() -> None:
    """As many accents as one likes: the pieces stay long, so their number is bounded."""
    text = "a" + "\u0301" * 1000
    pieces = split_text(text, 40)
    assert "".join(pieces) == text
    assert all(len(piece.encode()) > 20 for piece in pieces[:-1])
