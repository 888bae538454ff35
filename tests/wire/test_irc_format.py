"""IRC formatting codes are removed together with their digits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.irc_format import strip_formatting


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("plain, 04 text", "plain, 04 text"),
        ("\x02bold\x02 \x1ditalic\x1d \x1funder\x1f", "bold italic under"),
        ("\x1estrike\x1e \x11mono\x11 \x16reverse\x16\x0f", "strike mono reverse"),
        ("\x034red\x03 none", "red none"),
        ("\x0304red", "red"),
        ("\x0304,12both", "both"),
        ("\x034,1both", "both"),
        ("\x03042", "2"),  # two digits at most
        ("\x0304,122", "2"),
        ("\x0304,word", ",word"),  # a comma without a digit is text
        ("\x03,5", ",5"),
        ("\x03\x0304\x02x", "x"),
        ("\x04FF00aared", "red"),
        ("\x04ff0000,00FF00both", "both"),
        ("\x04ff000,x", "ff000,x"),  # not six digits
        ("\x04ff0000,00ff0x", ",00ff0x"),
        ("two\x02\nlines", "two\nlines"),
        ("\x1b[31m\x07\x01", "\x1b[31m\x07\x01"),
    ],
)
def test_codes_are_removed_and_nothing_else(text: str, plain: str) -> None:
    assert strip_formatting(text) == plain


@given(st.text(st.sampled_from("\x02\x03\x04\x0f0123456789,abcf \n")))
def test_no_code_is_left(text: str) -> None:
    assert not set(strip_formatting(text)) & set("\x02\x03\x04\x0f\x11\x16\x1d\x1e\x1f")
