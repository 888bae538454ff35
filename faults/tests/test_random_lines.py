"""What counts as an answer where lines are random."""

from __future__ import annotations

import random

import pytest

from faults.random_lines import finger_line, is_finger_answer, is_setter_answer, setter_lines


@pytest.mark.parametrize(
    ("answer", "is_one"),
    [
        (b"Happy and well\r\n", True),
        ("Grüße\tund\r\nKüsse\r\n".encode(), True),
        (b"", False),
        (b"cut off", False),
        (b"bare\nline feed\r\n", False),
        (b"\x1b[31mred\r\n", False),
        (b"\xff\r\n", False),
    ],
)
def test_an_answer_is_whole_lines_of_clean_text(answer: bytes, *, is_one: bool) -> None:
    assert is_finger_answer(answer) is is_one


@pytest.mark.parametrize(
    ("answer", "is_one"),
    [(b"OK\r\n", True), (b"ERROR too long\r\n", True), (b"OK", False), (b"ERROR a\r\nb\r\n", False), (b"", False)],
)
def test_the_setter_answers_with_one_line(answer: bytes, *, is_one: bool) -> None:
    assert is_setter_answer(answer) is is_one


def test_every_line_has_an_end_and_so_an_answer() -> None:
    source = random.Random(1)
    for _ in range(500):
        assert b"\n" in finger_line(source)
        assert b"\n" in setter_lines(source)
