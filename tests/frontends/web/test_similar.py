"""Whom a reader may have meant."""

from __future__ import annotations

import random
import time

import pytest

from fingertrio.frontends.web.similar import similar

NAMES = ["moshez", "ada", "grace", "zoë", "Linus", "ken", "radia", "雪子"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("mosehz", "moshez"),
        ("MOSHEZ", "moshez"),
        ("gracie", "grace"),
        ("linux", "Linus"),
        ("zoe", "zoë"),
    ],
)
def test_a_typing_error_is_understood(asked: str, expected: str) -> None:
    assert similar(asked, NAMES)[0] == expected


@pytest.mark.parametrize("asked", ["", "q", "x" * 64, "nobody"])
def test_nothing_is_guessed(asked: str) -> None:
    assert list(similar(asked, NAMES)) == []


@pytest.mark.speed
def test_ten_thousand_names_take_milliseconds() -> None:
    draw = random.Random(1)
    names = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(3, 8))) for _ in range(10_000)]
    began = time.process_time()
    for name in names[:20]:
        assert name in similar(name + name[-1], names)
    assert (time.process_time() - began) / 20 < 0.05
