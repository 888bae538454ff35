"""Who is addressed in a channel, and masks of people."""

from __future__ import annotations

import pytest

from fingertrio.wire.irc import Source
from fingertrio.wire.irc_isupport import ISupport
from fingertrio.wire.irc_masks import matches, matches_any
from fingertrio.wire.irc_requests import addressed, asks_for_bots, status_to_set

fold = ISupport().fold


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("bot: moshez", "moshez"),
        ("bot, moshez", "moshez"),
        ("BOT:moshez", "moshez"),
        ("  bot:   moshez  ", "moshez"),
        ("@bot moshez", "moshez"),
        ("@bot: moshez", "moshez"),
        ("bot:", ""),
        ("@bot", ""),
        ("bot moshez", None),
        ("bots: moshez", None),
        ("@botany moshez", None),
        ("ask bot: moshez", None),
        ("moshez", None),
        ("!finger moshez", None),
        ("", None),
    ],
)
def test_only_our_nick_at_the_start_addresses_us(text: str, asked: str | None):
    assert addressed(text, "bot", fold) == asked


def test_the_case_mapping_of_the_server_decides():
    assert addressed("BOT{x}: a", "bot[X]", fold) == "a"


@pytest.mark.parametrize(
    ("text", "asked"), [("!finger moshez", "moshez"), ("!FINGER", None), ("!fingers a", None), ("x !finger a", None)]
)
def test_a_prefix_is_another_way(text: str, asked: str | None):
    assert addressed(text, "bot", fold, "!") == asked


def test_botlist():
    assert asks_for_bots("!botlist")
    assert asks_for_bots(" !RollCall ")
    assert not asks_for_bots("!botlist please")


@pytest.mark.parametrize(
    ("text", "status"),
    [("set at lunch", "at lunch"), ("SET  x ", "x"), ("set", ""), ("settle", None), ("moshez", None), ("xset a", None)],
)
def test_set(text: str, status: str | None):
    assert status_to_set(text) == status


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("*!*@spam.example", True),
        ("*!*@SPAM.example", True),
        ("eve!?eve@*", True),
        ("eve!eve@*", False),
        ("*!*@*.example", True),
        ("*.example", True),
        ("[abc]*", False),
        ("********************************z", False),
    ],
)
def test_masks_know_star_and_question_mark_only(pattern: str, matched: bool):
    assert matches_any([pattern], Source("eve", "~eve", "spam.example"), fold) is matched


def test_a_mask_is_not_a_regular_expression():
    assert matches("a.b", "a.b")
    assert not matches("a.b", "axb")
    assert matches("*", "")
