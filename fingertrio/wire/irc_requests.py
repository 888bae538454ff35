"""What a text in a channel asks of a bot. No state, no I/O.

fingerbot: moshez     fingerbot, moshez     @fingerbot moshez      at the start of the line only
!finger moshez                                                     if the operator chose the prefix "!"
!botlist  !rollcall                                                which bots are here, and whose (tilde.chat)
"""

from __future__ import annotations

import re
from collections.abc import Callable

_BOTLIST = frozenset({"!botlist", "!rollcall"})
_PUNCTUATION = (":", ",")


def addressed(text: str, nick: str, fold: Callable[[str], str], prefix: str = "") -> str | None:
    """What `text`, said in a channel, asks of `nick`; None: nothing, mostly because it is not for us.

    Args:
        text: without formatting.
        nick: ours.
        fold: case-folds a nick.
        prefix: before "finger" in another way to address us; empty: there is none.
    """
    text = text.lstrip()
    if prefix and (rest := _after(text, f"{prefix}finger", str.lower)) is not None:
        return rest.strip() if rest[:1].isspace() else None
    if text.startswith("@"):
        rest = _after(text[1:], nick, fold)
        if rest is None or (rest and not rest[0].isspace() and not rest.startswith(_PUNCTUATION)):
            return None
        return rest.removeprefix(":").removeprefix(",").strip()
    rest = _after(text, nick, fold)
    return rest[1:].strip() if rest is not None and rest.startswith(_PUNCTUATION) else None


def asks_for_bots(text: str) -> bool:
    """Whether `text` asks all bots of a channel to introduce themselves."""
    return text.strip().lower() in _BOTLIST


_SET = re.compile(r"set(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)


def status_to_set(text: str) -> str | None:
    """The status in `set TEXT`, empty for `set` alone; None: the text is something else."""
    found = _SET.fullmatch(text.strip())
    return None if found is None else (found[1] or "").strip()


def _after(text: str, word: str, fold: Callable[[str], str]) -> str | None:
    """What follows `word` at the start of `text`. Folding keeps the length."""
    return text[len(word) :] if fold(text[: len(word)]) == fold(word) else None
