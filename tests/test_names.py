"""What may be a name: people's names in, everything that was ever an attack out."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.names import USER_NAME_LIMIT, check_user_name, is_user_name

PEOPLE = [
    *("moshez", "Moshe", "m", "0", "_", "_apt", "first.last", "user+tag", "dollar$", "dash-", "x" * USER_NAME_LIMIT),
    *("s\u00f8ren", "\u0391\u03b8\u03ae\u03bd\u03b1", "\u041c\u043e\u0448\u0435", "\u05de\u05e9\u05d4"),
    "\u0645\u064f\u062d\u064e\u0645\u064e\u0651\u062f",  # with vowel marks
    "\u0928\u092e\u0938\u094d\u0924\u0947",  # marks that carry vowels
    "\uae40\ucca0\uc218",
    "\u304b\u306a\u6f22\u5b57\u30ab\u30ca",  # three scripts, one language
    "\u30b3\u30fc\u30d2\u30fc",  # the sign for a long vowel
    "\u4f50\u3005\u6728",  # Sasaki, with the sign for repetition
    "\u3105\u3106\u4e2d",
    "\U00020000" * USER_NAME_LIMIT,
]

ATTACKS = [
    "",
    *("-l", "--", "-", "--help"),  # options
    *("../x", "/etc/passwd", "a/b", "..", "."),  # paths
    *("|id", "a;b", "`id`", "$(id)", "$HOME", "a&b", "a>b", "*", "?", "~root"),  # shells
    *("a@b", "@b", "a@b@c"),  # hosts
    *("a b", " a", "a ", "\ta", "a\n", "a\r", "a\r\nQUIT", "\n"),  # lines and words
    *("a\x00", "a\x1b[2J", "a\x7f", "a\x9b", "a\u202eb", "a\u200bb", "a\u2028", "\ud800", "a\udcff"),  # terminals
    *("a:b", "a%s", "a%00", "a,b", "a=b", 'a"b', "a'b", "a\\b", "<b>", "a#b", "a!b", "[a]", "{a}"),
    *("+a", ".a", "$a"),  # ours, but not first
    *("\u0301a", "\ufe0fa"),  # a mark needs something to stand on
    *("\u2603", "\U0001f600", "a\u20ac", "a\u00a0b"),
    *("x" * (USER_NAME_LIMIT + 1), "\u00e9" * (USER_NAME_LIMIT + 1), "x" * 100_000),
]


@pytest.mark.parametrize("name", PEOPLE, ids=lambda name: ascii(name)[:40])
def test_people_may_be_called_what_they_are_called(name: str):
    assert is_user_name(name)
    assert check_user_name(name) == name


@pytest.mark.parametrize("text", ATTACKS, ids=lambda text: ascii(text)[:40])
def test_nothing_that_was_ever_an_attack_is_a_name(text: str):
    assert not is_user_name(text)
    with pytest.raises(ValueError, match="user name"):
        check_user_name(text)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("p\u0430ypal", "mixes letters of different scripts"),  # a Cyrillic a
        ("m\u03bfshez", "mixes letters of different scripts"),  # a Greek omicron
        ("\u6f22\uae40\u304b", "mixes letters of different scripts"),  # no language is written in these three
        ("\uff4doshez", "not in its NFKC form"),  # a full-width m
        ("e\u0301va", "not in its NFKC form"),
        ("\u2170", "not in its NFKC form"),  # a Roman numeral that looks like an i
        ("moshez\ufe0f", "invisible characters"),  # a variation selector
        ("mos\u034fhez", "invisible characters"),
        ("\uae40\u1160", "invisible characters"),  # a filler, which is a letter
        ("moshez\U000e0100", "invisible characters"),
    ],
)
def test_what_looks_like_somebody_else_can_be_asked_for_and_not_be_set(name: str, reason: str):
    assert is_user_name(name)
    with pytest.raises(ValueError, match=reason):
        check_user_name(name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("x" * 65, "longer than 64 characters"),
        ("-l", "is made of letters, digits and _"),
    ],
)
def test_a_refusal_says_what_to_change(text: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        check_user_name(text)


@given(st.text(st.characters(), max_size=70))
def test_whatever_the_text_the_rule_answers_and_lets_only_its_alphabet_through(text: str):
    if is_user_name(text):
        assert 0 < len(text) <= USER_NAME_LIMIT
        assert text[0] not in ".+$-"
        assert all(char in "_.+$-" or unicodedata.category(char)[0] in "LMN" for char in text)
        assert text.encode()


@given(st.text(st.characters(categories=["L", "M", "N"]), min_size=1, max_size=8))
def test_what_may_be_set_may_be_asked_for_and_is_its_own_nfkc_form(text: str):
    try:
        name = check_user_name(text)
    except ValueError:
        return
    assert name == text == unicodedata.normalize("NFKC", text)
    assert is_user_name(name)
