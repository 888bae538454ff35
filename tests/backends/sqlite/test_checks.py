from __future__ import annotations

import pytest

from fingertrio.backends.sqlite import checks
from fingertrio.wire.status import STATUS_LIMIT


@pytest.mark.parametrize(
    ("text", "stored"),
    [("Happy\n", "Happy"), ("one\r\ntwo\r\n\n", "one\ntwo"), ("\x1b[31mred", "red"), ("  spaces  ", "  spaces  ")],
)
def test_a_status_is_stored_clean(text: str, stored: str) -> None:
    assert checks.status(text) == stored


@pytest.mark.parametrize("text", ["", " \n\t", "\x1b\x00", "x" * (STATUS_LIMIT + 1), "\u7720" * 6000])
def test_an_empty_status_or_one_too_long_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the status is"):
        checks.status(text)


def test_the_longest_status_is_taken() -> None:
    assert checks.status("x" * STATUS_LIMIT + "\n") == "x" * STATUS_LIMIT


def test_details_are_clean_and_the_empty_ones_left_out() -> None:
    given = {"project": "one\r\ntwo\n", "pubkey": " ", "Home\npage": "https://example.org", "pronouns": "they\x1b"}
    assert checks.details(given) == {"project": "one\ntwo", "Home page": "https://example.org", "pronouns": "they"}


@pytest.mark.parametrize(
    "given", [{"": "x"}, {"x" * 41: "x"}, {"project": "x" * 16_385}, {f"link {number}": "x" for number in range(51)}]
)
def test_details_have_limits(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="detail"):
        checks.details(given)


def test_a_full_name_is_one_clean_line() -> None:
    assert checks.full_name("  Moshe\nZadka\x1b ") == "Moshe Zadka"
    assert checks.full_name(" ") is None
    assert checks.full_name(None) is None
    with pytest.raises(ValueError, match="longer than"):
        checks.full_name("x" * 201)
