"""What may be a login name. Standard library only.

One rule, applied before any backend is asked, takes a whole class of attacks away from every backend at once: a name of
this shape cannot be an option (`-l`), a path (`../x`), a pipe (`|id`), a host (`a@b`) or a line break. It still lets
people be called what they are called: letters, marks and digits of every script are in.
"""

from __future__ import annotations

import re
import unicodedata

# Longer than any login name of a real system (useradd stops at 32), short enough for a finger query and an IRC line.
USER_NAME_LIMIT = 64

_ASCII_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+$-]{0,63}\Z")
_PUNCTUATION = frozenset("_.+$-")

# Scripts that one word may properly mix: Japanese is written in three, Korean in two. The two odd ones are the signs
# for a long vowel and for a repeated or abbreviated character, which Unicode names after no script or after two.
_MIXES = (
    frozenset({"CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),
    frozenset({"CJK", "HANGUL"}),
    frozenset({"CJK", "BOPOMOFO"}),
)

# Letters and marks that are not seen (Unicode: Default_Ignorable_Code_Point): fillers, joiners, variation selectors.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def is_user_name(text: str) -> bool:
    """Whether a user could be called so: letters, marks and digits, `_` anywhere, `. + $ -` but not first, 64 at most.

    Exact about what it lets through and silent about why not: this is for reading. For writing, `check_user_name`.
    """
    if _ASCII_NAME.match(text):
        return True
    if not text or len(text) > USER_NAME_LIMIT or text.isascii():
        return False
    if not (text[0] == "_" or unicodedata.category(text[0])[0] in "LN"):
        return False
    return all(char in _PUNCTUATION or unicodedata.category(char)[0] in "LMN" for char in text)


def check_user_name(text: str) -> str:
    """`text`, if a status may be set under this name.

    Stricter than reading, since what is set is what others are shown: the NFKC form only, nothing that is not seen, and
    letters of one script, so that nobody can be impersonated by a name that looks the same.

    Raises:
        ValueError: with a reason that a person can act upon.
    """
    if not text:
        raise ValueError("the user name is empty")
    if len(text) > USER_NAME_LIMIT:
        raise ValueError(f"the user name is longer than {USER_NAME_LIMIT} characters")
    if not is_user_name(text):
        raise ValueError("a user name is made of letters, digits and _ . + $ -, and starts with a letter, a digit or _")
    if text.isascii():
        return text
    if unicodedata.normalize("NFKC", text) != text:
        raise ValueError("the user name is not in its NFKC form")
    if _UNSEEN.search(text):
        raise ValueError("the user name has characters that are not seen")
    # The first word of a letter's Unicode name is its script, for every script that has look-alikes of Latin letters.
    scripts = {unicodedata.name(char, "UNKNOWN").split()[0] for char in text if unicodedata.category(char)[0] == "L"}
    if len(scripts) > 1 and not any(scripts <= mix for mix in _MIXES):
        raise ValueError("the user name mixes letters of different scripts")
    return text
