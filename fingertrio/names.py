"""Which text can be a login name. Standard library only.

One rule, applied before any backend is called, protects every backend from a class of attacks: a valid name cannot be
an option (`-l`), a path (`../x`), a pipe (`|id`), a host (`a@b`) or a line break. Letters, marks and digits of every
script are valid.
"""

from __future__ import annotations

import re
import unicodedata

# Characters. Longer than any login name of a real system (useradd allows 32), short enough for a finger query and an
# IRC line.
USER_NAME_LIMIT = 64

_ASCII_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+$-]{0,63}\Z")
_PUNCTUATION = frozenset("_.+$-")

# Scripts that one word may mix: Japanese uses three, Korean two. KATAKANA-HIRAGANA is the sign for a long vowel, and
# IDEOGRAPHIC the sign for a repeated or abbreviated character: Unicode names these after two scripts, or none.
_MIXES = (
    frozenset({"CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),
    frozenset({"CJK", "HANGUL"}),
    frozenset({"CJK", "BOPOMOFO"}),
)

# Invisible letters and marks (Unicode: Default_Ignorable_Code_Point): fillers, joiners, variation selectors.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


# The canonical decomposition (NFD) of one character has at most four (Unicode Standard Annex 15).
_CANONICAL_LIMIT = 4 * USER_NAME_LIMIT


def canonical_name(text: str) -> str:
    """The form of a name that backends are asked for: NFC.

    The same letters may arrive as one character (NFC) or as a letter with a combining mark (NFD), depending on the
    client's system. `FingerService` calls this for every name from a door, so that no door and no backend has to. A
    text too long for a name is returned unchanged: sorting its marks can take quadratic time.
    """
    return text if text.isascii() or len(text) > _CANONICAL_LIMIT else unicodedata.normalize("NFC", text)


def is_user_name(text: str) -> bool:
    """Whether `text` can be a login name: letters, marks, digits and `_`; `. + $ -` but not first; 64 at most.

    This check is for reading a status. For setting one, use `check_user_name`, which is stricter and gives a reason.
    """
    if _ASCII_NAME.match(text):
        return True
    if not text or len(text) > USER_NAME_LIMIT or text.isascii():
        return False
    if not (text[0] == "_" or unicodedata.category(text[0])[0] in "LN"):
        return False
    return all(char in _PUNCTUATION or unicodedata.category(char)[0] in "LMN" for char in text)


def check_user_name(text: str) -> str:
    """The canonical form of `text`, if a status may be set for this name.

    Stricter than `is_user_name`, so that a name that looks the same cannot impersonate another user: only the NFKC
    form, no invisible characters, and letters of one script.

    Raises:
        ValueError: the message says what is wrong with the name.
    """
    text = canonical_name(text)
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
    if _INVISIBLE.search(text):
        raise ValueError("the user name contains invisible characters")
    # A letter's Unicode name starts with its script, for every script that has look-alikes of Latin letters.
    scripts = {unicodedata.name(char, "UNKNOWN").split()[0] for char in text if unicodedata.category(char)[0] == "L"}
    if len(scripts) > 1 and not any(scripts <= mix for mix in _MIXES):
        raise ValueError("the user name mixes letters of different scripts")
    return text
