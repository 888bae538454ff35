from __future__ import annotations

import pytest

from fingertrio.wire.emoji import Headline, headline, is_emoji

EMOJI = [
    "\U0001f600",
    "\u2615",  # pictures by default
    "\u2764\ufe0f",  # a picture because U+FE0F says so
    "\u261d\U0001f3fd",  # with a skin tone
    "\U0001f44d\U0001f3ff",
    "\U0001f1e9\U0001f1ea",  # a flag
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # Scotland
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",  # a family
    "\U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f469\U0001f3fd\u200d\u2764\ufe0f\u200d\U0001f468\U0001f3fb",
    "\U0001f9d1\u200d\u2695",  # without the selector behind the joiner
    "1\ufe0f\u20e3",
    "\u2139\ufe0f",  # a letter, for Python
    "\U0001fae9",  # Unicode 16
]


@pytest.mark.parametrize("emoji", EMOJI)
def test_an_emoji_is_found_whole(emoji: str):
    assert is_emoji(emoji)
    assert headline(f"\n {emoji} at lunch\nmore") == Headline(emoji, "at lunch")
    assert headline(emoji) == Headline(emoji, "")
    assert headline(f"{emoji}{emoji} x") == Headline(emoji, f"{emoji} x") or emoji.startswith("\U0001f1e9")


@pytest.mark.parametrize(
    "text",
    ["", "Happy and well", "1st", "#trio", "*", "\u2764 text by default", "\xa9 2026", "\U0001f1e9x", "\u7720\u3044"],
)
def test_text_is_not_an_emoji(text: str):
    assert headline(text) == Headline(None, text)
    assert not is_emoji(text)


def test_the_line_is_clean_and_the_first_that_is_not_blank():
    assert headline("\n\n\t\x1b[31mred\there\x1b[0m\nmore") == Headline(None, "red here")
    assert headline(" \n ") == Headline(None, "")
    assert not is_emoji("\U0001f600\U0001f600")
