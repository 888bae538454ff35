"""RPL_ISUPPORT: the values used, their defaults and their limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingertrio.wire.irc_isupport import ISupport


def told(*tokens: str) -> ISupport:
    isupport = ISupport()
    isupport.update(["bot", *tokens, "are supported by this server"])
    return isupport


def test_defaults_hold_until_the_server_says_otherwise() -> None:
    isupport = ISupport()
    assert not isupport.received
    assert (isupport.casemapping, isupport.chantypes) == ("rfc1459", "#&")
    assert (isupport.nicklen, isupport.linelen, isupport.userlen, isupport.hostlen) == (9, 512, 10, 63)
    assert told().received


def test_reads_values_and_takes_them_back() -> None:
    isupport = told("CASEMAPPING=ascii", "nicklen=30", "LINELEN=2048", "CHANTYPES=#", "HOSTLEN=64", "EXCEPTS", "X=Y")
    assert (isupport.casemapping, isupport.nicklen, isupport.linelen) == ("ascii", 30, 2048)
    assert (isupport.chantypes, isupport.hostlen) == ("#", 64)
    isupport.update(["bot", "-CASEMAPPING", "-NICKLEN", "LINELEN", "are supported by this server"])
    assert (isupport.casemapping, isupport.nicklen, isupport.linelen) == ("rfc1459", 9, 512)
    assert isupport.hostlen == 64


@pytest.mark.parametrize(
    ("mapping", "same", "different"),
    [
        ("ascii", [("Bot", "bOT")], [("bot[]", "bot{}"), ("a~", "a^"), ("É", "é")]),
        ("rfc1459", [("Bot[1]\\~", "bOT{1}|^")], [("bot", "bot_"), ("É", "é")]),
        ("rfc1459-strict", [("Bot[1]\\", "bOT{1}|")], [("a~", "a^")]),
        ("rfc7613", [("Bot", "bOT")], [("bot[]", "bot{}")]),  # unknown here: ASCII
    ],
)
def test_case_mappings(mapping: str, same: list[tuple[str, str]], different: list[tuple[str, str]]) -> None:
    fold = told(f"CASEMAPPING={mapping}").fold
    assert all(fold(one) == fold(two) for one, two in same)
    assert all(fold(one) != fold(two) for one, two in different)


@given(st.sampled_from(["NICKLEN", "LINELEN", "USERLEN", "HOSTLEN"]), st.text(max_size=12) | st.integers().map(str))
def test_no_value_of_a_server_leaves_the_limits(name: str, value: str) -> None:
    isupport = told(f"{name}={value}")
    assert 1 <= isupport.nicklen <= 64
    assert 512 <= isupport.linelen <= 4096
    assert 1 <= isupport.userlen <= 32
    assert 1 <= isupport.hostlen <= 128
