"""What the fuzzer feeds holds for what it starts with, and for what is near it."""

from __future__ import annotations

import random

import pytest

from faults.fuzz_targets import SEEDS, TARGETS

TRIES = 200


@pytest.mark.parametrize("name", TARGETS)
def test_holds_for_its_seeds_and_for_what_is_near_them(name: str) -> None:
    source = random.Random(1288)
    for seed in SEEDS[name]:
        TARGETS[name](seed)
        for _ in range(TRIES):
            data = bytearray(seed)
            for _ in range(source.randrange(1, 6)):
                place = source.randrange(len(data) + 1)
                data[place : place + source.randrange(3)] = source.randbytes(source.randrange(3))
            TARGETS[name](bytes(data))


def test_a_bug_in_a_parser_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faults.fuzz_targets.parse_query", lambda line: line[1000])
    with pytest.raises(IndexError):
        TARGETS["finger"](b"moshez\r\n")
