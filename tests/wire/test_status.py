from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.status import LINES_LIMIT, STATUS_LIMIT, check_status
from fingertrio.wire.text import clean


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("Happy and well", "Happy and well"),
        ("one\r\ntwo\r\n\n", "one\ntwo"),
        ("  indented\n\tby a tab", "  indented\n\tby a tab"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("x" * STATUS_LIMIT, "x" * STATUS_LIMIT),
        ("\u00e9" * (STATUS_LIMIT // 2), "\u00e9" * (STATUS_LIMIT // 2)),
        ("\n".join("x" * LINES_LIMIT), "\n".join("x" * LINES_LIMIT)),
    ],
)
def test_stores(text: str, stored: str):
    assert check_status(text) == stored


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the status is empty"),
        (" \t\n", "the status is empty"),
        ("\x00\x07", "the status is empty"),
        ("x" * (STATUS_LIMIT + 1), f"longer than {STATUS_LIMIT} bytes"),
        ("\u00e9" * (STATUS_LIMIT // 2 + 1), f"longer than {STATUS_LIMIT} bytes"),
        ("\n".join("x" * (LINES_LIMIT + 1)), f"more than {LINES_LIMIT} lines"),
        ("\ud800", "lone surrogates"),
    ],
)
def test_refuses(text: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        check_status(text)


@given(st.text(max_size=200))
def test_what_is_stored_is_stable_and_clean(text: str):
    try:
        stored = check_status(text)
    except ValueError:
        return
    assert check_status(stored) == stored
    assert clean(stored) == stored
    assert unicodedata.is_normalized("NFC", stored)
